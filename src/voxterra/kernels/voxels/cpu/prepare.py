"""Voxels to records, and where they lie in the image, on the CPU."""

import math

import numpy as np
from numba import njit, prange

from voxterra.kernels.voxels import math as vm
from voxterra.kernels.voxels.math import F0, F1, HALF
from voxterra.kernels.voxels.sh import write_basis

_EDGE = np.float32(0.01)
"""Added around a voxel's image [px], against rounding."""
_TINY = np.float32(1e-20)
_BIG = np.float32(1e9)
_STRIDE = 1024
"""Voxels of one parallel piece."""


@njit(fastmath={"nsz"}, error_model="numpy", cache=True)
def clipped(x_min, x_max, y_min, y_max, width, height):
    """Pixels (x0, y0, x1, y1; half-open) whose centres lie within bounds and the image."""
    x0 = int(max(math.ceil(max(x_min, -_BIG) - HALF - _EDGE), F0))
    y0 = int(max(math.ceil(max(y_min, -_BIG) - HALF - _EDGE), F0))
    x1 = int(min(math.floor(min(x_max, width) - HALF + _EDGE) + F1, width))
    y1 = int(min(math.floor(min(y_max, height) - HALF + _EDGE) + F1, height))
    if x1 <= x0 or y1 <= y0:
        return 0, 0, 0, 0
    return x0, y0, x1, y1


@njit(fastmath={"nsz"}, error_model="numpy", cache=True)
def image_rect(lx, ly, lz, size, camera):
    """Pixels (x0, y0, x1, y1; half-open) whose rays may meet a voxel; x1 = x0 if there are none.

    A voxel that reaches in front of the nearest depth and behind it, and that no side of the
    field of view excludes, gets the whole image.
    """
    width, height = camera[vm.C_WIDTH], camera[vm.C_HEIGHT]
    fx, fy, cx, cy = camera[vm.C_FX], camera[vm.C_FY], camera[vm.C_CX], camera[vm.C_CY]
    near = camera[vm.C_NEAR]
    x_min, y_min, x_max, y_max = _BIG, _BIG, -_BIG, -_BIG
    z_min, z_max = _BIG, -_BIG
    left, right, top, bottom = True, True, True, True
    wx = lx - camera[vm.C_CENTER]
    wy = ly - camera[vm.C_CENTER + 1]
    wz = lz - camera[vm.C_CENTER + 2]
    low_x = camera[0] * wx + camera[3] * wy + camera[6] * wz
    low_y = camera[1] * wx + camera[4] * wy + camera[7] * wz
    low_z = camera[2] * wx + camera[5] * wy + camera[8] * wz
    for c in range(8):
        bx = size if c & 4 else F0
        by = size if c & 2 else F0
        bz = size if c & 1 else F0
        x = low_x + camera[0] * bx + camera[3] * by + camera[6] * bz
        y = low_y + camera[1] * bx + camera[4] * by + camera[7] * bz
        z = low_z + camera[2] * bx + camera[5] * by + camera[8] * bz
        z_min, z_max = min(z_min, z), max(z_max, z)
        left &= fx * x + cx * z < F0
        right &= fx * x + (cx - width) * z > F0
        top &= fy * y + cy * z < F0
        bottom &= fy * y + (cy - height) * z > F0
        if z > near:
            inverse = F1 / z
            px, py = fx * x * inverse + cx, fy * y * inverse + cy
            x_min, x_max = min(x_min, px), max(x_max, px)
            y_min, y_max = min(y_min, py), max(y_max, py)
    if z_max <= near or left or right or top or bottom:
        return 0, 0, 0, 0
    if z_min <= near:
        return 0, 0, int(width), int(height)
    return clipped(x_min, x_max, y_min, y_max, width, height)


@njit(fastmath={"nsz"}, error_model="numpy", cache=True)
def _takes_no_light(record, sharpness, camera):
    """Whether every ray passes the voxel, as a record holds it, without loss."""
    s0, s1, s2, s3 = record[4], record[5], record[6], record[7]
    s4, s5, s6, s7 = record[8], record[9], record[10], record[11]
    x = record[0] - camera[vm.C_CENTER]
    y = record[1] - camera[vm.C_CENTER + 1]
    z = record[2] - camera[vm.C_CENTER + 2]
    size = record[vm.R_SIZE]
    if vm.seen_from_behind(x, y, z, size, s0, s1, s2, s3, s4, s5, s6, s7):
        return True
    return vm.transparent(sharpness, s0, s1, s2, s3, s4, s5, s6, s7)


@njit(fastmath={"nsz"}, error_model="numpy", cache=True)
def _write_normal(record):
    """Unit gradient of the signed distance at the centre; zero where it vanishes."""
    s0, s1, s2, s3 = record[4], record[5], record[6], record[7]
    s4, s5, s6, s7 = record[8], record[9], record[10], record[11]
    gx = (s4 + s5 + s6 + s7) - (s0 + s1 + s2 + s3)
    gy = (s2 + s3 + s6 + s7) - (s0 + s1 + s4 + s5)
    gz = (s1 + s3 + s5 + s7) - (s0 + s2 + s4 + s6)
    square = gx * gx + gy * gy + gz * gz
    scale = F1 / math.sqrt(square) if square > _TINY else F0
    record[vm.R_NORMAL] = gx * scale
    record[vm.R_NORMAL + 1] = gy * scale
    record[vm.R_NORMAL + 2] = gz * scale


@njit(fastmath={"nsz"}, error_model="numpy", cache=True)
def _write_colour(record, sh0, shs, degree, camera, basis):
    """Colour seen from the camera, max(0, 0.5 + spherical harmonics), and |colour|^2."""
    half = HALF * record[vm.R_SIZE]
    x = record[0] + half - camera[vm.C_CENTER]
    y = record[1] + half - camera[vm.C_CENTER + 1]
    z = record[2] + half - camera[vm.C_CENTER + 2]
    scale = F1 / math.sqrt(max(x * x + y * y + z * z, _TINY))
    write_basis(degree, x * scale, y * scale, z * scale, basis)
    r, g, b = HALF + basis[0] * sh0[0], HALF + basis[0] * sh0[1], HALF + basis[0] * sh0[2]
    for k in range(1, (degree + 1) ** 2):
        value, term = basis[k], shs[k - 1]
        r, g, b = r + value * term[0], g + value * term[1], b + value * term[2]
    r, g, b = max(r, F0), max(g, F0), max(b, F0)
    record[vm.R_RGB], record[vm.R_RGB + 1], record[vm.R_RGB + 2] = r, g, b
    record[vm.R_RGB2] = r * r + g * g + b * b


@njit(fastmath={"nsz"}, error_model="numpy", cache=True)
def _bounds(lo_size, camera, box):
    """box [6, n]: least and largest pixel x, pixel y and depth of the corners of n voxels.

    Voxel by voxel in the innermost loop, so that several are done at once. Pixels mean something
    only where the least depth is in front of the camera.
    """
    fx, fy, cx, cy = camera[vm.C_FX], camera[vm.C_FY], camera[vm.C_CX], camera[vm.C_CY]
    center_x, center_y, center_z = camera[9], camera[10], camera[11]
    x_min, x_max, y_min, y_max, z_min, z_max = box
    for c in range(8):
        bx, by, bz = F1 if c & 4 else F0, F1 if c & 2 else F0, F1 if c & 1 else F0
        for i in range(len(lo_size)):
            size = lo_size[i, 3]
            wx = lo_size[i, 0] - center_x + bx * size
            wy = lo_size[i, 1] - center_y + by * size
            wz = lo_size[i, 2] - center_z + bz * size
            z = camera[2] * wx + camera[5] * wy + camera[8] * wz
            inverse = F1 / z
            px = (camera[0] * wx + camera[3] * wy + camera[6] * wz) * (fx * inverse) + cx
            py = (camera[1] * wx + camera[4] * wy + camera[7] * wz) * (fy * inverse) + cy
            if c == 0:
                x_min[i], x_max[i], y_min[i], y_max[i], z_min[i], z_max[i] = px, px, py, py, z, z
            else:
                x_min[i], x_max[i] = min(x_min[i], px), max(x_max[i], px)
                y_min[i], y_max[i] = min(y_min[i], py), max(y_max[i], py)
                z_min[i], z_max[i] = min(z_min[i], z), max(z_max[i], z)


@njit(parallel=True, fastmath={"nsz"}, error_model="numpy", cache=True)
def prepare(lo_size, level, corner_index, sdf, sh0, shs, sharpness, camera, degree, cull, record,
            rect):  # fmt: skip
    """Fill `record` and `rect`; see `ops.prepare`. A voxel without pixels, or (with `cull`) that no
    ray can lose light in, gets zeros."""
    count, near = len(lo_size), camera[vm.C_NEAR]
    width, height = camera[vm.C_WIDTH], camera[vm.C_HEIGHT]
    for piece in prange((count + _STRIDE - 1) // _STRIDE):
        basis, box = np.empty(16, np.float32), np.empty((6, _STRIDE), np.float32)
        first = piece * _STRIDE
        _bounds(lo_size[first : first + _STRIDE], camera, box)
        for v in range(first, min(count, first + _STRIDE)):
            i = v - first
            nearest, farthest = box[4, i], box[5, i]
            if nearest > near:
                x0, y0, x1, y1 = clipped(box[0, i], box[1, i], box[2, i], box[3, i], width, height)
            elif farthest <= near:
                x0, y0, x1, y1 = 0, 0, 0, 0
            else:
                x0, y0, x1, y1 = image_rect(
                    lo_size[v, 0], lo_size[v, 1], lo_size[v, 2], lo_size[v, 3], camera
                )
            r = record[v]
            if x1 > x0:
                for k in range(4):
                    r[k] = lo_size[v, k]
                for c in range(8):
                    r[vm.R_SDF + c] = sdf[corner_index[v, c]]
                if cull and _takes_no_light(r, sharpness[level[v]], camera):
                    x1 = x0
            if x1 <= x0:
                rect[v] = 0
                r[:] = F0
                continue
            rect[v, 0], rect[v, 1], rect[v, 2], rect[v, 3] = x0, y0, x1, y1
            _write_normal(r)
            _write_colour(r, sh0[v], shs[v], degree, camera, basis)
            r[vm.R_SHARPNESS] = sharpness[level[v]]
