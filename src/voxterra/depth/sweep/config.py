"""Options of the coarse sweep."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SweepConfig:
    """Options of the sweep. Costs are those of matching: 1 - NCC, 0 to 2."""

    size: int = 200
    """Longer side of the photos that are compared [px]."""
    planes: int = 80
    """Planes between the nearest and the farthest depth."""
    neighbours: int = 4
    """Other photos that each photo is compared with; the best two count."""
    step_penalty: float = 0.25
    """Cost of moving to the next plane from one pixel to its neighbour."""
    jump_penalty: float = 2.0
    """Cost of moving further; less where the photo has an edge."""
    ground_penalty: float = 0.35
    """Extra cost of a depth in a hole that continues the surface measured around it."""
    ground_margin: float = 0.04
    """How much nearer than its surroundings something in a hole stands, at least, as a fraction of
    the depth."""
    support: float = 0.3
    """What each of two other photos that found the same depth takes off its cost."""
    min_agreeing: int = 2
    """Other photos that must confirm a depth; one where only one looks."""
    max_depth_error: float = 0.025
    """Largest relative depth difference of photos that confirm each other."""
    confidence: float = 0.15
    """Of a filled pixel; at most 0.3 counts."""
