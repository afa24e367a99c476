"""The log and the journal of events in a run folder, of its own run only."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from voxterra.core.scope import Scope
from voxterra.pipeline.events import Event, ReadProgress, StageProgress, to_dict

LOG_FILE = "log.txt"
JOURNAL_FILE = "events.jsonl"

_logger = logging.getLogger("voxterra")


class _LogFile(logging.FileHandler):
    """Writes the log of the threads of one scope.

    A log that cannot be written (disk full) must not hide the error that a run ends with.
    """

    def __init__(self, path: Path, scope: Scope):
        super().__init__(path, encoding="utf-8")
        self.addFilter(lambda record: scope.is_here())
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def handleError(self, record: logging.LogRecord) -> None:
        pass


@contextmanager
def logging_to(path: Path, scope: Scope) -> Iterator[None]:
    """Write Voxterra's log for `scope` also to a file, during the block."""
    with _level.lowered():
        handler = _LogFile(path, scope)
        _logger.addHandler(handler)
        try:
            yield
        finally:
            _logger.removeHandler(handler)
            handler.close()


class _Level:
    """Voxterra's log level, lowered while any run needs it and put back after the last."""

    def __init__(self) -> None:
        self._lock, self._users, self._before = threading.Lock(), 0, logging.NOTSET

    @contextmanager
    def lowered(self) -> Iterator[None]:
        with self._lock:
            if self._users == 0:
                self._before = _logger.level
                level = _logger.level
                _logger.setLevel(min(level, logging.INFO) if level else logging.INFO)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    _logger.setLevel(self._before)


_level = _Level()


def write_event(path: Path, event: Event) -> None:
    """Append an event to the journal, except progress, which would only make it long."""
    if isinstance(event, StageProgress | ReadProgress):
        return
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **to_dict(event)}
    with suppress(OSError), path.open("a", encoding="utf-8") as journal:
        journal.write(json.dumps(line) + "\n")
