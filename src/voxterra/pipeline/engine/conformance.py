"""What every engine must do, tried with small tasks; `voxterra.testing.check_engine` for authors.

The tasks write, fail, die, hang, and are done twice at a time. They need no photos.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from voxterra.core.progress import Progress
from voxterra.errors import FormatError, VoxterraError
from voxterra.pipeline.engine.tasks import Task, TaskEngine, TaskState
from voxterra.pipeline.folder.committed import commit_once

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""How long a task may take that does next to nothing: a process has to start."""
BEAT_S = 0.05


def check_engine(engine: TaskEngine, work_dir: Path, *, patience_s: float = PATIENCE_S) -> None:
    """Try an engine with tasks that write, fail, die, hang and are done twice.

    Args:
        engine: an instance.
        work_dir: an empty folder that its workers can reach.
        patience_s: how long it may take to begin a task, and to notice that a worker is gone.

    Raises:
        AssertionError: it breaks the contract of `TaskEngine`, in a way that is named.
    """
    assert engine.license, "license is a text"
    check = _Check(engine, work_dir, patience_s)
    check.writes()
    check.fails()
    check.dies()
    check.hangs()
    check.does_one_twice()
    check.does_several()


class _Check:
    def __init__(self, engine: TaskEngine, work_dir: Path, patience_s: float):
        self.engine, self.folder, self.patience_s = engine, work_dir, patience_s

    def task(self, name: str, function: Callable[..., None], **arguments: Any) -> Task:
        call = f"{__name__}:{function.__name__}"
        return Task("check", self.folder / name, call, arguments, part=name)

    def end_of(self, ticket: Any, part: str) -> TaskState:
        until = time.monotonic() + self.patience_s
        while time.monotonic() < until:
            (state,) = self.engine.wait([ticket], 1.0)
            if state.ended:
                (again,) = self.engine.wait([ticket], 0.0)
                assert again.status == state.status, f"{part}: asked again, it is {again.status}"
                return state
        raise AssertionError(f"{part}: it did not end within {self.patience_s:g} s")

    def do(self, task: Task) -> TaskState:
        return self.end_of(self.engine.submit(task, 1, 10_000_000, 0), task.part)

    def writes(self) -> None:
        task = self.task("writes", write, text="a text", number=3)
        state = self.do(task)
        assert state.status == "done", f"a task that writes is {state.status}: {state.error}"
        assert (task.folder / "text.txt").read_text() == "a text 3", "arguments arrive as they are"
        assert state.warnings == ("look at this",), "warnings come back"

    def fails(self) -> None:
        state = self.do(self.task("fails", fail))
        error = state.error
        assert state.status == "failed", f"a task that raises is {state.status}"
        assert isinstance(error, FormatError), f"its error comes back as {error!r}"
        said = (error.what, error.where, error.next_step)
        assert said == ("It is damaged.", "a.jpg", "Copy it again."), said

    def dies(self) -> None:
        for how in ("exit", "kill"):
            task = self.task(f"dies by {how}", die, how=how)
            state = self.do(task)
            assert state.status == "lost", f"a task whose worker ends by {how} is {state.status}"
            assert isinstance(state.error, VoxterraError), "what is lost has an error for users"
            assert task.name in str(state.error), "the error names the task"
            assert not task.folder.exists(), "what is lost leaves no result"

    def hangs(self) -> None:
        task = self.task("hangs", hang, beat=str(self.folder / "beat"))
        ticket, beat = self.engine.submit(task, 1), self.folder / "beat"
        self.until(beat.exists, "a task that hangs begins")
        start = time.monotonic()
        (state,) = self.engine.wait([ticket], 0.2)
        assert state.status == "running", f"a task that hangs is {state.status}"
        assert time.monotonic() - start < self.patience_s, "wait ends with its timeout"
        self.until(lambda: self.engine.wait([ticket], 0.1)[0].fraction == 0.5, "progress comes")
        self.engine.cancel(ticket)
        (state,) = self.engine.wait([ticket], 0.0)
        assert state.status == "cancelled", f"a task that was cancelled is {state.status}"
        size = beat.stat().st_size
        time.sleep(10 * BEAT_S)
        assert beat.stat().st_size == size, "once cancel returns, nothing works any more"
        self.engine.cancel(ticket)  # a second time does no harm

    def does_one_twice(self) -> None:
        task = self.task("twice", write_slowly, seconds=0.5)
        tickets = [self.engine.submit(task, 1) for _ in range(2)]
        for ticket in tickets:
            state = self.end_of(ticket, task.part)
            assert state.status == "done", f"a task done twice is {state.status}: {state.error}"
        files = [(task.folder / name).read_text() for name in ("a.txt", "b.txt")]
        assert files[0] == files[1], "one of the attempts is the result, not a mixture"
        left = [path.name for path in self.folder.glob(".twice*")]
        assert not left, f"attempts leave {left}"
        self.engine.cancel(tickets[0])
        assert self.end_of(tickets[0], task.part).status == "done", "what is done stays done"

    def does_several(self) -> None:
        tasks = [self.task(f"several {n}", write, text="n", number=n) for n in range(4)]
        tickets = [self.engine.submit(task, 1) for task in tasks]
        for ticket, task in zip(tickets, tasks):
            assert self.end_of(ticket, task.part).status == "done"
            assert (task.folder / "text.txt").read_text() == f"n {task.arguments['number']}"

    def until(self, true: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + self.patience_s
        while not true():
            assert time.monotonic() < end, f"{what}: not within {self.patience_s:g} s"
            time.sleep(BEAT_S)


def write(folder: Path, progress: Progress, *, text: str, number: int) -> None:
    """A task that writes a file, and warns."""
    log.warning("look at this")
    progress(0.5, "half")
    commit_once(folder, lambda own: _write(own, text=f"{text} {number}"))


def write_slowly(folder: Path, progress: Progress, *, seconds: float) -> None:
    """A task that needs some time between its two files, which hold the same."""

    def both(own: Path) -> None:
        _write(own, a=own.name)
        time.sleep(seconds)
        _write(own, b=own.name)

    commit_once(folder, both)


def _write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)


def fail(folder: Path, progress: Progress) -> None:
    """A task that cannot do what it should."""
    raise FormatError("It is damaged.", where="a.jpg", next_step="Copy it again.")


def die(folder: Path, progress: Progress, *, how: str) -> None:
    """A task that takes its process with it, while it writes."""

    def half(own: Path) -> None:
        _write(own, half="half")
        if how == "kill":
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        os._exit(3)

    commit_once(folder, half)


def hang(folder: Path, progress: Progress, *, beat: str) -> None:
    """A task that shows that it lives, and never ends nor listens."""
    progress(0.5, "hangs")
    while True:
        with Path(beat).open("a") as file:
            file.write(".")
        time.sleep(BEAT_S)
