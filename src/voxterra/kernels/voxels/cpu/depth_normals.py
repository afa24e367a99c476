"""Normals of a depth map and their gradient on the CPU, in one pass each.

The formulas are those of `surface.voxels.losses.normals`; numbers have the type of the depth.
"""

import math

import numpy as np
from numba import njit, prange

from voxterra.kernels.voxels import math as vm

_kernel = njit(cache=True, parallel=True, fastmath={"nsz"}, error_model="numpy")
_inner = njit(cache=True, fastmath={"nsz"}, error_model="numpy", inline="always")


@_inner
def _known(depth):
    return depth > 0 and depth < np.inf


@_kernel
def smooth(depth, valid, edge, known):
    """known [H, W]: see `losses.normals.normals_from_depth`; `valid` bool [H, W] or [0, 0]."""
    height, width = depth.shape
    one, two, limit = depth.dtype.type(1), depth.dtype.type(2), depth.dtype.type(edge)
    nowhere, masked = depth.dtype.type(np.nan), valid.size > 0
    for row in prange(height):
        known[row] = False
        if row == 0 or row == height - 1:
            continue
        inverse = np.empty((3, width), depth.dtype)
        for k in range(3):
            for x in range(width):
                z = depth[row + k - 1, x]
                use = _known(z) and (not masked or valid[row + k - 1, x])
                inverse[k, x] = one / z if use else nowhere
        for x in range(1, width - 1):
            middle = inverse[1, x]
            across = abs(inverse[1, x - 1] + inverse[1, x + 1] - two * middle)
            down = abs(inverse[0, x] + inverse[2, x] - two * middle)
            known[row, x] = across < limit * middle and down < limit * middle


@_inner
def _slopes(depth, row, x, camera):
    """g_x, g_y, m_x, m_y, and x / z, y / z of the ray."""
    half = depth.dtype.type(0.5)
    left, right = depth[row, x - 1], depth[row, x + 1]
    up, down = depth[row - 1, x], depth[row + 1, x]
    u = (depth.dtype.type(x) + half - camera[vm.C_CX]) / camera[vm.C_FX]
    v = (depth.dtype.type(row) + half - camera[vm.C_CY]) / camera[vm.C_FY]
    g_x, g_y = (right - left) * (half * camera[vm.C_FX]), (down - up) * (half * camera[vm.C_FY])
    return g_x, g_y, (left + right) * half, (up + down) * half, u, v


@_inner
def _unit(depth, g_x, g_y, m_x, m_y, u, v):
    """Unit normal in the camera's frame, and 1 / its length before."""
    a, b = g_x * m_y, g_y * m_x
    c = -(m_x * m_y + a * u + b * v)
    square = max(a * a + b * b + c * c, depth.dtype.type(1e-30))
    inverse = depth.dtype.type(1) / math.sqrt(square)
    return a * inverse, b * inverse, c * inverse, inverse


@_kernel
def normals(depth, known, camera, turn, out):
    """out [H, W, 3]: turn [3, 3] times the normals in the camera's frame; 0 where unknown."""
    height, width = depth.shape
    for row in prange(height):
        out[row] = 0
        for x in range(width):
            if known[row, x]:
                g_x, g_y, m_x, m_y, u, v = _slopes(depth, row, x, camera)
                a, b, c, _ = _unit(depth, g_x, g_y, m_x, m_y, u, v)
                for k in range(3):
                    out[row, x, k] = turn[k, 0] * a + turn[k, 1] * b + turn[k, 2] * c


@_kernel
def normals_backward(grad, depth, known, camera, turn, out):
    """out [H, W]: gradient of the depth by that of the normals, [H, W, 3]."""
    height, width = depth.shape
    half = depth.dtype.type(0.5)
    # What each pixel gives to those on its right, on its left, below and above it.
    given = np.zeros((height, 4, width), depth.dtype)
    for row in prange(height):
        right, left, below, above = given[row]
        for x in range(width):
            if known[row, x]:
                g_x, g_y, m_x, m_y, u, v = _slopes(depth, row, x, camera)
                a, b, c, inverse = _unit(depth, g_x, g_y, m_x, m_y, u, v)
                p, q, r = grad[row, x, 0], grad[row, x, 1], grad[row, x, 2]
                d_a = p * turn[0, 0] + q * turn[1, 0] + r * turn[2, 0]
                d_b = p * turn[0, 1] + q * turn[1, 1] + r * turn[2, 1]
                d_c = p * turn[0, 2] + q * turn[1, 2] + r * turn[2, 2]
                along = d_a * a + d_b * b + d_c * c
                d_c = (d_c - along * c) * inverse
                d_a = (d_a - along * a) * inverse - u * d_c
                d_b = (d_b - along * b) * inverse - v * d_c
                half_x, half_y = half * (g_y * d_b - m_y * d_c), half * (g_x * d_a - m_x * d_c)
                slope_x = m_y * d_a * (half * camera[vm.C_FX])
                slope_y = m_x * d_b * (half * camera[vm.C_FY])
                right[x], left[x] = half_x + slope_x, half_x - slope_x
                below[x], above[x] = half_y + slope_y, half_y - slope_y
    for row in prange(height):
        total = out[row]
        total[:] = 0
        total[1:] += given[row, 0, :-1]
        total[:-1] += given[row, 1, 1:]
        if row > 0:
            total += given[row - 1, 2]
        if row < height - 1:
            total += given[row + 1, 3]
