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

import numba as nb
import numpy as np

f32 = np.float32
N_SAMPLES = 32
# Cost of a view that does not see the hypothesis: worse than no correlation (1), so that a
# hypothesis does not win by leaving the images.
OUT_OF_VIEW = f32(1.3)
_MIN_VARIANCE = f32(0.6)
_MIN_COS = f32(0.12)
# Source views that count at one pixel.
_MAX_VIEWS = 4

# One-column groups of each direction, near and far, as in ACMM's checkerboard: all have odd
# distance, so a red pixel reads black ones only.
_NEAR = np.array([[0, 1], [1, 2], [-1, 2], [0, 3]], np.int64)
_FAR = np.array([[0, 5], [0, 9], [0, 15], [0, 25]], np.int64)


def patch_offsets(spread: int = 1) -> np.ndarray:
    """(2, 32) float32 dx, dy [px]: a 6x6 grid of spacing `2 * spread` without its corners."""
    line = np.array([-5, -3, -1, 1, 3, 5], np.float32) * spread
    dx, dy = np.meshgrid(line, line)
    keep = ~((np.abs(dx) == 5 * spread) & (np.abs(dy) == 5 * spread))
    return np.stack([dx[keep], dy[keep]]).astype(np.float32)


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


@nb.njit(inline="always")
def _random(x, y, salt, k):
    """Hash of a pixel and two counters to a float32 in [-1, 1): the same on any thread."""
    h = np.uint32(x) * np.uint32(0x9E3779B1) ^ np.uint32(y) * np.uint32(0x85EBCA77)
    h ^= np.uint32(salt) * np.uint32(0xC2B2AE3D) + np.uint32(k) * np.uint32(0x27D4EB2F)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(12)
    h *= np.uint32(0x297A2D39)
    h ^= h >> np.uint32(15)
    return f32(np.int32(h >> np.uint32(8))) * f32(1.0 / 8388608.0) - f32(1.0)


@nb.njit(fastmath=True)
def _reference_patch(gray, x, y, offsets, sigma_color, weight, weighted, spatial):
    """Bilateral weights of the patch (normalised) and its weighted mean and variance.

    Intensities count from the centre pixel's, which keeps float32 sums accurate.
    """
    height, width = gray.shape
    center = gray[y, x]
    total = f32(0.0)
    inv_sigma2 = f32(1.0) / (sigma_color * sigma_color)
    for k in range(N_SAMPLES):
        px = min(max(x + np.int64(offsets[0, k]), 0), width - 1)
        py = min(max(y + np.int64(offsets[1, k]), 0), height - 1)
        d = gray[py, px] - center
        g = spatial[k] / (f32(1.0) + d * d * inv_sigma2)
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
    return center, mean, square - mean * mean


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
def _view_cost(
    quads, src_planes, meta, forward, backward, v, x, y, w, a, b, offsets, patch, geo_weight
):
    """Cost of one hypothesis in one source view: 1 - NCC, plus the reprojection error [px]."""
    weight, weighted, center, mean, variance = patch
    m = forward[v]
    fx, fy = f32(x), f32(y)
    h2 = m[2, 0] * fx + m[2, 1] * fy + m[2, 2] + m[2, 3] * w
    if h2 <= f32(1e-6):
        return OUT_OF_VIEW
    inv = f32(1.0) / h2
    u0 = (m[0, 0] * fx + m[0, 1] * fy + m[0, 2] + m[0, 3] * w) * inv
    v0 = (m[1, 0] * fx + m[1, 1] * fy + m[1, 2] + m[1, 3] * w) * inv
    width, height = meta[v, 1], meta[v, 2]
    if u0 < f32(0.0) or v0 < f32(0.0) or u0 > f32(width - 1) or v0 > f32(height - 1):
        return OUT_OF_VIEW
    g2x = m[2, 0] + m[2, 3] * a
    g2y = m[2, 1] + m[2, 3] * b
    ux = (m[0, 0] + m[0, 3] * a - u0 * g2x) * inv
    vx = (m[1, 0] + m[1, 3] * a - v0 * g2x) * inv
    uy = (m[0, 1] + m[0, 3] * b - u0 * g2y) * inv
    vy = (m[1, 1] + m[1, 3] * b - v0 * g2y) * inv
    base = np.uint64(meta[v, 0])
    s1, s2, s3 = _sample_sums(
        quads,
        base,
        np.int32(width),
        f32(width) - f32(1.01),
        f32(height) - f32(1.01),
        offsets,
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
    if geo_weight > f32(0.0):
        cost += geo_weight * _reprojection_error(
            src_planes, meta, backward, v, fx, fy, u0, v0, f32(3.0)
        )
    return cost


@nb.njit(fastmath=True, inline="always")
def _reprojection_error(src_planes, meta, backward, v, fx, fy, u0, v0, limit):
    """Distance [px], at most `limit`, between a pixel and its way to a source view and back."""
    iu = np.int64(u0 + f32(0.5))
    iv = np.int64(v0 + f32(0.5))
    p = src_planes[meta[v, 0] + iv * meta[v, 1] + iu]
    ws = p[0] + p[1] * (u0 - f32(iu)) + p[2] * (v0 - f32(iv))
    if p[0] <= f32(0.0) or ws <= f32(0.0):
        return limit
    m = backward[v]
    z = m[2, 0] * u0 + m[2, 1] * v0 + m[2, 2] + m[2, 3] * ws
    if z <= f32(1e-6):
        return limit
    du = (m[0, 0] * u0 + m[0, 1] * v0 + m[0, 2] + m[0, 3] * ws) / z - fx
    dv = (m[1, 0] * u0 + m[1, 1] * v0 + m[1, 2] + m[1, 3] * ws) / z - fy
    return min(math.sqrt(du * du + dv * dv), limit)


@nb.njit(fastmath=True, inline="always")
def _plausible(x, y, w, a, b, cam, w_range):
    """Depth within range, and a surface that faces the camera by more than a grazing angle."""
    if w < w_range[0] or w > w_range[1]:
        return False
    fx, fy, cx, cy = cam
    nx, ny = a * fx, b * fy
    nz = w - a * (f32(x) - cx) - b * (f32(y) - cy)
    rx, ry = (f32(x) - cx) / fx, (f32(y) - cy) / fy
    norm2 = (nx * nx + ny * ny + nz * nz) * (rx * rx + ry * ry + f32(1.0))
    return w * w > _MIN_COS * _MIN_COS * norm2


@nb.njit(fastmath=True)
def _best_views_mean(view_cost, n_views):
    """Mean of the best third (at least two, or all) of the view costs."""
    k = max(min(2, n_views), n_views // 3)
    picked = f32(0.0)
    last = f32(-1.0)
    taken = 0
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
        picked += low * f32(take)
        taken += take
        last = low
    return picked / f32(max(taken, 1))


@nb.njit(fastmath=True, inline="always")
def _weighted_mean(view_cost, view_weight, n_views):
    total = f32(0.0)
    for v in range(n_views):
        total += view_weight[v] * view_cost[v]
    return total


@nb.njit(parallel=True, fastmath=True, cache=True)
def evaluate(
    gray, planes, costs, view_costs, quads, src_planes, meta, forward, backward, offsets,
    spatial, sigma_color, geo_weight,
):  # fmt: skip
    """Costs of given planes, into `costs` (H, W) and `view_costs` (H, W, V)."""
    height, width = gray.shape
    n_views = meta.shape[0]
    for y in nb.prange(height):
        weight = np.empty(N_SAMPLES, np.float32)
        weighted = np.empty(N_SAMPLES, np.float32)
        for x in range(width):
            center, mean, variance = _reference_patch(
                gray, x, y, offsets, sigma_color, weight, weighted, spatial
            )
            patch = (weight, weighted, center, mean, variance)
            for v in range(n_views):
                view_costs[y, x, v] = _view_cost(
                    quads, src_planes, meta, forward, backward, v, x, y,
                    planes[y, x, 0], planes[y, x, 1], planes[y, x, 2],
                    offsets, patch, geo_weight,
                )  # fmt: skip
            costs[y, x] = _best_views_mean(view_costs[y, x], n_views)


@nb.njit(fastmath=True)
def _view_weights(view_costs, x, y, n_views, out):
    """How likely each source view sees this surface, from this pixel's and its neighbours' costs.

    Weights sum to 1. Views that are far worse than the best get none.
    """
    height, width = view_costs.shape[:2]
    best = f32(0.0)
    for v in range(n_views):
        total = f32(0.0)
        for k in range(5):
            px = min(max(x + (k == 1) - (k == 2), 0), width - 1)
            py = min(max(y + (k == 3) - (k == 4), 0), height - 1)
            c = view_costs[py, px, v]
            good = max(f32(0.0), f32(1.0) - c)
            total += good * good
        out[v] = total
        best = max(best, total)
    if best <= f32(0.0):
        for v in range(n_views):
            out[v] = f32(1.0) / f32(n_views)
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
        floor = lowest * f32(1.0001)
    norm = f32(0.0)
    for v in range(n_views):
        if out[v] < floor:
            out[v] = f32(0.0)
        norm += out[v]
    for v in range(n_views):
        out[v] /= norm


@nb.njit(fastmath=True)
def _try(
    x, y, w, a, b, best, trial, view_weight, n_views, quads, src_planes, meta, forward, backward,
    offsets, patch, geo_weight, cam, w_range,
):  # fmt: skip
    """Cost of a hypothesis if it is below `best`, else some value >= best; fills `trial`."""
    if not _plausible(x, y, w, a, b, cam, w_range):
        return f32(1e9)
    total = f32(0.0)
    for v in range(n_views):
        if view_weight[v] > f32(0.0):
            c = _view_cost(
                quads, src_planes, meta, forward, backward, v, x, y, w, a, b, offsets, patch,
                geo_weight,
            )  # fmt: skip
            trial[v] = c
            total += view_weight[v] * c
            if total >= best:
                return total
    return total


@nb.njit(fastmath=True, inline="always")
def _accept(planes, view_costs, x, y, w, a, b, trial, view_weight, n_views):
    planes[y, x, 0] = w
    planes[y, x, 1] = a
    planes[y, x, 2] = b
    for v in range(n_views):
        if view_weight[v] > f32(0.0):
            view_costs[y, x, v] = trial[v]


@nb.njit(parallel=True, fastmath=True, cache=True)
def sweep(
    gray, planes, costs, view_costs, quads, src_planes, meta, forward, backward, offsets,
    spatial, sigma_color, geo_weight, cam, w_range, w_per_px, color, salt, n_directions, n_refine,
    explore,
):  # fmt: skip
    """Half a PatchMatch iteration: propagate to, then refine, the pixels of one checker colour.

    Args:
        gray: (H, W) float32 reference image, 0..255.
        planes, costs, view_costs: (H, W, 3), (H, W), (H, W, V) float32, updated in place.
        quads: (sum of source pixels,) uint32, see `pack_quads`.
        src_planes: (sum of source pixels, 3) float32 planes of the source views, w = 0 unknown;
            one row is enough when `geo_weight` is 0.
        meta: (V, 3) int64 offset into the flat arrays, width, height of each source view.
        forward, backward: (V, 3, 4) float32 [A | q] to each source view, and from it.
        offsets, spatial: (2, 32) patch offsets [px] and (32,) their weights.
        sigma_color: bilateral scale [grey values].
        geo_weight: cost of one pixel of reprojection error.
        cam: (fx, fy, cx, cy) float32 of the reference.
        w_range: (min, max) inverse depth.
        w_per_px: inverse depth that moves the projection by about one pixel.
        color: 0 or 1.
        salt: random seed of this sweep.
        n_directions: 4 = propagate from near pixels, 8 = from far ones too.
        n_refine: number of perturbations tried.
        explore: also try planes drawn at random over the whole range.
    """
    height, width = gray.shape
    n_views = meta.shape[0]
    for y in nb.prange(height):
        weight = np.empty(N_SAMPLES, np.float32)
        weighted = np.empty(N_SAMPLES, np.float32)
        view_weight = np.empty(n_views, np.float32)
        trial = np.empty(n_views, np.float32)
        for x in range((y + color) % 2, width, 2):
            center, mean, variance = _reference_patch(
                gray, x, y, offsets, sigma_color, weight, weighted, spatial
            )
            patch = (weight, weighted, center, mean, variance)
            _view_weights(view_costs, x, y, n_views, view_weight)
            best = _weighted_mean(view_costs[y, x], view_weight, n_views)

            for direction in range(n_directions):
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
                    if px < 0 or py < 0 or px >= width or py >= height:
                        continue
                    if costs[py, px] < low:
                        bx, by, low = px, py, costs[py, px]
                if bx < 0:
                    continue
                a = planes[by, bx, 1]
                b = planes[by, bx, 2]
                w = planes[by, bx, 0] + a * f32(x - bx) + b * f32(y - by)
                # Converged neighbourhoods offer what is already there: not worth a warp.
                if (
                    abs(w - planes[y, x, 0]) < f32(0.06) * w_per_px
                    and abs(a - planes[y, x, 1]) < f32(0.025) * w_per_px
                    and abs(b - planes[y, x, 2]) < f32(0.025) * w_per_px
                ):
                    continue
                c = _try(
                    x, y, w, a, b, best, trial, view_weight, n_views, quads, src_planes, meta,
                    forward, backward, offsets, patch, geo_weight, cam, w_range,
                )  # fmt: skip
                if c < best:
                    best = c
                    _accept(planes, view_costs, x, y, w, a, b, trial, view_weight, n_views)

            scale = f32(1.0)
            for r in range(n_refine + 2 * explore):
                w, a, b = planes[y, x, 0], planes[y, x, 1], planes[y, x, 2]
                r0 = _random(x, y, salt, 3 * r)
                r1 = _random(x, y, salt, 3 * r + 1)
                r2 = _random(x, y, salt, 3 * r + 2)
                if r >= n_refine:  # explore: a fresh depth, with the plane's slope or a random one
                    w_new = w_range[0] + (w_range[1] - w_range[0]) * f32(0.5) * (r0 + f32(1.0))
                    grow = w_new / w
                    a = a * grow
                    b = b * grow
                    if r > n_refine:
                        a = r1 * w_new / cam[0]
                        b = r2 * w_new / cam[1]
                    w = w_new
                else:
                    if r % 3 != 1:
                        w += scale * r0 * w_per_px
                    if r % 3 != 0:
                        a += scale * r1 * f32(0.25) * w_per_px
                        b += scale * r2 * f32(0.25) * w_per_px
                    scale *= f32(0.6)
                c = _try(
                    x, y, w, a, b, best, trial, view_weight, n_views, quads, src_planes, meta,
                    forward, backward, offsets, patch, geo_weight, cam, w_range,
                )  # fmt: skip
                if c < best:
                    best = c
                    _accept(planes, view_costs, x, y, w, a, b, trial, view_weight, n_views)
            costs[y, x] = best


@nb.njit(parallel=True, fastmath=True, cache=True)
def check_consistency(planes, src_planes, meta, forward, backward, max_error_px, max_relative):
    """How many source views agree with each pixel's depth, and the depth they agree on.

    A view agrees when the pixel, taken to the view's surface and back, lands within
    `max_error_px` and its depth within `max_relative`.

    Returns:
        (H, W) uint8 number of agreeing views, and (H, W) float32 mean inverse depth of the
        pixel's own and the agreeing estimates.
    """
    height, width = planes.shape[:2]
    n_views = meta.shape[0]
    count = np.zeros((height, width), np.uint8)
    mean_w = np.zeros((height, width), np.float32)
    for y in nb.prange(height):
        for x in range(width):
            w = planes[y, x, 0]
            if w <= f32(0.0):
                continue
            fx, fy = f32(x), f32(y)
            total, n = w, 1
            for v in range(n_views):
                m = forward[v]
                h2 = m[2, 0] * fx + m[2, 1] * fy + m[2, 2] + m[2, 3] * w
                if h2 <= f32(1e-6):
                    continue
                u0 = (m[0, 0] * fx + m[0, 1] * fy + m[0, 2] + m[0, 3] * w) / h2
                v0 = (m[1, 0] * fx + m[1, 1] * fy + m[1, 2] + m[1, 3] * w) / h2
                if (
                    u0 < f32(0.0)
                    or v0 < f32(0.0)
                    or u0 > f32(meta[v, 1] - 1)
                    or v0 > f32(meta[v, 2] - 1)
                ):
                    continue
                iu = np.int64(u0 + f32(0.5))
                iv = np.int64(v0 + f32(0.5))
                p = src_planes[meta[v, 0] + iv * meta[v, 1] + iu]
                ws = p[0] + p[1] * (u0 - f32(iu)) + p[2] * (v0 - f32(iv))
                if p[0] <= f32(0.0) or ws <= f32(0.0):
                    continue
                k = backward[v]
                z = k[2, 0] * u0 + k[2, 1] * v0 + k[2, 2] + k[2, 3] * ws
                if z <= f32(1e-6):
                    continue
                du = (k[0, 0] * u0 + k[0, 1] * v0 + k[0, 2] + k[0, 3] * ws) / z - fx
                dv = (k[1, 0] * u0 + k[1, 1] * v0 + k[1, 2] + k[1, 3] * ws) / z - fy
                # z is depth in the reference over depth in the source.
                w_back = ws / z
                if (
                    du * du + dv * dv < max_error_px * max_error_px
                    and abs(w_back - w) < max_relative * w
                ):
                    total += w_back
                    n += 1
            count[y, x] = n - 1
            mean_w[y, x] = total / f32(n)
    return count, mean_w


@nb.njit(parallel=True, fastmath=True, cache=True)
def upsample_planes(coarse, height, width):
    """Planes on a finer grid of the same image: each pixel continues its nearest coarse plane."""
    ch, cw = coarse.shape[:2]
    out = np.empty((height, width, 3), np.float32)
    sx, sy = f32(cw) / f32(width), f32(ch) / f32(height)
    for y in nb.prange(height):
        cy = (f32(y) + f32(0.5)) * sy - f32(0.5)
        iy = min(max(np.int64(cy + f32(0.5)), 0), ch - 1)
        for x in range(width):
            cx = (f32(x) + f32(0.5)) * sx - f32(0.5)
            ix = min(max(np.int64(cx + f32(0.5)), 0), cw - 1)
            a, b = coarse[iy, ix, 1], coarse[iy, ix, 2]
            out[y, x, 0] = coarse[iy, ix, 0] + a * (cx - f32(ix)) + b * (cy - f32(iy))
            out[y, x, 1] = a * sx
            out[y, x, 2] = b * sy
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
