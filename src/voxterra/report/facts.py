"""What a run tells of itself, for its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
class RunFacts:
    """What the run tells of itself.

    Attributes:
        metadata: contents of `metadata.json`; what is missing is left out of the report.
        stages: in the order in which they ran.
        products: folder of `dsm.tif` and `ortho.tif`, where they were made.
    """

    metadata: Mapping[str, Any]
    stages: tuple[StageFacts, ...]
    products: Path
