"""Point clouds made sparser: no two points nearer than a distance, or one point a cell."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float = NDArray[np.float64]
_CELL_BITS = 21  # per axis in a cell's key


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
    order = np.argsort(key, kind="stable")
    # Points lie by cell, so that the ones around a point are few slices of one array.
    sorted_keys, sorted_points = key[order], points[order]
    visits = np.random.default_rng(seed).permutation(len(points))
    kept = np.zeros(len(points), np.bool_)
    _thin(sorted_points, sorted_keys, visits, int(sizes[1]), int(sizes[2]), distance**2, kept)
    out = np.empty(len(points), bool)
    out[order] = kept
    return out


@njit(cache=True)
def _thin(points, keys, visits, size_y, size_z, limit, kept):
    for i in visits:
        stays = True
        for dx in range(-1, 2):
            for dy in range(-1, 2):
                first = keys[i] + (dx * size_y + dy) * size_z - 1
                j = np.searchsorted(keys, first)
                while stays and j < len(keys) and keys[j] <= first + 2:
                    if kept[j]:
                        x = points[i, 0] - points[j, 0]
                        y = points[i, 1] - points[j, 1]
                        z = points[i, 2] - points[j, 2]
                        stays = x * x + y * y + z * z >= limit
                    j += 1
            if not stays:
                break
        kept[i] = stays


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
