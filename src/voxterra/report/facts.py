"""What a run tells of itself, for its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxterra.core.sites import Site


@dataclass(frozen=True)
class StageFacts:
    """A stage of the run.

    Attributes:
        name: of the stage.
        seconds, peak_rss_bytes: what it took.
        summary: one line for people.
        warnings: for people.
    """

    name: str
    seconds: float
    peak_rss_bytes: int
    summary: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ApartFacts:
    """Components that lie apart, delivered in a folder of their own.

    Attributes:
        apart: which.
        products: folder of their deliverables, in that of the run's.
        mesh, depth: their mesh as `io.arrays` writes it, and the folder of their depth maps.
        failed: why there are no such things, or None.
    """

    apart: Site
    products: Path
    mesh: Path
    depth: Path
    failed: str | None


@dataclass(frozen=True)
class RunFacts:
    """What the run tells of itself.

    Attributes:
        metadata: contents of `metadata.json`; what is missing is left out of the report.
        stages: in the order in which they ran.
        products: folder of `dsm.tif` and `ortho.tif`, where they were made.
        apart: of the components that lie apart.
    """

    metadata: Mapping[str, Any]
    stages: tuple[StageFacts, ...]
    products: Path
    apart: tuple[ApartFacts, ...] = ()
