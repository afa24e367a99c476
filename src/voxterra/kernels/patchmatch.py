"""PatchMatch stereo with plane hypotheses.

A hypothesis of pixel (x, y) is `(w, a, b)`: the inverse depth of the pixel and its change per
pixel to the right and down. Inverse depth is affine over the image of a plane, so the three
numbers are a plane, propagate without a division, and turn the warp into a source view into

    [u v 1] ~ A [x y 1] + q (w + a dx + b dy),   A = K_s R K_r^-1,   q = K_s t.

Layout is chosen for SIMD: the inner loop runs over the 32 samples of one patch, and a source
view stores its 2x2 neighbourhoods as four bytes of one word, so that a bilinear sample is a
single gather. Pixel coordinates are at integer centres in here.

Sources: PatchMatch stereo (Bleyer 2011), red-black propagation (Gipuma, Galliani 2015), adaptive
checkerboard sampling and multi-hypothesis view weights (ACMM, Xu & Tao 2019), bilateral NCC and
the geometric consistency term (COLMAP, Schoenberger 2016).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba as nb
import numpy as np

from voxterra.kernels.planes import and_back, inside, there

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


@nb.njit(fastmath=True)
def _reference_patch(gray, x, y, matching, weight, weighted):
    """Bilateral weights of the patch (normalised), its centre, weighted mean and variance.

    Intensities count from the centre pixel's, which keeps float32 sums accurate.
    """
    height, width = gray.shape
    offsets = matching.offsets
    center = gray[y, x]
    total = f32(0.0)
    inv_sigma2 = f32(1.0) / (matching.sigma_color * matching.sigma_color)
    for k in range(N_SAMPLES):
        px = min(max(x + np.int64(offsets[0, k]), 0), width - 1)
        py = min(max(y + np.int64(offsets[1, k]), 0), height - 1)
        d = gray[py, px] - center
        g = matching.spatial[k] / (f32(1.0) + d * d * inv_sigma2)
        weight[k] = g
        weighted[k] = d
        total += g
    norm = f32(1.0) / total
    mean = f32(0.0)
    square = f32(0.0)
    for k in range(N_SAMPLES):
        g = weight[k] * norm
        d = weighted[k]
        weight[k] = g
        weighted[k] = g * d
        mean += g * d
        square += g * d * d
    return weight, weighted, center, mean, square - mean * mean


@nb.njit(fastmath=True, inline="always")
def _sample_sums(quads, base, stride, wmax, hmax, offsets, weight, weighted, center, warp):
    """Weighted sums of the source patch: sum s, sum s^2, sum r s over the 32 samples."""
    u0, v0, ux, uy, vx, vy = warp
    s1 = f32(0.0)
    s2 = f32(0.0)
    s3 = f32(0.0)
    for k in range(N_SAMPLES):
        dx = offsets[0, k]
        dy = offsets[1, k]
        u = min(max(u0 + ux * dx + uy * dy, f32(0.0)), wmax)
        v = min(max(v0 + vx * dx + vy * dy, f32(0.0)), hmax)
        iu = np.int32(u)
        iv = np.int32(v)
        fu = u - f32(iu)
        fv = v - f32(iv)
        q = quads[base + np.uint32(iv * stride + iu)]
        p00 = f32(np.int32(q & np.uint32(255)))
        p01 = f32(np.int32((q >> np.uint32(8)) & np.uint32(255)))
        p10 = f32(np.int32((q >> np.uint32(16)) & np.uint32(255)))
        p11 = f32(np.int32(q >> np.uint32(24)))
        top = p00 + (p01 - p00) * fu
        low = p10 + (p11 - p10) * fu
        s = top + (low - top) * fv - center
        ws = weight[k] * s
        s1 += ws
        s2 += ws * s
        s3 += weighted[k] * s
    return s1, s2, s3


@nb.njit(fastmath=True)
def _view_cost(sources, v, x, y, w, a, b, matching, patch):
    """Cost of one hypothesis in one source view: 1 - NCC, plus the reprojection error [px].

    The warp of the patch is the homography's first order at its centre: no division a sample.
    """
    weight, weighted, center, mean, variance = patch
    m = sources.forward[v]
    u0, v0, z = there(m, f32(x), f32(y), w)
    if z <= f32(0.0) or not inside(sources, v, u0, v0):
        return OUT_OF_VIEW
    inv = f32(1.0) / z
    gx = m[2, 0] + m[2, 3] * a
    gy = m[2, 1] + m[2, 3] * b
    ux = (m[0, 0] + m[0, 3] * a - u0 * gx) * inv
    vx = (m[1, 0] + m[1, 3] * a - v0 * gx) * inv
    uy = (m[0, 1] + m[0, 3] * b - u0 * gy) * inv
    vy = (m[1, 1] + m[1, 3] * b - v0 * gy) * inv
    width, height = sources.meta[v, 1], sources.meta[v, 2]
    s1, s2, s3 = _sample_sums(
        sources.quads,
        np.uint64(sources.meta[v, 0]),
        np.int32(width),
        f32(width) - f32(1.01),
        f32(height) - f32(1.01),
        matching.offsets,
        weight,
        weighted,
        center,
        (u0, v0, ux, uy, vx, vy),
    )
    variance_s = s2 - s1 * s1
    if variance < _MIN_VARIANCE or variance_s < _MIN_VARIANCE:
        cost = f32(1.0)
    else:
        cost = f32(1.0) - (s3 - mean * s1) / math.sqrt(variance * variance_s)
        cost = min(max(cost, f32(0.0)), OUT_OF_VIEW)
    if matching.geo_weight > f32(0.0):
        bx, by, w_back = and_back(sources, v, u0, v0)
        error = f32(3.0)
        if w_back > f32(0.0):
            dx, dy = bx - f32(x), by - f32(y)
            error = min(math.sqrt(dx * dx + dy * dy), error)
        cost += matching.geo_weight * error
    return cost


@nb.njit(fastmath=True, inline="always")
def _plausible(x, y, w, a, b, search):
    """Depth within range, and a surface that faces the camera by more than a grazing angle."""
    if w < search.w_min or w > search.w_max:
        return False
    px, py = f32(x) - search.cx, f32(y) - search.cy
    nx, ny = a * search.fx, b * search.fy
    nz = w - a * px - b * py
    rx, ry = px / search.fx, py / search.fy
    norm2 = (nx * nx + ny * ny + nz * nz) * (rx * rx + ry * ry + f32(1.0))
    return w * w > _MIN_COS * _MIN_COS * norm2


@nb.njit(fastmath=True)
def _best_views_mean(view_cost):
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


@nb.njit(parallel=True, fastmath=True, cache=True)
def evaluate(gray, planes, costs, view_costs, sources, matching):
    """Costs of given planes, into `costs` (H, W) and `view_costs` (H, W, V)."""
    height, width = gray.shape
    for y in nb.prange(height):
        weight = np.empty(N_SAMPLES, np.float32)
        weighted = np.empty(N_SAMPLES, np.float32)
        for x in range(width):
            patch = _reference_patch(gray, x, y, matching, weight, weighted)
            p = planes[y, x]
            for v in range(len(sources.meta)):
                view_costs[y, x, v] = _view_cost(
                    sources, v, x, y, p[0], p[1], p[2], matching, patch
                )
            costs[y, x] = _best_views_mean(view_costs[y, x])


@nb.njit(fastmath=True)
def _view_weights(view_costs, x, y, out):
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
def _improve(planes, view_costs, x, y, w, a, b, best, view_weight, trial, sources, matching,
             patch, search):  # fmt: skip
    """Take the hypothesis for pixel (x, y) if it costs less than `best`; the lower cost."""
    if not _plausible(x, y, w, a, b, search):
        return best
    total = f32(0.0)
    for v in range(len(view_weight)):
        if view_weight[v] > f32(0.0):
            c = _view_cost(sources, v, x, y, w, a, b, matching, patch)
            trial[v] = c
            total += view_weight[v] * c
            if total >= best:
                return best
    planes[y, x, 0] = w
    planes[y, x, 1] = a
    planes[y, x, 2] = b
    for v in range(len(view_weight)):
        if view_weight[v] > f32(0.0):
            view_costs[y, x, v] = trial[v]
    return total


@nb.njit(fastmath=True)
def _cheapest_towards(costs, x, y, direction):
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
def _drawn(x, y, r, w, a, b, search):
    """The r-th random hypothesis of a pixel whose plane is (w, a, b).

    First come perturbations of depth, slope, both, each smaller than the last; then fresh depths
    over the whole range, with the plane's own slope and with a random one in turn.
    """
    r0 = random_of(x, y, search.salt, 3 * r)
    r1 = random_of(x, y, search.salt, 3 * r + 1)
    r2 = random_of(x, y, search.salt, 3 * r + 2)
    if r < search.refinements:
        scale = f32(0.6) ** r * search.w_per_px
        if r % 3 != 1:
            w += scale * r0
        if r % 3 != 0:
            a += scale * r1 * f32(0.25)
            b += scale * r2 * f32(0.25)
        return w, a, b
    fresh = search.w_min + (search.w_max - search.w_min) * f32(0.5) * (r0 + f32(1.0))
    if (r - search.refinements) % 2 == 0:
        return fresh, a * fresh / w, b * fresh / w
    return fresh, r1 * fresh / search.fx, r2 * fresh / search.fy


@nb.njit(parallel=True, fastmath=True, cache=True)
def sweep(gray, planes, costs, view_costs, sources, matching, search, color):
    """Half a PatchMatch iteration: propagate to, then refine, the pixels of one checker colour.

    Args:
        gray: (H, W) float32 reference image, 0..255.
        planes, costs, view_costs: (H, W, 3), (H, W), (H, W, V) float32, updated in place.
        color: 0 or 1.
    """
    height, width = gray.shape
    n_views = view_costs.shape[2]
    for y in nb.prange(height):
        weight = np.empty(N_SAMPLES, np.float32)
        weighted = np.empty(N_SAMPLES, np.float32)
        view_weight = np.empty(n_views, np.float32)
        trial = np.empty(n_views, np.float32)
        for x in range((y + color) % 2, width, 2):
            patch = _reference_patch(gray, x, y, matching, weight, weighted)
            _view_weights(view_costs, x, y, view_weight)
            best = f32(0.0)
            for v in range(n_views):
                best += view_weight[v] * view_costs[y, x, v]
            for direction in range(search.directions):
                bx, by = _cheapest_towards(costs, x, y, direction)
                if bx < 0:
                    continue
                own, a, b = planes[y, x], planes[by, bx, 1], planes[by, bx, 2]
                w = planes[by, bx, 0] + a * f32(x - bx) + b * f32(y - by)
                # Converged neighbourhoods offer what is already there: not worth a warp.
                if (
                    abs(w - own[0]) < f32(0.06) * search.w_per_px
                    and abs(a - own[1]) < f32(0.025) * search.w_per_px
                    and abs(b - own[2]) < f32(0.025) * search.w_per_px
                ):
                    continue
                best = _improve(
                    planes, view_costs, x, y, w, a, b, best, view_weight, trial, sources,
                    matching, patch, search,
                )  # fmt: skip
            for r in range(search.refinements + search.explorations):
                own = planes[y, x]
                w, a, b = _drawn(x, y, r, own[0], own[1], own[2], search)
                best = _improve(
                    planes, view_costs, x, y, w, a, b, best, view_weight, trial, sources,
                    matching, patch, search,
                )  # fmt: skip
            costs[y, x] = best
