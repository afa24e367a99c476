"""GPS positions that lie far from all others: a receiver that had no fix yet, a wrong table row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxterra.core.geo import GeoFrame
from voxterra.core.photos import Photo
from voxterra.core.wording import distance

_FROM_PHOTOS = 4
# A photo is lonely when the nearest other one is so many times farther than usual, and so far.
_TIMES, _LEAST_M = 20.0, 100.0
_NEAREST, _AROUND_M = 8, 500.0
_HEIGHT_TIMES, _HEIGHT_LEAST_M = 10.0, 30.0
_EARTH_M = 6_371_000.0


def positions_astray(photos: Sequence[Photo]) -> dict[str, tuple[str, ...]]:
    """Warnings by photo id. Two groups far from each other are no mistake: none of them is alone.

    Args:
        photos: in any order; those without GPS are passed over.
    """
    from scipy.spatial import cKDTree

    located = [photo for photo in photos if photo.gps is not None]
    if len(located) < _FROM_PHOTOS:
        return {}
    lonlat = np.array([[p.gps.lon, p.gps.lat, 0.0] for p in located if p.gps])
    middle = np.median(lonlat, axis=0)
    # Through ECEF distances are chords, right for neighbours and finite for the antipodes.
    world = GeoFrame("geo", float(middle[0]), float(middle[1])).from_lonlat(lonlat)
    nearest = cKDTree(world).query(world, k=2)[0][:, 1]
    limit = max(_TIMES * float(np.median(nearest)), _LEAST_M)
    found = {
        photo.id: [
            f"its GPS position lies {distance(_on_ground(far))} from that of any other photo; "
            "correct it if it is wrong"
        ]
        for photo, far in zip(located, nearest)
        if far > limit
    }
    for name, text in _heights(located, world):
        found.setdefault(name, []).append(text)
    return {name: tuple(texts) for name, texts in found.items()}


def _heights(located: Sequence[Photo], world: np.ndarray) -> list[tuple[str, str]]:
    """Recorded heights that differ from those of the photos around."""
    from scipy.spatial import cKDTree

    rows = [i for i, p in enumerate(located) if p.gps and p.gps.height_m is not None]
    if len(rows) < _FROM_PHOTOS:
        return []
    heights = np.array([p.gps.height_m for i in rows if (p := located[i]).gps], float)
    apart, near = cKDTree(world[rows]).query(world[rows], k=min(_NEAREST + 1, len(rows)))
    around = np.where(apart[:, 1:] < _AROUND_M, heights[near[:, 1:]], np.nan)
    compared = np.isfinite(around).sum(axis=1) >= _FROM_PHOTOS - 1
    if not compared.any():
        return []
    off = heights[compared] - np.nanmedian(around[compared], axis=1)
    limit = max(_HEIGHT_TIMES * float(np.median(np.abs(off))), _HEIGHT_LEAST_M)
    return [
        (
            located[row].id,
            f"its recorded height is {abs(d):.0f} m {_way(d)} the photos "
            "around it; correct it if it is wrong",
        )
        for row, d in zip(np.array(rows)[compared], off)
        if abs(d) > limit
    ]


def _on_ground(chord_m: float) -> float:
    """Along a sphere of the Earth's size, for people to check on a map."""
    return 2 * _EARTH_M * float(np.arcsin(min(chord_m / (2 * _EARTH_M), 1.0)))


def _way(difference: float) -> str:
    return "above" if difference > 0 else "below"
