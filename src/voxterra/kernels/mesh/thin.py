"""Point clouds made sparser: no two points nearer than a distance, or one point a cell."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float = NDArray[np.float64]
_CELL_BITS = 21  # per axis in a cell's key
# Rows of three cells around a cell, those first where a near point is most likely.
_ROWS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


def thin_points(
    points: NDArray[np.floating], distance: float, *, seed: int = 0
) -> NDArray[np.bool_]:
    """(N,) bool: points (N, 3) that stay, so that all gaps are `distance` or more.

    Points are visited in random order, and each is dropped when one that stays is nearer than
    `distance`; so none that was dropped is farther than that from one that stays.
    """
    points = np.ascontiguousarray(points, np.float64).reshape(-1, 3)
    if not len(points):
        return np.zeros(0, bool)
    cells = np.floor((points - points.min(axis=0)) / distance).astype(np.int64) + 1
    sizes = cells.max(axis=0) + 2
    key = (cells[:, 0] * sizes[1] + cells[:, 1]) * sizes[2] + cells[:, 2]
    keys, cell = np.unique(key, return_inverse=True)
    visits = np.random.default_rng(seed).permutation(len(points))
    kept = np.zeros(len(points), np.bool_)
    _thin(points, keys, cell, visits, int(sizes[1]), int(sizes[2]), distance**2, kept)
    return kept


@njit(cache=True)
def _thin(points, keys, cell, visits, size_y, size_z, limit, kept):
    # The points that stay, cell by cell: the last one, and the one before each.
    last = np.full(len(keys), -1, np.int32)
    before = np.full(len(points), -1, np.int32)
    for i in visits:
        stays = True
        for dx, dy in _ROWS:
            first = keys[cell[i]] + (dx * size_y + dy) * size_z - 1
            c = np.searchsorted(keys, first)
            while stays and c < len(keys) and keys[c] <= first + 2:
                j = last[c]
                while stays and j >= 0:
                    x = points[i, 0] - points[j, 0]
                    y = points[i, 1] - points[j, 1]
                    z = points[i, 2] - points[j, 2]
                    stays = x * x + y * y + z * z >= limit
                    j = before[j]
                c += 1
            if not stays:
                break
        if stays:
            kept[i] = True
            before[i], last[cell[i]] = last[cell[i]], i


def cell_sums(points: Float, size: float) -> tuple[NDArray[np.int64], Float]:
    """Sums of the points (N, 3) of each cubic cell of edge `size`.

    Returns:
        keys (C,) of the cells that hold points, ascending, and (C, 4): sums of x, y, z, and the
        count.
    """
    cells = np.floor(points / size).astype(np.int64) + (1 << (_CELL_BITS - 1))
    keys = (cells[:, 0] << (2 * _CELL_BITS)) | (cells[:, 1] << _CELL_BITS) | cells[:, 2]
    sums = np.column_stack([points, np.ones(len(points))])
    return merge_sums(keys, sums)


def merge_sums(keys: NDArray[np.int64], sums: Float) -> tuple[NDArray[np.int64], Float]:
    """Ascending keys without repetition, and the (C, 4) sums of the rows (N, 4) of each."""
    unique, inverse = np.unique(keys, return_inverse=True)
    columns = [np.bincount(inverse, sums[:, i], minlength=len(unique)) for i in range(4)]
    return unique, np.column_stack(columns)
