"""The log and the journal of events in a run folder."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from voxterra.pipeline.events import Event, StageProgress, to_dict

LOG_FILE = "log.txt"
JOURNAL_FILE = "events.jsonl"


class _QuietFileHandler(logging.FileHandler):
    """A log that cannot be written (disk full) must not hide the error that a run ends with."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Send what Voxterra logs to a file as well, during the block."""
    logger = logging.getLogger("voxterra")
    handler = _QuietFileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(level, logging.INFO) if level else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


class _Collector(logging.Handler):
    """Keeps the warnings that one thread logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread, self.messages = threading.get_ident(), list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread and record.levelno == logging.WARNING:
            self.messages.append(record.getMessage())


@contextmanager
def collecting_warnings() -> Iterator[list[str]]:
    """What Voxterra logs as warnings in this thread during the block: a user should see it."""
    logger, collector = logging.getLogger("voxterra"), _Collector()
    logger.addHandler(collector)
    try:
        yield collector.messages
    finally:
        logger.removeHandler(collector)


def write_event(path: Path, event: Event) -> None:
    """Append an event to the journal; progress is left out, it would be long and say little."""
    if isinstance(event, StageProgress):
        return
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **to_dict(event)}
    with suppress(OSError), path.open("a", encoding="utf-8") as journal:
        journal.write(json.dumps(line) + "\n")
