"""What can be chosen about the cleaning of a mesh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class CleanConfig:
    """Options of `clean_mesh`. Areas are square model units where the scale is unknown."""

    REPLACED: ClassVar[Mapping[str, str]] = {
        "min_component_fraction": "mesh.min_component_m2",
        "max_island_fraction": "mesh.max_island_m2",
    }

    min_component_faces: int = 50
    """Pieces with fewer faces than this are removed, but never the largest piece."""
    min_component_m2: float = 0.0
    """Pieces of less area than this are removed too, but never the largest piece [m²]."""
    max_island_m2: float | None = None
    """Pieces of less area than this are removed where they lie alone: further than twice their own
    width from all larger ones [m²]; 0 removes none, None takes the area of 1000 cells of the
    surface."""
    max_hole_edges: int = 40
    """Holes with at most this many boundary edges are closed, except those whose rim is most of
    their piece; 0 closes none."""
    closed: bool = True
    """Close larger holes inside of the surface too, on the lower level of their rim; the faces are
    marked as filled. The outline stays."""
    smoothing_iterations: int = 0
    """Passes of shape-keeping (Taubin) smoothing before the decimation."""
    max_faces: int | None = 1_300_000
    """Face budget of the decimation, which spares small pieces; None keeps all faces."""
