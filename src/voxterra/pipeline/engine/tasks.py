"""Engines: run the tasks of a run, here or elsewhere.

The run folder is the state of a run; an engine only assigns work. A task turns paths and numbers
into a folder that appears all at once, so it may be done again, and by two workers at a time.
Photos and results never pass through an engine.
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
        step: its stage, such as "depth".
        folder: of the result, which appears complete, by one rename.
        call: "module:function", called as `function(folder, progress, **arguments)`; it returns
            when the result is in its place. "" if only `here` can do it.
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
    """State of a task.

    Attributes:
        status: "waiting" for a worker; "running"; "done", its folder is in place; "failed" by an
            error of its own; "lost", its worker ended before it; "cancelled".
        fraction: of the work done, in [0, 1].
        message: a short phrase such as "12/18 photos".
        error: the error it failed with; if it is lost, a `VoxterraError` with the reason.
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
    """Runs tasks. One instance serves all runs of a process, from any thread.

    Attributes:
        license: SPDX identifier, including packages it loads.
    """

    license: str

    def submit(self, task: Task, cores: int = 0, memory: int = 0, gpus: int = 0) -> Any:
        """Run a task as soon as there are resources for it; returns at once.

        Args:
            task: to run.
            cores: number it uses; 0 = all of one machine.
            memory: its peak [bytes]; 0 = unknown.
            gpus: number it needs.

        Returns:
            a ticket, which only this engine understands.
        """

    def wait(self, tickets: Sequence[Any], timeout_s: float) -> list[TaskState]:
        """States of tasks, as soon as one of them has ended, or after `timeout_s`.

        A task that has ended keeps its state.
        """

    def cancel(self, ticket: Any) -> None:
        """Stop a task. When this returns, nothing of it runs or writes any more; a task that ended
        before keeps its state."""


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
        next_step="It may have run out of memory: close other programs or use a smaller --preset, "
        "then give the same command again; finished stages are kept.",
    )
    return TaskState("lost", error=error)
