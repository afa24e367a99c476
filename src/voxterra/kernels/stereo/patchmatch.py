"""PatchMatch stereo on the CPU; `kernels.stereo.hypotheses` has what is tried and what it costs.

Layout is chosen for SIMD: the inner loop runs over the 32 samples of one patch, and a source
view stores its 2x2 neighbourhoods as four bytes of one word, so that a bilinear sample is a
single gather.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from voxterra.kernels.stereo.hypotheses import (
    N_SAMPLES,
    OUT_OF_VIEW,
    best_views_mean,
    cheapest_towards,
    f32,
    first_order,
    fresh,
    is_news,
    patch_cost,
    perturbed,
    plausible,
    random_of,
    reprojection_error,
    view_weights,
)
from voxterra.kernels.stereo.planes import inside, there


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
    ux, uy, vx, vy = first_order(m, a, b, u0, v0, f32(1.0) / z)
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
    cost = patch_cost(s1, s2, s3, mean, variance)
    if matching.geo_weight > f32(0.0):
        cost += matching.geo_weight * reprojection_error(sources, v, x, y, u0, v0)
    return cost


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
            costs[y, x] = best_views_mean(view_costs[y, x])


@nb.njit(fastmath=True)
def _improve(planes, view_costs, x, y, w, a, b, best, view_weight, trial, sources, matching,
             patch, search):  # fmt: skip
    """Take the hypothesis for pixel (x, y) if it costs less than `best`; the lower cost."""
    if not plausible(x, y, w, a, b, search):
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
        return perturbed(r, w, a, b, r0, r1, r2, f32(0.6) ** r * search.w_per_px)
    return fresh(r - search.refinements, w, a, b, r0, r1, r2, search)


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
            view_weights(view_costs, x, y, view_weight)
            best = f32(0.0)
            for v in range(n_views):
                best += view_weight[v] * view_costs[y, x, v]
            for direction in range(search.directions):
                bx, by = cheapest_towards(costs, x, y, direction)
                if bx < 0:
                    continue
                own, a, b = planes[y, x], planes[by, bx, 1], planes[by, bx, 2]
                w = planes[by, bx, 0] + a * f32(x - bx) + b * f32(y - by)
                if not is_news(own, w, a, b, search):
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
