"""Triangulation of small boundary loops."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def _area(a, b, c):
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    return 0.5 * np.sqrt(x * x + y * y + z * z)


@njit(cache=True)
def least_area_triangles(points):
    """Triangulate a closed loop in space so that the area is least (Barequet & Sharir 1995).

    Args:
        points: (N, 3) float64, N >= 3, in the order of the loop.

    Returns:
        (N - 2, 3) int32 triangles that run in the loop's direction.
    """
    n = len(points)
    cost = np.zeros((n, n))
    split = np.zeros((n, n), np.int32)
    for span in range(2, n):
        for i in range(n - span):
            j = i + span
            best = np.inf
            for k in range(i + 1, j):
                c = cost[i, k] + cost[k, j] + _area(points[i], points[k], points[j])
                if c < best:
                    best = c
                    split[i, j] = k
            cost[i, j] = best
    out = np.empty((n - 2, 3), np.int32)
    stack = np.empty((n, 2), np.int32)
    stack[0, 0], stack[0, 1] = 0, n - 1
    depth, count = 1, 0
    while depth > 0:
        depth -= 1
        i, j = stack[depth, 0], stack[depth, 1]
        k = split[i, j]
        out[count, 0], out[count, 1], out[count, 2] = i, k, j
        count += 1
        if k - i > 1:
            stack[depth, 0], stack[depth, 1] = i, k
            depth += 1
        if j - k > 1:
            stack[depth, 0], stack[depth, 1] = k, j
            depth += 1
    return out
