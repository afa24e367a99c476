"""A stage in a worker thread: its progress comes out as events, and closing stops it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

from voxterra.core.progress import Progress
from voxterra.core.scope import in_scope
from voxterra.errors import Cancelled
from voxterra.pipeline.events import StageProgress
from voxterra.pipeline.machine import peak_rss_bytes, reset_peak_rss

T = TypeVar("T")

TICK_S = 0.1  # at most ten progress events a second


@dataclass(frozen=True)
class Execution(Generic[T]):
    """What came out of a stage, and what it took."""

    result: T
    seconds: float
    peak_rss_bytes: int


class _Worker(threading.Thread, Generic[T]):
    """Runs a function that reports progress; keeps its latest progress, result or error."""

    def __init__(self, stage: str, function: Callable[[Progress], T], component: int | None):
        # A daemon, so that a second Ctrl-C can end a process whose stage does not listen.
        super().__init__(name=f"voxterra-{stage}", daemon=True)
        self._stage, self._function, self._component = stage, in_scope(function), component
        self.stop, self.finished = threading.Event(), threading.Event()
        self.latest: StageProgress | None = None
        self.result: T | None = None
        self.error: BaseException | None = None

    def progress(self, fraction: float, message: str = "") -> None:
        if self.stop.is_set():
            raise Cancelled(
                "The run was stopped.",
                where=f"stage {self._stage}",
                next_step="Give the same command again to go on; finished stages are kept.",
            )
        share = min(max(float(fraction), 0.0), 1.0)
        self.latest = StageProgress(self._stage, share, message, self._component)

    def run(self) -> None:
        try:
            self.result = self._function(self.progress)
        except BaseException as error:  # every error belongs to the thread that waits
            self.error = error
        finally:
            self.finished.set()


def execute(
    stage: str, function: Callable[[Progress], T], component: int | None = None
) -> Generator[StageProgress, None, Execution[T]]:
    """Run `function` in a thread, yield its progress (of a `component` apart), return its result.

    Closing the generator makes the next progress call of the function raise `Cancelled`, and
    waits for it to end, so that no stage writes after its run is over.

    Raises:
        what `function` raises.
    """
    worker = _Worker(stage, function, component)
    reset_peak_rss()
    start = time.perf_counter()
    worker.start()
    seen: StageProgress | None = None
    try:
        while not worker.finished.wait(TICK_S):
            if worker.latest is not seen:
                seen = worker.latest
                if seen is not None:
                    yield seen
    finally:
        worker.stop.set()
        worker.join()
    if worker.latest is not None and worker.latest is not seen and worker.error is None:
        yield worker.latest
    if worker.error is not None:
        raise worker.error
    seconds = time.perf_counter() - start
    return Execution(worker.result, seconds, peak_rss_bytes())  # type: ignore[arg-type]
