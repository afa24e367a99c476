"""Planes of a view as inverse depth: resampling, normals, the way to another view and back.

The plane of pixel (x, y) is `(w, a, b)`: the inverse depth of the pixel and its change per pixel to
the right and down (see `kernels.stereo.hypotheses`). Pixel coordinates are at integer centres in
here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba as nb
import numpy as np

f32 = np.float32


class Sources(NamedTuple):
    """Source views of a reference view, flat one after the other.

    Attributes:
        quads: (P,) uint32, see `pack_quads`.
        planes: (P, 3) float32, w = 0 unknown; one row is enough where they are not asked for.
        meta: (V, 3) int64 offset into the flat arrays, width, height.
        forward: (V, 3, 4) float32 [A | q] from the reference: [u v 1] ~ A [x y 1] + q w.
        backward: (V, 3, 4) float32 the same from the source to the reference.
    """

    quads: np.ndarray
    planes: np.ndarray
    meta: np.ndarray
    forward: np.ndarray
    backward: np.ndarray


@nb.njit(fastmath=True, inline="always")
def there(m, x, y, w):
    """Where inverse depth `w` of (x, y) lies in the other view: u, v, and depth there over here.

    The last is 0 where it lies behind the other view.
    """
    z = m[2, 0] * x + m[2, 1] * y + m[2, 2] + m[2, 3] * w
    if z <= f32(1e-6):
        return f32(-1.0), f32(-1.0), f32(0.0)
    inv = f32(1.0) / z
    u = (m[0, 0] * x + m[0, 1] * y + m[0, 2] + m[0, 3] * w) * inv
    v = (m[1, 0] * x + m[1, 1] * y + m[1, 2] + m[1, 3] * w) * inv
    return u, v, z


@nb.njit(fastmath=True, inline="always")
def inside(sources, v, x, y):
    """Whether pixel (x, y) lies in source view `v`."""
    return (
        x >= f32(0.0)
        and y >= f32(0.0)
        and x <= f32(sources.meta[v, 1] - 1)
        and y <= f32(sources.meta[v, 2] - 1)
    )


@nb.njit(fastmath=True, inline="always")
def w_there(sources, v, x, y):
    """Inverse depth of the surface that source view `v` sees at (x, y); <= 0 where unknown."""
    ix = np.int64(x + f32(0.5))
    iy = np.int64(y + f32(0.5))
    p = sources.planes[sources.meta[v, 0] + iy * sources.meta[v, 1] + ix]
    if p[0] <= f32(0.0):
        return f32(0.0)
    return p[0] + p[1] * (x - f32(ix)) + p[2] * (y - f32(iy))


@nb.njit(fastmath=True, inline="always")
def and_back(sources, v, x, y):
    """Where the surface that source view `v` sees at (x, y) lies in the reference: x, y, w.

    The last is 0 where the source view knows no surface.
    """
    w = w_there(sources, v, x, y)
    if w <= f32(0.0):
        return f32(0.0), f32(0.0), f32(0.0)
    bx, by, z = there(sources.backward[v], x, y, w)
    if z <= f32(0.0):
        return f32(0.0), f32(0.0), f32(0.0)
    return bx, by, w / z


@nb.njit(cache=True)
def pack_quads(gray: np.ndarray) -> np.ndarray:
    """(H, W) uint8 -> (H, W) uint32, the bytes of pixels (y,x) (y,x+1) (y+1,x) (y+1,x+1)."""
    height, width = gray.shape
    out = np.empty((height, width), np.uint32)
    for y in range(height):
        y1 = min(y + 1, height - 1)
        for x in range(width):
            x1 = min(x + 1, width - 1)
            out[y, x] = (
                np.uint32(gray[y, x])
                | (np.uint32(gray[y, x1]) << np.uint32(8))
                | (np.uint32(gray[y1, x]) << np.uint32(16))
                | (np.uint32(gray[y1, x1]) << np.uint32(24))
            )
    return out


@nb.njit(fastmath=True, inline="always")
def upsampled(coarse, x, y, sx, sy):
    """Plane of pixel (x, y) of a finer grid; `sx`, `sy`: coarse pixels per fine one."""
    ch, cw = coarse.shape[:2]
    cy = (f32(y) + f32(0.5)) * sy - f32(0.5)
    iy = min(max(np.int64(cy + f32(0.5)), 0), ch - 1)
    cx = (f32(x) + f32(0.5)) * sx - f32(0.5)
    ix = min(max(np.int64(cx + f32(0.5)), 0), cw - 1)
    a, b = coarse[iy, ix, 1], coarse[iy, ix, 2]
    return coarse[iy, ix, 0] + a * (cx - f32(ix)) + b * (cy - f32(iy)), a * sx, b * sy


@nb.njit(parallel=True, fastmath=True, cache=True)
def upsample_planes(coarse, height, width):
    """Planes on a finer grid of the same image: each pixel continues its nearest coarse plane."""
    ch, cw = coarse.shape[:2]
    out = np.empty((height, width, 3), np.float32)
    sx, sy = f32(cw) / f32(width), f32(ch) / f32(height)
    for y in nb.prange(height):
        for x in range(width):
            w, a, b = upsampled(coarse, x, y, sx, sy)
            out[y, x, 0] = w
            out[y, x, 1] = a
            out[y, x, 2] = b
    return out


@nb.njit(parallel=True, fastmath=True, cache=True)
def normals_from_planes(planes, cam):
    """(H, W, 3) unit normals in the camera frame, facing the camera, of (H, W, 3) planes."""
    height, width = planes.shape[:2]
    fx, fy, cx, cy = cam
    out = np.zeros((height, width, 3), np.float32)
    for y in nb.prange(height):
        for x in range(width):
            w, a, b = planes[y, x, 0], planes[y, x, 1], planes[y, x, 2]
            if w <= f32(0.0):
                continue
            nx, ny = a * fx, b * fy
            nz = w - a * (f32(x) - cx) - b * (f32(y) - cy)
            norm = -f32(1.0) / math.sqrt(nx * nx + ny * ny + nz * nz)
            out[y, x, 0] = nx * norm
            out[y, x, 1] = ny * norm
            out[y, x, 2] = nz * norm
    return out


@nb.njit(fastmath=True, inline="always")
def agreement(sources, x, y, w, max_error_px, max_relative):
    """`check_consistency` of one pixel of known inverse depth `w`."""
    agree, look, total = 0, 0, w
    for v in range(sources.meta.shape[0]):
        u0, v0, z = there(sources.forward[v], f32(x), f32(y), w)
        if z <= f32(0.0) or not inside(sources, v, u0, v0):
            continue
        bx, by, w_back = and_back(sources, v, u0, v0)
        if w_back <= f32(0.0):
            continue
        dx, dy = bx - f32(x), by - f32(y)
        if dx * dx + dy * dy < max_error_px * max_error_px and abs(w_back - w) < max_relative * w:
            total += w_back
            agree += 1
            look += 1
        # z is the point's depth over there per depth here, so w / z its inverse depth.
        elif w_there(sources, v, u0, v0) < (f32(1.0) + max_relative) * w / z:
            look += 1
    return agree, look, total / f32(agree + 1)


@nb.njit(parallel=True, fastmath=True, cache=True)
def check_consistency(planes, sources, max_error_px, max_relative):
    """How many source views agree with each pixel's depth, and the depth they agree on.

    A view agrees when the pixel, taken to the view's surface and back, lands within
    `max_error_px` and its depth within `max_relative`. A view looks when the pixel's point lies in
    its frame and its own surface does not hide it.

    Returns:
        agree, look: (H, W) uint8 number of views, agreeing ones look too;
        mean_w: (H, W) float32 mean inverse depth of the pixel's own and the agreeing estimates.
    """
    height, width = planes.shape[:2]
    agree = np.zeros((height, width), np.uint8)
    look = np.zeros((height, width), np.uint8)
    mean_w = np.zeros((height, width), np.float32)
    for y in nb.prange(height):
        for x in range(width):
            w = planes[y, x, 0]
            if w <= f32(0.0):
                continue
            agree[y, x], look[y, x], mean_w[y, x] = agreement(
                sources, x, y, w, max_error_px, max_relative
            )
    return agree, look, mean_w
