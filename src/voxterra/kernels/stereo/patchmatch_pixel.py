"""PatchMatch stereo as a thread of a GPU does it: one pixel, with its block's share of the image.

The reference image around a block lies in memory that its threads share. The weights of a patch
are computed again for every hypothesis and view: a thread has no room for the 64 numbers that the
CPU keeps, and a division a sample is less than a trip to memory.

Functions of arrays and scalars, compiled for CUDA by `kernels.stereo.patchmatch_cuda`; tests run
them on a CPU, too.
"""

from __future__ import annotations

from typing import NamedTuple

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

THREADS, WIDTH, HEIGHT = 256, 32, 16
RADIUS = 5
"""Largest offset of a sample [px]."""
ROWS, COLUMNS = HEIGHT + 2 * RADIUS, WIDTH + 2 * RADIUS
# Row pitch of the shared image: with 8 more than a multiple of 16, the pixels of one colour of four
# rows of 16 lie in 32 different banks.
PITCH = 56
# Unsigned counters of 32 bits: signed indices cost a test for negative ones, as Python has them.
U0, U1, U2, SAMPLES = np.uint32(0), np.uint32(1), np.uint32(2), np.uint32(N_SAMPLES)
TILE, TABLE = ROWS * PITCH, 4 * N_SAMPLES


class Patch(NamedTuple):
    """The patch of one pixel of the reference.

    Attributes:
        tile: (TILE,) float32 reference image around the block.
        table: (TABLE,) float32 of each sample dx, dy, weight by distance, and nothing.
        step: (32,) int32 from the centre to each sample, in `tile`.
        at: place of the centre in `tile`.
        inv_sigma2: bilateral scale.
        center: grey value from which all others count.
        norm: one over the sum of the weights.
        mean, variance: weighted, of the patch.
    """

    tile: np.ndarray
    table: np.ndarray
    step: np.ndarray
    at: int
    inv_sigma2: np.float32
    center: np.float32
    norm: np.float32
    mean: np.float32
    variance: np.float32


@nb.njit
def stage(reference, matching, x0, y0, thread, tile, table, step):
    """One thread's share of filling a block's shared memory; (x0, y0) is the block's corner.

    The grey value is the first byte of a reference's quads; the image's border repeats.
    """
    height, width = reference.shape
    for i in range(thread, ROWS * COLUMNS, THREADS):
        row, column = i // COLUMNS, i % COLUMNS
        x = min(max(x0 + column - RADIUS, 0), width - 1)
        y = min(max(y0 + row - RADIUS, 0), height - 1)
        tile[row * PITCH + column] = f32(np.int32(reference[y, x] & np.int32(255)))
    if thread < N_SAMPLES:
        dx, dy = matching[thread], matching[N_SAMPLES + thread]
        table[4 * thread] = dx
        table[4 * thread + 1] = dy
        table[4 * thread + 2] = matching[2 * N_SAMPLES + thread]
        table[4 * thread + 3] = f32(0.0)
        step[thread] = np.int32(dy) * PITCH + np.int32(dx)


@nb.njit
def pixel_in_block(thread, odd):
    """Column and row of a thread's pixel in its block; `odd`: the colour of pixel (0, 0) is not
    the one that is due."""
    warp, lane = thread >> 5, thread & 31
    row = ((warp >> 1) << 2) + (lane >> 3)
    return 2 * (((warp & 1) << 3) + (lane & 7)) + ((row + odd) & 1), row


@nb.njit(fastmath=True)
def reference_patch(tile, table, step, at, inv_sigma2):
    """The `Patch` at a place in the tile."""
    center = tile[np.uint32(at)]
    total, mean, square = f32(0.0), f32(0.0), f32(0.0)
    k = U0
    while k < SAMPLES:
        d = tile[np.uint32(at + step[k])] - center
        g = table[np.uint32((k << U2) + U2)] / (f32(1.0) + d * d * inv_sigma2)
        k = np.uint32(k + U1)
        total += g
        mean += g * d
        square += g * d * d
    norm = f32(1.0) / total
    mean *= norm
    variance = square * norm - mean * mean
    return Patch(tile, table, step, at, inv_sigma2, center, norm, mean, variance)


@nb.njit(fastmath=True)
def view_cost(sources, v, x, y, w, a, b, geo_weight, patch):
    """Cost of one hypothesis in one source view, as `patchmatch._view_cost` has it."""
    m = sources.forward[v]
    u0, v0, z = there(m, f32(x), f32(y), w)
    if z <= f32(0.0) or not inside(sources, v, u0, v0):
        return OUT_OF_VIEW
    ux, uy, vx, vy = first_order(m, a, b, u0, v0, f32(1.0) / z)
    base = np.uint64(sources.meta[v, 0])
    width, height = np.int32(sources.meta[v, 1]), np.int32(sources.meta[v, 2])
    wmax, hmax = f32(width) - f32(1.01), f32(height) - f32(1.01)
    s1, s2, s3 = f32(0.0), f32(0.0), f32(0.0)
    k = U0
    while k < SAMPLES:
        t = np.uint32(k << U2)
        dx, dy = patch.table[t], patch.table[np.uint32(t + U1)]
        su = min(max(u0 + ux * dx + uy * dy, f32(0.0)), wmax)
        sv = min(max(v0 + vx * dx + vy * dy, f32(0.0)), hmax)
        iu, iv = np.int32(su), np.int32(sv)
        fu, fv = su - f32(iu), sv - f32(iv)
        q = np.uint32(sources.quads[base + np.uint64(np.uint32(iv * width + iu))])
        p00 = f32(np.int32(q & np.uint32(255)))
        p01 = f32(np.int32((q >> np.uint32(8)) & np.uint32(255)))
        p10 = f32(np.int32((q >> np.uint32(16)) & np.uint32(255)))
        p11 = f32(np.int32(q >> np.uint32(24)))
        top = p00 + (p01 - p00) * fu
        low = p10 + (p11 - p10) * fu
        s = top + (low - top) * fv - patch.center
        r = patch.tile[np.uint32(patch.at + patch.step[k])] - patch.center
        g = patch.table[np.uint32(t + U2)] / (f32(1.0) + r * r * patch.inv_sigma2)
        k = np.uint32(k + U1)
        s1 += g * s
        s2 += g * s * s
        s3 += g * r * s
    n = patch.norm
    cost = patch_cost(s1 * n, s2 * n, s3 * n, patch.mean, patch.variance)
    if geo_weight > f32(0.0):
        cost += geo_weight * reprojection_error(sources, v, x, y, u0, v0)
    return cost


@nb.njit(fastmath=True)
def evaluate_pixel(x, y, sources, patch, geo_weight, planes, costs, view_costs):
    """`patchmatch.evaluate` of one pixel."""
    w, a, b = planes[y, x, 0], planes[y, x, 1], planes[y, x, 2]
    for v in range(view_costs.shape[2]):
        view_costs[y, x, v] = view_cost(sources, v, x, y, w, a, b, geo_weight, patch)
    costs[y, x] = best_views_mean(view_costs[y, x])


@nb.njit(fastmath=True)
def sweep_pixel(
    x, y, sources, patch, geo_weight, search, planes, costs, view_costs, weight, trial, counts
):
    """`patchmatch.sweep` of one pixel.

    All hypotheses go through one loop, and the views that count stand in a row (`counts`), so that
    the threads of a warp stay together.

    Args:
        weight, trial: (V,) float32 to work in.
        counts: (V,) int32 to work in.
    """
    view_weights(view_costs, x, y, weight)
    best, n = f32(0.0), 0
    for v in range(len(weight)):
        if weight[v] > f32(0.0):
            best += weight[v] * view_costs[y, x, v]
            counts[n] = v
            n += 1
    w, a, b = planes[y, x, 0], planes[y, x, 1], planes[y, x, 2]
    scale = search.w_per_px
    for i in range(search.directions + search.refinements + search.explorations):
        if i < search.directions:
            bx, by = cheapest_towards(costs, x, y, i)
            if bx < 0:
                continue
            ta, tb = planes[by, bx, 1], planes[by, bx, 2]
            tw = planes[by, bx, 0] + ta * f32(x - bx) + tb * f32(y - by)
            if not is_news((w, a, b), tw, ta, tb, search):
                continue
        else:
            r = i - search.directions
            r0 = random_of(x, y, search.salt, 3 * r)
            r1 = random_of(x, y, search.salt, 3 * r + 1)
            r2 = random_of(x, y, search.salt, 3 * r + 2)
            if r < search.refinements:
                tw, ta, tb = perturbed(r, w, a, b, r0, r1, r2, scale)
                scale *= f32(0.6)
            else:
                tw, ta, tb = fresh(r - search.refinements, w, a, b, r0, r1, r2, search)
        if not plausible(x, y, tw, ta, tb, search):
            continue
        total, k = f32(0.0), 0
        while k < n and total < best:
            v = counts[k]
            trial[k] = view_cost(sources, v, x, y, tw, ta, tb, geo_weight, patch)
            total += weight[v] * trial[k]
            k += 1
        if total < best:
            best, w, a, b = total, tw, ta, tb
            for k in range(n):
                view_costs[y, x, counts[k]] = trial[k]
    planes[y, x, 0] = w
    planes[y, x, 1] = a
    planes[y, x, 2] = b
    costs[y, x] = best
