"""A file that a stage leaves beside its main result, such as a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Artifact:
    """A file that becomes a product of its own.

    Attributes:
        name: of the product, such as "splats.ply".
        path: of the file.
        kind: as of a product: "mesh", "cloud", "raster", "vector", "model".
        description: one line for people.
    """

    name: str
    path: Path
    kind: str
    description: str
