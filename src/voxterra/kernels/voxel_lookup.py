"""Finding leaves and corners of an octree by their place; gradients of what the corners carry.

Cells, paths and corners are numbered as `core.voxels` says.
"""

import numpy as np
from numba import njit, prange

LEVELS = 16
"""Levels of the lattice."""


@njit(cache=True, inline="always")
def spread(v):
    """Bit k of 16 bits to bit 3k."""
    v = (v | (v << 16)) & 0xFF0000FF
    v = (v | (v << 8)) & 0xF00F00F00F
    v = (v | (v << 4)) & 0xC30C30C30C3
    return (v | (v << 2)) & 0x249249249249


@njit(cache=True, inline="always")
def cell_path(x, y, z):
    """Path of the finest cell at lattice coordinates."""
    return (spread(x) << 2) | (spread(y) << 1) | spread(z)


@njit(cache=True, inline="always")
def compact(v):
    """Inverse of `spread`; other bits are ignored."""
    v = v & 0x249249249249
    v = (v | (v >> 2)) & 0xC30C30C30C3
    v = (v | (v >> 4)) & 0xF00F00F00F
    v = (v | (v >> 8)) & 0xFF0000FF
    return (v | (v >> 16)) & 0xFFFF


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
    if min(x, y, z) < 0 or max(x, y, z) >= 1 << LEVELS:
        return np.int64(-1)
    key = cell_path(x, y, z)
    i = upper(path, key) - 1
    if i < 0 or key - path[i] >= np.int64(1) << 3 * (LEVELS - level[i]):
        return np.int64(-1)
    return np.int64(i)


@njit(cache=True)
def find_corner(keys, x, y, z):
    """Index of the corner at lattice coordinates (x, y, z); -1 for none."""
    key = (np.int64(x) << 34) | (np.int64(y) << 17) | np.int64(z)
    i = upper(keys, key) - 1
    return np.int64(i) if i >= 0 and keys[i] == key else np.int64(-1)


@njit(cache=True, parallel=True)
def mean_gradients(path, level, keys, sdf, points, reach, out):
    """Gradient of the distance at points, the mean over the leaves that touch each.

    Args:
        path, level: (N,) leaves.
        keys, sdf: (M,) corners.
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
            size = np.int64(1) << (LEVELS - level[i])
            x, y, z = compact(path[i] >> 2), compact(path[i] >> 1), compact(path[i])
            u = min(max((points[n, 0] - x) / size, 0.0), 1.0)
            v = min(max((points[n, 1] - y) / size, 0.0), 1.0)
            w = min(max((points[n, 2] - z) / size, 0.0), 1.0)
            for c in range(8):
                a, b, e = c >> 2 & 1, c >> 1 & 1, c & 1
                f = sdf[find_corner(keys, x + a * size, y + b * size, z + e * size)] / size
                wu, wv, ww = u if a else 1 - u, v if b else 1 - v, w if e else 1 - w
                total[0] += (f if a else -f) * wv * ww
                total[1] += (f if b else -f) * wu * ww
                total[2] += (f if e else -f) * wu * wv
        for d in range(3):
            out[n, d] = total[d]
