"""Areas on the map: polygons in longitude and latitude."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

Polygon = tuple[Float, ...]
"""Outer ring, then holes, each (N, 2) longitude and latitude [deg], N >= 3."""


def inside(lonlat: Float, area: tuple[Polygon, ...]) -> NDArray[np.bool_]:
    """(N,) whether (N, 2) points lie in any of the polygons and in none of its holes."""
    found = np.zeros(len(lonlat), bool)
    for polygon in area:
        odd = np.zeros(len(lonlat), bool)
        for ring in polygon:
            odd ^= _crossings_are_odd(lonlat, ring)
        found |= odd
    return found


def _crossings_are_odd(points: Float, ring: Float) -> NDArray[np.bool_]:
    """Whether a ray eastwards from each point crosses the ring an odd number of times."""
    odd = np.zeros(len(points), bool)
    x, y = points.T
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        spans = (y0 > y) != (y1 > y)
        odd ^= spans & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return odd
