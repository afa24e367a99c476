"""Packing charts into an atlas and painting them."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

# How far around faces a chart paints that is too thin to own a texel.
OVERHANG_PX = 1.0


@njit(cache=True)
def pack_skyline(sizes, width):
    """Lower-left positions of rectangles on a strip of `width`, by the skyline method.

    Args:
        sizes: (N, 2) width and height, best sorted by falling height; none wider than the strip.
        width: of the strip.

    Returns:
        (N, 2) column and row of each rectangle, and the height used.
    """
    place = np.zeros((len(sizes), 2), np.int64)
    start = np.zeros(width + 2, np.int64)
    level = np.zeros(width + 2, np.int64)
    start[1] = width
    count, used = 1, 0  # segments i = start[i]:start[i + 1] at height level[i]
    for r in range(len(sizes)):
        w, h = sizes[r, 0], sizes[r, 1]
        best, best_row, best_waste = -1, np.int64(1) << 60, np.int64(1) << 60
        for i in range(count):
            if start[i] + w > width:
                break
            row, j = np.int64(0), i
            while j < count and start[j] < start[i] + w:
                row = max(row, level[j])
                j += 1
            if row > best_row:
                continue
            waste, j = np.int64(0), i
            while j < count and start[j] < start[i] + w:
                stop = min(start[j + 1], start[i] + w)
                waste += (row - level[j]) * (stop - start[j])
                j += 1
            if row < best_row or waste < best_waste:
                best, best_row, best_waste = i, row, waste
        left = start[best]
        place[r, 0], place[r, 1] = left, best_row
        used = max(used, best_row + h)
        count = _raise_skyline(start, level, count, best, left + w, best_row + h)
    return place, used


@njit(cache=True)
def _raise_skyline(start, level, count, first, right, height):
    """Replace the skyline from segment `first` up to column `right`; the new segment count."""
    end = first
    while end < count and start[end + 1] <= right:
        end += 1
    shift = first + 1 - end  # segments first..end-1 give way to one; those from `end` move
    if shift > 0:
        for k in range(count, end - 1, -1):
            start[k + shift], level[k + shift] = start[k], level[k]
    elif shift < 0:
        for k in range(end, count + 1):
            start[k + shift], level[k + shift] = start[k], level[k]
    level[first] = height
    start[first + 1] = right
    return count + shift


@njit(cache=True)
def _weights(corner, px, py, out):
    """Barycentric weights of a texel in a face; False for a face without area."""
    x1, y1 = corner[1, 0] - corner[0, 0], corner[1, 1] - corner[0, 1]
    x2, y2 = corner[2, 0] - corner[0, 0], corner[2, 1] - corner[0, 1]
    area = x1 * y2 - x2 * y1
    if abs(area) < 1e-9:
        out[0] = out[1] = out[2] = 1.0 / 3
        return False
    dx, dy = px - corner[0, 0], py - corner[0, 1]
    out[1] = (dx * y2 - dy * x2) / area
    out[2] = (dy * x1 - dx * y1) / area
    out[0] = 1.0 - out[1] - out[2]
    return True


@njit(cache=True)
def _near(corner, weights):
    """Whether a texel centre lies within OVERHANG_PX of all three sides of a face."""
    for i in range(3):
        if weights[i] < 0.0:
            p, q, o = corner[(i + 1) % 3], corner[(i + 2) % 3], corner[i]
            x, y = q[0] - p[0], q[1] - p[1]
            length = np.sqrt(x * x + y * y)
            reach = abs((o[0] - p[0]) * y - (o[1] - p[1]) * x) / max(length, 1e-9)
            if -weights[i] * reach > OVERHANG_PX:
                return False
    return True


@njit(cache=True)
def _paint_face(corner, shift, from_photo, overhang, raw, out, covered):
    """Paint the texels a face owns, or with `overhang` those near it; returns how many."""
    height, width = covered.shape
    left = max(int(np.floor(corner[:, 0].min() - OVERHANG_PX)), 0)
    right = min(int(np.ceil(corner[:, 0].max() + OVERHANG_PX)), width)
    top = max(int(np.floor(corner[:, 1].min() - OVERHANG_PX)), 0)
    bottom = min(int(np.ceil(corner[:, 1].max() + OVERHANG_PX)), height)
    weights = np.empty(3)
    painted = 0
    for row in range(top, bottom):
        for column in range(left, right):
            solid = _weights(corner, column + 0.5, row + 0.5, weights)
            if overhang:
                if solid and not _near(corner, weights):
                    continue
            elif not solid or weights.min() < -1e-9:
                continue
            weights = np.maximum(weights, 0.0)
            weights /= weights.sum()
            for c in range(3):
                value = (
                    weights[0] * shift[0, c] + weights[1] * shift[1, c] + weights[2] * shift[2, c]
                )
                if from_photo:
                    value += raw[row, column, c]
                out[row, column, c] = np.uint8(min(max(value + 0.5, 0.0), 255.0))
            covered[row, column] = 1
            painted += 1
    return painted


@njit(cache=True, parallel=True)
def paint_charts(start, order, corners, shift, from_photo, raw, out, covered):
    """Paint the faces of every chart: photo plus a shift interpolated from corners.

    Args:
        start: (C + 1,), order: (F,): faces of chart c are order[start[c]:start[c + 1]].
        corners: (F, 3, 2) texel coordinates in the atlas.
        shift: (F, 3, 3) RGB added at each corner [0, 255].
        from_photo: (F,) False = paint `shift` alone.
        raw: (H, W, 3) uint8 atlas as cut from the photos; out: (H, W, 3) uint8 and covered: (H, W)
            are filled.
    """
    for chart in prange(len(start) - 1):
        # Texels beside a face are not its own: behind a silhouette a photo shows something else
        # there. Only charts too thin to own any texel take them, and plain colours.
        plain = not from_photo[order[start[chart]]]
        painted = 0
        for turn in range(3):
            overhang = turn != 1
            if (turn == 0 and not plain) or (turn == 2 and painted > 0):
                continue
            for n in range(start[chart], start[chart + 1]):
                f = order[n]
                painted += _paint_face(
                    corners[f], shift[f], from_photo[f], overhang, raw, out, covered
                )


@njit(cache=True, parallel=True)
def dilate(image, covered, steps):
    """Grow painted texels outwards by `steps`, each from the mean of its painted neighbours."""
    height, width = covered.shape
    for step in range(steps):
        for row in prange(height):
            total = np.zeros(3)
            for column in range(width):
                if covered[row, column] != 0:
                    continue
                count = 0
                total[:] = 0.0
                for r in range(max(row - 1, 0), min(row + 2, height)):
                    for s in range(max(column - 1, 0), min(column + 2, width)):
                        if 0 < covered[r, s] <= step + 1:
                            count += 1
                            for c in range(3):
                                total[c] += image[r, s, c]
                if count > 0:
                    for c in range(3):
                        image[row, column, c] = np.uint8(total[c] / count + 0.5)
                    covered[row, column] = step + 2


@njit(cache=True)
def sample_mean(image, xy, radius):
    """(N, 3) mean colour of the square of `radius` texels around each (N, 2) texel coordinate."""
    height, width = image.shape[:2]
    out = np.zeros((len(xy), 3))
    for n in range(len(xy)):
        column, row = int(np.floor(xy[n, 0])), int(np.floor(xy[n, 1]))
        count = 0
        for r in range(max(row - radius, 0), min(row + radius + 1, height)):
            for s in range(max(column - radius, 0), min(column + radius + 1, width)):
                count += 1
                for c in range(3):
                    out[n, c] += image[r, s, c]
        if count > 0:
            out[n] /= count
    return out
