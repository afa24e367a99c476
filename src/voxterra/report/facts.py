"""Facts about a run for its report."""

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
        seconds, peak_rss_bytes: wall time and peak memory.
        summary: one line for people.
        warnings: for people.
    """

    name: str
    seconds: float
    peak_rss_bytes: int
    summary: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SiteFacts:
    """A site other than that of most photos, delivered in a folder of its own.

    Attributes:
        site: which components.
        products: folder of their deliverables, in that of the run's.
        mesh, depth: their mesh as `io.arrays` writes it, and the folder of their depth maps.
        failed: why there are no such things, or None.
    """

    site: Site
    products: Path
    mesh: Path
    depth: Path
    failed: str | None


@dataclass(frozen=True)
class RunFacts:
    """Facts about a run.

    Attributes:
        metadata: contents of `metadata.json`; what is missing is left out of the report.
        stages: in the order in which they ran.
        products: folder of `dsm.tif` and `ortho.tif`, where they were made.
        other_sites: sites other than that of most photos.
    """

    metadata: Mapping[str, Any]
    stages: tuple[StageFacts, ...]
    products: Path
    other_sites: tuple[SiteFacts, ...] = ()
