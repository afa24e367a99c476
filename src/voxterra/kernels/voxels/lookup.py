"""Finding leaves and corners of an octree by their place; gradients of what the corners carry.

Cells, paths and corners are numbered as `core.morton` says.
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from voxterra.core import morton
from voxterra.core.morton import MAX_LEVEL

# Entries of a table of corners, about, at most.
_TABLE = 1 << 22


spread = njit(cache=True, inline="always")(morton.spread)
compact = njit(cache=True, inline="always")(morton.compact)
corner_key = njit(cache=True, inline="always")(morton.key_of)


@njit(cache=True, inline="always")
def cell_path(x, y, z):
    """`core.morton.path_of`, for one cell."""
    return (spread(x) << 2) | (spread(y) << 1) | spread(z)


@njit(cache=True, inline="always")
def upper(values, key):
    """Number of sorted values that are <= key."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) >> 1
        if values[middle] <= key:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def find_leaf(path, level, x, y, z):
    """Leaf that holds the finest cell at lattice coordinates (x, y, z); -1 for none."""
    if min(x, y, z) < 0 or max(x, y, z) >= 1 << MAX_LEVEL:
        return np.int64(-1)
    key = cell_path(x, y, z)
    i = upper(path, key) - 1
    if i < 0 or key - path[i] >= np.int64(1) << 3 * (MAX_LEVEL - level[i]):
        return np.int64(-1)
    return np.int64(i)


def corner_table(
    keys: NDArray[np.int64], finest: int, inside: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Where corners of the main bound begin among all, by x and a range of y: for `find_corner`.

    Args:
        keys: (M,) sorted.
        finest: edge of the finest leaf on the lattice.
        inside: first and last coordinate of the main bound (`Cube.inside`).

    Returns:
        `first` (X * Y + 1,) int32, and `frame`: lowest coordinate, shift of x, shift of y, X, Y.
    """
    low, edge = inside[0], inside[1] - inside[0]
    if 2 * finest > edge:  # corners do not lie on the grid of the bound
        return np.zeros(1, np.int32), np.zeros(5, np.int64)
    n_x = edge // finest + 1
    n_y = max(min(n_x, min(_TABLE, len(keys)) // n_x), 1)
    shift_x, shift_y = finest.bit_length() - 1, max((edge // n_y).bit_length() - 1, 0)
    n_y = (edge >> shift_y) + 1
    x = low + (np.arange(n_x, dtype=np.int64) << shift_x)
    y = low + (np.arange(n_y, dtype=np.int64) << shift_y)
    begins = morton.key_of(x[:, None], y[None], 0).reshape(-1)
    first = np.append(np.searchsorted(keys, begins), len(keys)).astype(np.int32)
    return first, np.array([low, shift_x, shift_y, n_x, n_y], np.int64)


@njit(cache=True, inline="always")
def find_corner(keys, table, x, y, z):
    """Index of the corner at lattice coordinates (x, y, z), -1 for none; x of the finest leaves.

    Args:
        keys: (M,) sorted.
        table: of `corner_table`.
        x, y, z: integers.
    """
    first, frame = table
    key = corner_key(np.int64(x), np.int64(y), np.int64(z))
    low, high = np.int64(0), np.int64(len(keys))
    i, j = (x - frame[0]) >> frame[1], (y - frame[0]) >> frame[2]
    if 0 <= i < frame[3] and 0 <= j < frame[4]:
        low, high = np.int64(first[i * frame[4] + j]), np.int64(first[i * frame[4] + j + 1])
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low if low < len(keys) and keys[low] == key else np.int64(-1)


@njit(cache=True, parallel=True)
def mark_mixed(path, level, keys, table, sdf, out):
    """Set `out` (N,) uint8 to 1 at the leaves with corners of both signs."""
    for i in prange(len(path)):
        size = np.int64(1) << (MAX_LEVEL - level[i])
        x, y, z = compact(path[i] >> 2), compact(path[i] >> 1), compact(path[i])
        count = 0
        for c in range(8):
            a, b, e = c >> 2 & 1, c >> 1 & 1, c & 1
            count += sdf[find_corner(keys, table, x + a * size, y + b * size, z + e * size)] < 0
        out[i] = 1 if 0 < count < 8 else 0


@njit(cache=True, parallel=True)
def mean_gradients(path, level, keys, table, sdf, points, reach, out):
    """Gradient of the distance at points, the mean over the leaves that touch each.

    Args:
        path, level: (N,) leaves.
        keys, sdf: (M,) corners.
        table: of `corner_table`.
        points: (P, 3) float64 on the lattice.
        reach: leaves within this of a point touch it [lattice].
        out: (P, 3) float32, written: distance a unit of the lattice; 0 where no leaf is.
    """
    for n in prange(len(points)):
        total, seen = np.zeros(3, np.float64), np.empty(8, np.int64)
        for d in range(8):
            s = np.array((d >> 2 & 1, d >> 1 & 1, d & 1), np.float64) * 2.0 - 1.0
            at = points[n] + s * reach
            i = find_leaf(
                path, level,
                np.int64(np.floor(at[0])), np.int64(np.floor(at[1])), np.int64(np.floor(at[2])),
            )  # fmt: skip
            seen[d] = i
            if i < 0 or (seen[:d] == i).any():
                continue
            size = np.int64(1) << (MAX_LEVEL - level[i])
            x, y, z = compact(path[i] >> 2), compact(path[i] >> 1), compact(path[i])
            u = min(max((points[n, 0] - x) / size, 0.0), 1.0)
            v = min(max((points[n, 1] - y) / size, 0.0), 1.0)
            w = min(max((points[n, 2] - z) / size, 0.0), 1.0)
            for c in range(8):
                a, b, e = c >> 2 & 1, c >> 1 & 1, c & 1
                f = sdf[find_corner(keys, table, x + a * size, y + b * size, z + e * size)] / size
                wu, wv, ww = u if a else 1 - u, v if b else 1 - v, w if e else 1 - w
                total[0] += (f if a else -f) * wv * ww
                total[1] += (f if b else -f) * wu * ww
                total[2] += (f if e else -f) * wu * wv
        for d in range(3):
            out[n, d] = total[d]
