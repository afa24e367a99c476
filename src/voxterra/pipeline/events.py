"""Typed events that a run yields, each one line of JSON in `events.jsonl`.

Other sites (`core.sites`) have stages of their own: `component` is then the number of the site's
largest component, counted from 1, and None for the main site.
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
    """Before the first stage: progress of reading photos, and files named by options, that are new
    or changed since the last run. `fraction` in [0, 1] of their bytes."""

    fraction: float
    message: str = ""


@dataclass(frozen=True)
class RunEstimated:
    """Estimate of the stages that are not up to date, before the first of them starts.

    Attributes:
        stages: their names.
        photos: number of photos.
        megapixels: of one photo.
        seconds: wall time.
        memory_bytes: at the peak, in `largest_stage`.
        disk_bytes: in the run folder.
        largest_stage: the one that needs most memory.
        memory_free_bytes, memory_total_bytes, disk_free_bytes: of this machine; None = unknown.
        basis: basis and accuracy of the estimate.
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
    """A stage starts; `resumed` if it continues the work of a stopped run."""

    stage: str
    resumed: bool = False
    component: int | None = None


@dataclass(frozen=True)
class StageProgress:
    """Progress of a stage: `fraction` in [0, 1]."""

    stage: str
    fraction: float
    message: str = ""
    component: int | None = None


@dataclass(frozen=True)
class StageSkipped:
    """A stage is up to date: its result is used again; `summary` is that of the result."""

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
    """A warning about a stage's result."""

    stage: str
    message: str
    component: int | None = None


@dataclass(frozen=True)
class ProductWritten:
    """A deliverable is in the run folder.

    Attributes:
        path: relative to the run folder.
        description: for people.
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
        accuracy: accuracy of its placement, or None if that stage has not run.
        failed: why it has no products, or None if nothing failed.
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
        accuracy: accuracy of the placement, or None if that stage has not run.
        apart: other sites, each delivered in a folder of its own.
        failed: why the main site has no products, though others have; None if nothing failed.
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
