"""Colours of a height raster from photographs: visibility, sampling and weighted blending.

A cell's place in the world is linear in its height, and across the raster so smooth that a
lattice of exactly converted nodes, interpolated bilinearly, stands for a conversion of every
cell: `world = base + height * up`, both (rows, columns, 3) arrays of nodes.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

# Of the depth: how far behind the nearest surface a cell still counts as seen.
OCCLUSION_TOLERANCE = 0.004
# Of the distance: a surface seen from below or along its plane shows nothing from above.
LEAST_RISE = 0.05
# Log weight beside the edge of something nearer, whose colour may spill over.
EDGE_PENALTY = 8.0
# Photos whose weight is below exp(-7) of the best add nothing that can be seen.
NEGLIGIBLE = 7.0
# Infinities are values here (no surface, not seen), so they must stay what they are.
FAST = {"reassoc", "contract", "arcp", "nsz"}


@njit(cache=True, fastmath=FAST)
def _look(x, y, z, pose, intrinsics, nearest, near_edge, spread):
    """Pixel, and log weight of a world point in a photo; weight -inf where it is not seen.

    The weight falls with the angle from the vertical and with the size of a pixel on the ground,
    and towards the border of the photo.
    """
    hidden = -np.inf
    cx = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]
    cy = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]
    cz = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
    if cz <= 0.0:
        return 0.0, 0.0, hidden
    width, height = intrinsics[4], intrinsics[5]
    u = intrinsics[0] * cx / cz + intrinsics[2]
    v = intrinsics[1] * cy / cz + intrinsics[3]
    border = min(min(u, width - u), min(v, height - v))
    if not border >= 1.0:
        return u, v, hidden
    # Rows of the rotation are the camera's axes, so this is the height of the camera above.
    rise = -(pose[0, 2] * cx + pose[1, 2] * cy + pose[2, 2] * cz)
    distance = np.sqrt(cx * cx + cy * cy + cz * cz)
    if rise < LEAST_RISE * distance:
        return u, v, hidden
    row = min(int(v * nearest.shape[0] / height), nearest.shape[0] - 1)
    column = min(int(u * nearest.shape[1] / width), nearest.shape[1] - 1)
    tolerance = OCCLUSION_TOLERANCE * cz * distance / rise
    if cz > nearest[row, column] + tolerance:
        return u, v, hidden
    tangent_squared = (distance * distance) / (rise * rise) - 1.0
    weight = -tangent_squared / (2.0 * spread * spread) - 2.0 * np.log(cz / intrinsics[0])
    if cz > near_edge[row, column] + 3.0 * tolerance:
        weight -= EDGE_PENALTY
    feather = border / (0.06 * min(width, height))
    if feather < 1.0:
        weight += 2.0 * np.log(feather)
    return u, v, weight


@njit(cache=True, fastmath=FAST)
def _bilinear(image, u, v, channel):
    """Value at pixel (u, v), the first pixel's centre being (0.5, 0.5)."""
    x, y = max(u - 0.5, 0.0), max(v - 0.5, 0.0)
    x0, y0 = min(int(x), image.shape[1] - 1), min(int(y), image.shape[0] - 1)
    x1, y1 = min(x0 + 1, image.shape[1] - 1), min(y0 + 1, image.shape[0] - 1)
    fx, fy = min(x - x0, 1.0), min(y - y0, 1.0)
    top = image[y0, x0, channel] * (1.0 - fx) + image[y0, x1, channel] * fx
    bottom = image[y1, x0, channel] * (1.0 - fx) + image[y1, x1, channel] * fx
    return top * (1.0 - fy) + bottom * fy


@njit(cache=True, parallel=True)
def sample_view(points, pose, intrinsics, image, usable, nearest, near_edge, spread):
    """(N, 3) float32 colours of world points in one photo, NaN where it does not see them.

    Args:
        points: (N, 3) float64 world.
        pose: (3, 4) cam_from_world.
        intrinsics: (6,) fx, fy, cx, cy, width, height [px].
        image: (H, W, 3) uint8; usable: (H, W) bool mask, or (0, 0) for no mask.
        nearest: (h, w) float32 depth of the first surface, inf where there is none; any size.
        near_edge: (h, w) float32 smallest `nearest` in the neighbourhood.
        spread: tangent of the angle from the vertical over which photos are blended.
    """
    out = np.full((len(points), 3), np.nan, np.float32)
    for i in prange(len(points)):
        u, v, weight = _look(
            points[i, 0], points[i, 1], points[i, 2], pose, intrinsics, nearest, near_edge, spread
        )
        if weight == -np.inf or (usable.size and not usable[int(v), int(u)]):
            continue
        for channel in range(3):
            out[i, channel] = _bilinear(image, u, v, channel)
    return out


@njit(cache=True, parallel=True)
def blend_view(
    heights, window, origin, base, up, step, pose, intrinsics, image, usable,
    nearest, near_edge, spread, gain, color, total, best,
):  # fmt: skip
    """Add one photo to the running blend of a tile of the raster, in place.

    Weights are exponentials of the log weights of `_look`; the sum is kept relative to the best
    so far (a streaming soft maximum), so that far oblique photos cannot underflow.

    Args:
        heights: (H, W) float32 map heights of the whole raster, NaN = no cell.
        window: first row, one past the last, first column, one past the last, of the cells to
            look at; inside the tile.
        origin: row and column of the tile's first cell.
        base, up: (R, C, 3) lattice, one node every `step` cells, from the raster's outer corner.
        step: cells between nodes.
        pose, intrinsics, image, usable, nearest, near_edge, spread: as in `sample_view`.
        gain: (3,) factor of each channel.
        color: (h, w, 3) float32 weighted colours of the tile; total: (h, w) float32 weights;
        best: (h, w) float32 best log weight, -inf where nothing was seen yet.
    """
    top_row, bottom_row, left_column, right_column = window
    for row in prange(top_row, bottom_row):
        r = row - origin[0]
        fr = (row + 0.5) / step
        r0 = min(int(fr), base.shape[0] - 2)
        fr -= r0
        world = np.empty(3)
        for column in range(left_column, right_column):
            h = heights[row, column]
            if np.isnan(h):
                continue
            c = column - origin[1]
            fc = (column + 0.5) / step
            c0 = min(int(fc), base.shape[1] - 2)
            fc -= c0
            for k in range(3):
                top = (base[r0, c0, k] + h * up[r0, c0, k]) * (1.0 - fc) + (
                    base[r0, c0 + 1, k] + h * up[r0, c0 + 1, k]
                ) * fc
                bottom = (base[r0 + 1, c0, k] + h * up[r0 + 1, c0, k]) * (1.0 - fc) + (
                    base[r0 + 1, c0 + 1, k] + h * up[r0 + 1, c0 + 1, k]
                ) * fc
                world[k] = top * (1.0 - fr) + bottom * fr
            u, v, weight = _look(
                world[0], world[1], world[2], pose, intrinsics, nearest, near_edge, spread
            )
            if weight < best[r, c] - NEGLIGIBLE or weight == -np.inf:
                continue
            if usable.size and not usable[int(v), int(u)]:
                continue
            share = 1.0
            if weight > best[r, c]:
                keep = np.exp(best[r, c] - weight)
                total[r, c] *= keep
                for k in range(3):
                    color[r, c, k] *= keep
                best[r, c] = weight
            else:
                share = np.exp(weight - best[r, c])
            total[r, c] += share
            for k in range(3):
                color[r, c, k] += share * gain[k] * _bilinear(image, u, v, k)
