"""What a piece of surface rests on, from the best support to none."""

from __future__ import annotations

from enum import IntEnum


class SurfaceSource(IntEnum):
    """What a face of a mesh or a cell of a surface raster rests on; lower numbers are surer."""

    NONE = 0
    """Nothing is known there."""
    MEASURED = 1
    """Several photos agree."""
    WEAK = 2
    """One other photo agrees, where nothing better is known."""
    COARSE = 3
    """Matched at a coarse size with strong smoothing: the shape of a tree crown, not its leaves."""
    FILLED = 4
    """Invented from what lies around it."""
