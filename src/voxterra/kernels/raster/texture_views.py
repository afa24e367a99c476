"""Which photos see a face, how well, and in what colour."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

# Channels kept for each candidate: red, green, blue [0, 255] and mean gradient magnitude.
CHANNELS = 4
SILHOUETTE_PX = 3


@njit(cache=True)
def accumulate_pixels(face_index, image, usable, sums, counts, unusable):
    """Sum the channels of `image` (H, W, 4) over the pixels each face owns.

    Adds to `sums` (F, 4), `counts` (F,) and `unusable` (F,), the number of masked pixels.
    """
    height, width = face_index.shape
    for row in range(height):
        for column in range(width):
            f = face_index[row, column]
            if f < 0:
                continue
            if not usable[row, column]:
                unusable[f] += 1
                continue
            counts[f] += 1
            for c in range(CHANNELS):
                sums[f, c] += image[row, column, c]


@njit(cache=True)
def _inverse_depth_on(xy, inverse, face, u, v):
    """1/z of the plane of `face` at pixel (u, v), within the range of its corners."""
    a, b, c = face
    x1, y1 = xy[b, 0] - xy[a, 0], xy[b, 1] - xy[a, 1]
    x2, y2 = xy[c, 0] - xy[a, 0], xy[c, 1] - xy[a, 1]
    area = x1 * y2 - x2 * y1
    low = min(inverse[a], inverse[b], inverse[c])
    high = max(inverse[a], inverse[b], inverse[c])
    if area == 0.0:
        return high
    weight_b = ((u - xy[a, 0]) * y2 - (v - xy[a, 1]) * x2) / area
    weight_c = ((v - xy[a, 1]) * x1 - (u - xy[a, 0]) * y1) / area
    value = inverse[a] + weight_b * (inverse[b] - inverse[a]) + weight_c * (inverse[c] - inverse[a])
    return min(max(value, low), high)


@njit(cache=True)
def _visible(xy, inverse, faces, f, u, v, inverse_here, face_index, tolerance):
    """Whether nothing lies in front of the point of face f at pixel (u, v)."""
    height, width = face_index.shape
    column = min(max(int(np.floor(u)), 0), width - 1)
    row = min(max(int(np.floor(v)), 0), height - 1)
    g = face_index[row, column]
    if g < 0 or g == f:
        return True
    nearest = _inverse_depth_on(xy, inverse, faces[g], u, v)
    return inverse_here * (1.0 + tolerance) >= nearest


@njit(cache=True)
def _seen_fraction(xy, inverse, faces, f, face_index, owned, area, tolerance):
    """Part of face f that is not hidden, from its pixels or, where it is small, from samples."""
    a, b, c = faces[f]
    if area > 24.0:
        return min(1.0, owned / area)
    seen = 0
    for k in range(4):
        wa = 1.0 / 3 if k == 3 else (0.8 if k == 0 else 0.1)
        wb = 1.0 / 3 if k == 3 else (0.8 if k == 1 else 0.1)
        wc = 1.0 - wa - wb
        u = wa * xy[a, 0] + wb * xy[b, 0] + wc * xy[c, 0]
        v = wa * xy[a, 1] + wb * xy[b, 1] + wc * xy[c, 1]
        here = wa * inverse[a] + wb * inverse[b] + wc * inverse[c]
        if _visible(xy, inverse, faces, f, u, v, here, face_index, tolerance):
            seen += 1
    return seen / 4.0


@njit(cache=True)
def _behind_silhouette(xy, inverse, face, u, v, nearest_around):
    """Whether something clearly nearer than the face's own slope explains is a few pixels away."""
    height, width = nearest_around.shape
    column = min(max(int(np.floor(u)), 0), width - 1)
    row = min(max(int(np.floor(v)), 0), height - 1)
    here = _inverse_depth_on(xy, inverse, face, u, v)
    a, b, c = face
    x1, y1 = xy[b, 0] - xy[a, 0], xy[b, 1] - xy[a, 1]
    x2, y2 = xy[c, 0] - xy[a, 0], xy[c, 1] - xy[a, 1]
    area = x1 * y2 - x2 * y1
    d1, d2 = inverse[b] - inverse[a], inverse[c] - inverse[a]
    slope = (abs(d1 * y2 - d2 * y1) + abs(d2 * x1 - d1 * x2)) / max(abs(area), 1e-12)
    return nearest_around[row, column] > (here + (SILHOUETTE_PX + 1) * slope) * 1.02


@njit(cache=True, parallel=True)
def score_faces(
    xy, inverse, faces, face_index, nearest_around, image, usable, sums, counts, unusable, options
):
    """Quality of one photo for every face, and the face's channels in it.

    Args:
        xy: (V, 2) projections into the reduced photo [px].
        inverse: (V,) 1/z, <= 0 behind the camera.
        faces: (F, 3).
        face_index: (H, W) face seen at each pixel.
        nearest_around: (H, W) largest 1/z within SILHOUETTE_PX.
        image: (H, W, 4) channels; usable: (H, W) mask.
        sums, counts, unusable: from `accumulate_pixels`.
        options: (tolerance, focal length [px of the reduced photo], full px per reduced px,
            1.0 if back faces count).

    Returns:
        quality (F,) float32, 0 = not usable, and channels (F, 4) float32.
    """
    tolerance, focal, enlarge, two_sided = options
    height, width = face_index.shape
    quality = np.zeros(len(faces), np.float32)
    channels = np.zeros((len(faces), CHANNELS), np.float32)
    border = 0.08 * min(height, width)
    for f in prange(len(faces)):
        a, b, c = faces[f]
        if min(inverse[a], inverse[b], inverse[c]) <= 0.0 or unusable[f] > 0:
            continue
        left, right = min(xy[a, 0], xy[b, 0], xy[c, 0]), max(xy[a, 0], xy[b, 0], xy[c, 0])
        top, bottom = min(xy[a, 1], xy[b, 1], xy[c, 1]), max(xy[a, 1], xy[b, 1], xy[c, 1])
        margin = min(left, top, width - right, height - bottom)
        if margin < 1.0:
            continue
        x1, y1 = xy[b, 0] - xy[a, 0], xy[b, 1] - xy[a, 1]
        x2, y2 = xy[c, 0] - xy[a, 0], xy[c, 1] - xy[a, 1]
        signed = x1 * y2 - x2 * y1
        area = 0.5 * abs(signed)
        # Counter-clockwise from outside is negative here, because v points down.
        if area <= 0.0 or (signed > 0.0 and two_sided == 0.0):
            continue
        seen = _seen_fraction(xy, inverse, faces, f, face_index, counts[f], area, tolerance)
        if seen < 0.5:
            continue
        u = (xy[a, 0] + xy[b, 0] + xy[c, 0]) / 3.0
        v = (xy[a, 1] + xy[b, 1] + xy[c, 1]) / 3.0
        column, row = min(int(u), width - 1), min(int(v), height - 1)
        if not usable[row, column]:
            continue
        # Tilt from the change of log depth across the face: 1 facing the camera, 0 edge-on.
        middle = (inverse[a] + inverse[b] + inverse[c]) / 3.0
        d1, d2 = (inverse[b] - inverse[a]) / middle, (inverse[c] - inverse[a]) / middle
        slope_x, slope_y = (d1 * y2 - d2 * y1) / signed, (d2 * x1 - d1 * x2) / signed
        facing = 1.0 / np.sqrt(1.0 + focal * focal * (slope_x * slope_x + slope_y * slope_y))
        q = area * enlarge * enlarge * seen**3 * (0.2 + 0.8 * facing)
        q *= max(0.05, min(1.0, margin / border))
        if _behind_silhouette(xy, inverse, faces[f], u, v, nearest_around):
            q *= 0.2
        quality[f] = q
        for k in range(CHANNELS):
            channels[f, k] = sums[f, k] / counts[f] if counts[f] > 0 else image[row, column, k]
    return quality, channels


@njit(cache=True)
def keep_best(view, quality, channels, best_view, best_quality, best_channels):
    """Put photo `view` among the candidates (F, K) of the faces where it beats the worst."""
    for f in range(len(quality)):
        if quality[f] <= 0.0:
            continue
        worst = 0
        for k in range(best_view.shape[1]):
            if best_quality[f, k] < best_quality[f, worst]:
                worst = k
        if quality[f] > best_quality[f, worst]:
            best_view[f, worst] = view
            best_quality[f, worst] = quality[f]
            for c in range(CHANNELS):
                best_channels[f, worst, c] = channels[f, c]


@njit(cache=True, parallel=True)
def find_entries(view, start, column):
    """Where each pair of a face's photos is among the entries of a sparse matrix.

    Args:
        view: (F, K) photo of each candidate, -1 = none.
        start, column: (N + 1,) and (E,) of the compressed rows, columns ascending in a row.

    Returns:
        (F, K, K) int32 entries, 0 where a candidate is missing.
    """
    count, candidates = view.shape
    out = np.zeros((count, candidates, candidates), np.int32)
    for f in prange(count):
        for k in range(candidates):
            for m in range(candidates):
                if view[f, k] < 0 or view[f, m] < 0:
                    continue
                low, high = start[view[f, k]], start[view[f, k] + 1]
                while high - low > 1:
                    middle = (low + high) // 2
                    if column[middle] <= view[f, m]:
                        low = middle
                    else:
                        high = middle
                out[f, k, m] = low
    return out


@njit(cache=True)
def gain_equations(view, entry, value, weight, count, entries):
    """Normal equations of per-photo offsets with the per-face means eliminated (Schur).

    Args:
        view: (F, K) photo of each candidate, -1 = none.
        entry: (F, K, K) which entry of the sparse matrix belongs to each pair of a face's photos.
        value, weight: (F, K), weight 0 = leave out.
        count: number of photos N.
        entries: number of entries E of the matrix.

    Returns:
        (E,) entries of the (N, N) matrix and (N,) right-hand side of
        sum weight (value - offset[view] - mean)^2.
    """
    matrix, right = np.zeros(entries), np.zeros(count)
    for f in range(len(view)):
        total, mean = 0.0, 0.0
        for k in range(view.shape[1]):
            total += weight[f, k]
            mean += weight[f, k] * value[f, k]
        if total <= 0.0:
            continue
        mean /= total
        for k in range(view.shape[1]):
            w = weight[f, k]
            if w <= 0.0:
                continue
            i = view[f, k]
            matrix[entry[f, k, k]] += w
            right[i] += w * (value[f, k] - mean)
            for m in range(view.shape[1]):
                if weight[f, m] > 0.0:
                    matrix[entry[f, k, m]] -= w * weight[f, m] / total
    return matrix, right
