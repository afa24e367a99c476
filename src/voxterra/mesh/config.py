"""What can be chosen about the cleaning of a mesh."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CleanConfig:
    """Options of `clean_mesh`."""

    min_component_faces: int = 300
    """Pieces with fewer faces than this are removed, but never the largest piece."""
    min_component_fraction: float = 0.00005
    """Pieces with less than this fraction of the largest piece's area are removed."""
    max_island_fraction: float = 0.002
    """Pieces with less than this fraction of the largest piece's area are removed where they lie
    alone: further than twice their own width from all larger ones. 0 removes none."""
    max_hole_edges: int = 40
    """Holes with at most this many boundary edges are closed, except those whose rim is most of
    their piece; 0 closes none."""
    smoothing_iterations: int = 0
    """Passes of shape-keeping (Taubin) smoothing before the decimation."""
    max_faces: int | None = 1_000_000
    """Face budget of the decimation; None keeps all faces."""
