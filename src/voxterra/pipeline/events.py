"""What a run yields: typed events, each one line of JSON in `events.jsonl`.

Other sites (`core.sites`) have stages of their own: `component` is then the number of the site's
largest component, as people count components, and None for the main site.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RunStarted:
    """The run folder is open and locked.

    Attributes:
        out: the run folder.
        stages: names of the stages of this run, in order.
        version: of Voxterra.
    """

    out: str
    stages: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class ReadProgress:
    """Before the first stage: how much is read of photos, and of files that options name, that are
    new or changed since the last run. `fraction` in [0, 1] of their bytes."""

    fraction: float
    message: str = ""


@dataclass(frozen=True)
class RunEstimated:
    """What the stages that are not up to date will take, before the first of them starts.

    Attributes:
        stages: names of those.
        photos: how many there are.
        megapixels: of one of them.
        seconds: wall time.
        memory_bytes: at the peak, in `largest_stage`.
        disk_bytes: in the run folder.
        largest_stage: the one that needs most memory.
        memory_free_bytes, memory_total_bytes, disk_free_bytes: what is there; None = unknown.
        basis: what the estimate stands on, and how sure it is.
    """

    stages: tuple[str, ...]
    photos: int
    megapixels: float
    seconds: float
    memory_bytes: int
    disk_bytes: int
    largest_stage: str
    memory_free_bytes: int | None
    memory_total_bytes: int | None
    disk_free_bytes: int | None
    basis: str


@dataclass(frozen=True)
class StageStarted:
    """A stage begins; `resumed` when it continues what a stopped run left."""

    stage: str
    resumed: bool = False
    component: int | None = None


@dataclass(frozen=True)
class StageProgress:
    """How far a stage is: `fraction` in [0, 1]."""

    stage: str
    fraction: float
    message: str = ""
    component: int | None = None


@dataclass(frozen=True)
class StageSkipped:
    """A stage is up to date: its result, with the summary it gave, is used as it is."""

    stage: str
    summary: str
    component: int | None = None


@dataclass(frozen=True)
class StageFinished:
    """A stage's result is in place.

    Attributes:
        stage: its name.
        seconds: wall time.
        peak_rss_bytes: largest memory of the process during the stage; 0 where unknown.
        summary: one line for people.
    """

    stage: str
    seconds: float
    peak_rss_bytes: int
    summary: str
    component: int | None = None


@dataclass(frozen=True)
class StageWarning:
    """Something a user should know about a stage's result."""

    stage: str
    message: str
    component: int | None = None


@dataclass(frozen=True)
class ProductWritten:
    """A deliverable lies in the run folder.

    Attributes:
        path: relative to the run folder.
        description: what it is, for people.
        bytes: its size.
    """

    path: str
    description: str
    bytes: int
    component: int | None = None


@dataclass(frozen=True)
class ApartFinished:
    """Another site, at the end of a run.

    Attributes:
        components: numbers of its components.
        folder: of its deliverables, relative to the run folder.
        work: of its stages, relative to the run folder.
        accuracy: how well its model lies in its world, or None when that stage has not run.
        failed: why it has no products, or None where nothing failed.
    """

    components: tuple[int, ...]
    folder: str
    work: str
    accuracy: str | None
    failed: str | None = None


@dataclass(frozen=True)
class RunFinished:
    """All stages of the run are up to date.

    Attributes:
        out: the run folder.
        seconds: wall time of this run.
        accuracy: how well the model lies in the world, or None when that stage has not run.
        apart: other sites, each delivered in a folder of its own.
        failed: why the main site has no products, though others have; None where nothing failed.
    """

    out: str
    seconds: float
    accuracy: str | None
    apart: tuple[ApartFinished, ...] = ()
    failed: str | None = None


@dataclass(frozen=True)
class RunFailed:
    """The run ended early; finished stages are kept.

    Attributes:
        kind: class name of the error, or "internal".
        message: what went wrong.
        exit_code: of the command-line program.
        stage: where, or None before the first.
        where, next_step: as in `VoxterraError`.
        component: of the stage.
    """

    kind: str
    message: str
    exit_code: int
    stage: str | None = None
    where: str | None = None
    next_step: str | None = None
    component: int | None = None


Event = (
    RunStarted
    | ReadProgress
    | RunEstimated
    | StageStarted
    | StageProgress
    | StageSkipped
    | StageFinished
    | StageWarning
    | ProductWritten
    | RunFinished
    | RunFailed
)


def to_dict(event: Event) -> dict[str, Any]:
    """JSON-ready form of an event: its fields, and its class name under "event"."""
    return {"event": type(event).__name__, **asdict(event)}
