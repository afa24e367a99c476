"""Engines: who does the tasks of a run, and where.

The run folder is the state of a run; an engine only says who works next. A task turns paths and
numbers into a folder that appears all at once, so it may be done again, and by two workers at a
time. Photos and results never travel through an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from voxterra.core.progress import Progress
from voxterra.core.registry import Registry
from voxterra.errors import VoxterraError


@dataclass(frozen=True)
class Task:
    """Work whose result is a folder.

    Attributes:
        step: the stage that it is of, such as "depth".
        folder: where the result comes to lie, whole, by one rename.
        call: "module:function", called as `function(folder, progress, **arguments)`; it returns
            when the result is in its place. "" where only `here` can do it.
        arguments: JSON-like: paths as texts, and numbers.
        part: the group, block or tile of the step; "" = all of it.
        here: the same in this process; an engine that has threads here calls it instead.
    """

    step: str
    folder: Path
    call: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    part: str = ""
    here: Callable[[Progress], None] | None = None

    @property
    def name(self) -> str:
        """Such as "depth" or "surface, tile 3_4"."""
        return f"{self.step}, {self.part}" if self.part else self.step


@dataclass(frozen=True)
class TaskState:
    """How a task stands.

    Attributes:
        status: "waiting" for a worker; "running"; "done", its folder is in place; "failed" by an
            error of its own; "lost", its worker ended before it; "cancelled".
        fraction: of the work done, in [0, 1].
        message: a short phrase such as "12/18 photos".
        error: what it failed by; where it is lost, a `VoxterraError` that says how.
        warnings: for users.
    """

    status: Literal["waiting", "running", "done", "failed", "lost", "cancelled"]
    fraction: float = 0.0
    message: str = ""
    error: BaseException | None = None
    warnings: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        return self.status not in ("waiting", "running")


class TaskEngine(Protocol):
    """Has tasks done. One instance serves all runs of a process, from any thread.

    Attributes:
        license: SPDX identifier, of what it loads too.
    """

    license: str

    def submit(self, task: Task, cores: int = 0, memory: int = 0, gpus: int = 0) -> Any:
        """Have a task done as soon as there is room for it; returns at once.

        Args:
            task: to do.
            cores: that it keeps busy; 0 = all of one machine.
            memory: that it needs at its peak [bytes]; 0 = unknown.
            gpus: that it needs.

        Returns:
            a ticket, which only this engine understands.
        """

    def wait(self, tickets: Sequence[Any], timeout_s: float) -> list[TaskState]:
        """How tasks stand, as soon as one of them has ended, or after `timeout_s`.

        Asked again, a task that ended has the same answer.
        """

    def cancel(self, ticket: Any) -> None:
        """Stop a task. When this returns, nothing of it works or writes any more; what ended
        before stays as it ended."""


ENGINES: Registry[TaskEngine] = Registry(
    "engine",
    "voxterra.engines",
    TaskEngine,  # type: ignore[type-abstract]
    {"local": "voxterra.pipeline.engine.local:LocalEngine"},
)
"""Engines by name, as `run(engine=...)` takes them."""


def lost(task: Task, how: str) -> TaskState:
    """The state of a task whose worker ended, such as `how` = "killed by signal 9"."""
    error = VoxterraError(
        f"The worker of a task ended before its work: {how}.",
        where=f"task {task.name}",
        next_step="It may have needed more memory than there is: close other programs or take a "
        "smaller --preset, then give the same command again; finished stages are kept.",
    )
    return TaskState("lost", error=error)
