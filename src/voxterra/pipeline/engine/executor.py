"""Run a task: yield its progress as events; closing the generator stops it."""

from __future__ import annotations

import logging
from collections.abc import Generator

from voxterra.errors import Cancelled
from voxterra.pipeline.engine.tasks import Task, TaskEngine
from voxterra.pipeline.events import StageProgress
from voxterra.pipeline.failures import RESUME_STEP

log = logging.getLogger(__name__)

TICK_S = 0.1  # at most ten progress events a second


def execute(
    engine: TaskEngine,
    task: Task,
    component: int | None = None,
    *,
    cores: int = 0,
    memory: int = 0,
    gpus: int = 0,
) -> Generator[StageProgress, None, tuple[str, ...]]:
    """Run a task and yield its progress, as that of a `component`.

    Closing the generator cancels the task and waits for it to end, so that nothing writes after
    the end of its run. A task whose worker is lost is run again once, with twice the memory.

    Returns:
        warnings of the task if another process ran it; in this process they are logged.

    Raises:
        the task's error, or `VoxterraError` if its worker was lost twice.
    """
    try:
        return (yield from _once(engine, task, component, cores, memory, gpus))
    except _Lost as first:
        log.warning("%s: starts over: %s", task.name, first.error)
        try:
            return (yield from _once(engine, task, component, cores, 2 * memory, gpus))
        except _Lost as second:
            raise second.error from None


class _Lost(Exception):
    """The worker of a task is gone."""

    def __init__(self, error: BaseException):
        super().__init__(str(error))
        self.error = error


def _once(
    engine: TaskEngine, task: Task, component: int | None, cores: int, memory: int, gpus: int
) -> Generator[StageProgress, None, tuple[str, ...]]:
    ticket = engine.submit(task, cores, memory, gpus)
    seen: StageProgress | None = None
    try:
        while True:
            (state,) = engine.wait([ticket], TICK_S)
            if state.status not in ("failed", "lost") and (state.message or state.fraction):
                event = StageProgress(task.step, state.fraction, state.message, component)
                if event != seen:
                    seen = event
                    yield event
            if state.ended:
                break
    finally:
        engine.cancel(ticket)
    if state.status == "done":
        return state.warnings
    error = state.error or Cancelled(f"The task '{task.name}' was stopped.", next_step=RESUME_STEP)
    raise _Lost(error) if state.status == "lost" else error
