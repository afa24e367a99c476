"""Plane hypotheses of PatchMatch stereo: what is tried at a pixel, and what it costs.

Compiled for the CPU (`kernels.stereo.patchmatch`) and for NVIDIA GPUs
(`kernels.stereo.patchmatch_cuda`) alike, with the same random numbers, so that their results differ
by rounding only. The code that reads the samples of a patch differs: the CPU wants the 32 samples
of one pixel in a row, for SIMD, and a GPU wants the pixels of a block in its shared memory.

A hypothesis of pixel (x, y) is `(w, a, b)`: the inverse depth of the pixel and its change per
pixel to the right and down. Inverse depth is affine over the image of a plane, so the three
numbers are a plane, propagate without a division, and turn the warp into a source view into

    [u v 1] ~ A [x y 1] + q (w + a dx + b dy),   A = K_s R K_r^-1,   q = K_s t.

Pixel coordinates are at integer centres in here. Numbers are float32, so that no expression is
promoted to float64 on a GPU.

Sources: PatchMatch stereo (Bleyer 2011), red-black propagation (Gipuma, Galliani 2015), adaptive
checkerboard sampling and multi-hypothesis view weights (ACMM, Xu & Tao 2019), bilateral NCC and
the geometric consistency term (COLMAP, Schoenberger 2016).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba as nb
import numpy as np

from voxterra.kernels.stereo.planes import and_back

f32 = np.float32
N_SAMPLES = 32
# Cost of a view that does not see the hypothesis: worse than no correlation (1), so that a
# hypothesis does not win by leaving the images.
OUT_OF_VIEW = f32(1.3)
_MIN_VARIANCE = f32(0.6)
_MIN_COS = f32(0.12)
# Source views that count at one pixel.
_MAX_VIEWS = 4

# Pixels to take a hypothesis from, as (side, ahead) of each direction, near and far, as in ACMM's
# checkerboard: all at odd distance, so a red pixel reads black ones only.
_NEAR = np.array([[0, 1], [1, 2], [-1, 2], [0, 3]], np.int64)
_FAR = np.array([[0, 5], [0, 9], [0, 15], [0, 25]], np.int64)


class Matching(NamedTuple):
    """How patches are compared.

    Attributes:
        offsets: (2, 32) float32 dx, dy of the samples [px].
        spatial: (32,) float32 their weights by distance.
        sigma_color: bilateral scale [grey values].
        geo_weight: cost of one pixel of reprojection error.
    """

    offsets: np.ndarray
    spatial: np.ndarray
    sigma_color: np.float32
    geo_weight: np.float32


class Search(NamedTuple):
    """Where hypotheses are sought in one sweep.

    Attributes:
        fx, fy, cx, cy: pinhole of the reference [px].
        w_min, w_max: range of inverse depth.
        w_per_px: inverse depth that moves the projection by about one pixel.
        salt: random seed.
        directions: 4 = propagate from near pixels, 8 = from far ones too.
        refinements: number of perturbations tried.
        explorations: number of planes drawn over the whole range.
    """

    fx: np.float32
    fy: np.float32
    cx: np.float32
    cy: np.float32
    w_min: np.float32
    w_max: np.float32
    w_per_px: np.float32
    salt: int
    directions: int
    refinements: int
    explorations: int


def patch_offsets(*, fine: bool = False) -> np.ndarray:
    """(2, 32) float32 dx, dy of the samples [px]: a 6x6 grid without its corners.

    11 px wide, or 9 px when `fine`: a smaller patch follows edges more closely, where a coarser
    level has found the surface already.
    """
    line = np.array([-4, -2, -1, 1, 2, 4] if fine else [-5, -3, -1, 1, 3, 5], np.float32)
    dx, dy = np.meshgrid(line, line)
    keep = ~((np.abs(dx) == line[-1]) & (np.abs(dy) == line[-1]))
    return np.stack([dx[keep], dy[keep]])


@nb.njit
def random_of(x, y, salt, k):
    """Hash of a pixel and two counters to a float32 in [-1, 1): the same on any thread.

    All in uint64, because Numba widens uint32 products. The mixer is SplitMix64's (Steele 2014).
    """
    h = np.uint64(x) | (np.uint64(y) << np.uint64(32))
    h ^= (np.uint64(salt) << np.uint64(8)) + np.uint64(k)
    h *= np.uint64(0x9E3779B97F4A7C15)
    h ^= (np.uint64(salt) + np.uint64(1)) * np.uint64(0xD1B54A32D192ED03)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    h ^= h >> np.uint64(31)
    return f32(np.int64(h >> np.uint64(40))) * f32(1.0 / 8388608.0) - f32(1.0)


@nb.njit(fastmath=True, inline="always")
def plausible(x, y, w, a, b, search):
    """Depth within range, and a surface that faces the camera by more than a grazing angle."""
    if w < search.w_min or w > search.w_max:
        return False
    px, py = f32(x) - search.cx, f32(y) - search.cy
    nx, ny = a * search.fx, b * search.fy
    nz = w - a * px - b * py
    rx, ry = px / search.fx, py / search.fy
    norm2 = (nx * nx + ny * ny + nz * nz) * (rx * rx + ry * ry + f32(1.0))
    return w * w > _MIN_COS * _MIN_COS * norm2


@nb.njit(fastmath=True, inline="always")
def first_order(m, a, b, u0, v0, inv):
    """How the projection (u0, v0) moves with the pixel: du/dx, du/dy, dv/dx, dv/dy.

    `m` is [A | q], `inv` one over the third component of what projects to (u0, v0).
    """
    gx = m[2, 0] + m[2, 3] * a
    gy = m[2, 1] + m[2, 3] * b
    ux = (m[0, 0] + m[0, 3] * a - u0 * gx) * inv
    vx = (m[1, 0] + m[1, 3] * a - v0 * gx) * inv
    uy = (m[0, 1] + m[0, 3] * b - u0 * gy) * inv
    vy = (m[1, 1] + m[1, 3] * b - v0 * gy) * inv
    return ux, uy, vx, vy


@nb.njit(fastmath=True, inline="always")
def patch_cost(s1, s2, s3, mean, variance):
    """1 - NCC of a patch of weighted `mean` and `variance` with the source's.

    The source's sums are s1 = sum w s, s2 = sum w s^2, s3 = sum w r s, with weights of sum 1.
    """
    variance_s = s2 - s1 * s1
    if variance < _MIN_VARIANCE or variance_s < _MIN_VARIANCE:
        return f32(1.0)
    cost = f32(1.0) - (s3 - mean * s1) / math.sqrt(variance * variance_s)
    return min(max(cost, f32(0.0)), OUT_OF_VIEW)


@nb.njit(fastmath=True, inline="always")
def reprojection_error(sources, v, x, y, u0, v0):
    """Distance of (x, y) from where the surface that view `v` sees at (u0, v0) lies [px], 3 at
    most and where the view knows no surface."""
    bx, by, w_back = and_back(sources, v, u0, v0)
    error = f32(3.0)
    if w_back > f32(0.0):
        dx, dy = bx - f32(x), by - f32(y)
        error = min(math.sqrt(dx * dx + dy * dy), error)
    return error


@nb.njit(fastmath=True)
def best_views_mean(view_cost):
    """Mean of the best third (at least two, or all) of the view costs."""
    n_views = len(view_cost)
    k = max(min(2, n_views), n_views // 3)
    total, taken, last = f32(0.0), 0, f32(-1.0)
    while taken < k:  # selection: n_views is small
        low = f32(1e9)
        count = 0
        for v in range(n_views):
            c = view_cost[v]
            if c > last and c < low:
                low = c
                count = 1
            elif c == low:
                count += 1
        take = min(count, k - taken)
        if take <= 0:
            break
        total += low * f32(take)
        taken += take
        last = low
    return total / f32(max(taken, 1))


@nb.njit(fastmath=True)
def view_weights(view_costs, x, y, out):
    """How likely each source view sees this surface, from this pixel's and its neighbours' costs.

    Weights sum to 1. At most `_MAX_VIEWS` views get one, and none that is far worse than the best.
    """
    height, width, n_views = view_costs.shape
    best = f32(0.0)
    for v in range(n_views):
        total = f32(0.0)
        for k in range(5):
            px = min(max(x + (k == 1) - (k == 2), 0), width - 1)
            py = min(max(y + (k == 3) - (k == 4), 0), height - 1)
            good = max(f32(0.0), f32(1.0) - view_costs[py, px, v])
            total += good * good
        out[v] = total
        best = max(best, total)
    if best <= f32(0.0):
        out[:] = f32(1.0) / f32(n_views)
        return
    # A few good views tell as much as many; the rest only costs time.
    floor = f32(0.25) * best
    for _ in range(n_views):
        above = 0
        lowest = best
        for v in range(n_views):
            if out[v] >= floor:
                above += 1
                lowest = min(lowest, out[v])
        if above <= _MAX_VIEWS or lowest >= best:
            break
        floor = min(lowest * f32(1.0001), best)
    norm = f32(0.0)
    for v in range(n_views):
        if out[v] < floor:
            out[v] = f32(0.0)
        norm += out[v]
    for v in range(n_views):
        out[v] /= norm


@nb.njit(fastmath=True)
def cheapest_towards(costs, x, y, direction):
    """The pixel of lowest cost in one direction: up, down, left, right, then the same far."""
    height, width = costs.shape
    bx, by, low = -1, -1, f32(1e9)
    for k in range(4):
        side = _NEAR[k, 0] if direction < 4 else _FAR[k, 0]
        ahead = _NEAR[k, 1] if direction < 4 else _FAR[k, 1]
        d = direction % 4
        if d == 0:
            px, py = x + side, y - ahead
        elif d == 1:
            px, py = x + side, y + ahead
        elif d == 2:
            px, py = x - ahead, y + side
        else:
            px, py = x + ahead, y + side
        if 0 <= px < width and 0 <= py < height and costs[py, px] < low:
            bx, by, low = px, py, costs[py, px]
    return bx, by


@nb.njit(fastmath=True, inline="always")
def is_news(own, w, a, b, search):
    """Whether a hypothesis differs from the plane `own` enough to be worth a warp: converged
    neighbourhoods offer what is already there."""
    return not (
        abs(w - own[0]) < f32(0.06) * search.w_per_px
        and abs(a - own[1]) < f32(0.025) * search.w_per_px
        and abs(b - own[2]) < f32(0.025) * search.w_per_px
    )


@nb.njit(fastmath=True, inline="always")
def perturbed(r, w, a, b, r0, r1, r2, scale):
    """The r-th plane near (w, a, b), from three random numbers: in turn depth, slope, and both are
    moved, by up to `scale` [inverse depth]."""
    if r % 3 != 1:
        w += scale * r0
    if r % 3 != 0:
        a += scale * r1 * f32(0.25)
        b += scale * r2 * f32(0.25)
    return w, a, b


@nb.njit(fastmath=True, inline="always")
def fresh(r, w, a, b, r0, r1, r2, search):
    """The r-th plane at any depth, with the slope of (w, a, b) and a random one in turn."""
    w_new = search.w_min + (search.w_max - search.w_min) * f32(0.5) * (r0 + f32(1.0))
    if r % 2 == 0:
        return w_new, a * w_new / w, b * w_new / w
    return w_new, r1 * w_new / search.fx, r2 * w_new / search.fy
