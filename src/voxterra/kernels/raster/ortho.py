"""Colours of a height raster from photographs: visibility, candidates and weighted blending.

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
# A photo with a smaller share of a cell does not count as chosen for it.
LEAST_SHARE = 0.02
# Log weight of photos that are not chosen, beside those that are.
UNCHOSEN = 1000.0
# Infinities are values here (no surface, not seen), so they must stay what they are.
FAST = {"reassoc", "contract", "arcp", "nsz"}


@njit(cache=True, fastmath=FAST)
def _look(x, y, z, pose, intrinsics, nearest, near_edge, spread):
    """Pixel and log weight of a world point in a photo, and whether it lies clear of edges.

    The weight is -inf where the photo does not see the point. It falls with the angle from the
    vertical and with the size of a pixel on the ground, and towards the border of the photo.
    """
    hidden = -np.inf
    cx = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]
    cy = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]
    cz = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
    if cz <= 0.0:
        return 0.0, 0.0, hidden, False
    width, height = intrinsics[4], intrinsics[5]
    u = intrinsics[0] * cx / cz + intrinsics[2]
    v = intrinsics[1] * cy / cz + intrinsics[3]
    border = min(min(u, width - u), min(v, height - v))
    if not border >= 1.0:
        return u, v, hidden, False
    # Rows of the rotation are the camera's axes, so this is the height of the camera above.
    rise = -(pose[0, 2] * cx + pose[1, 2] * cy + pose[2, 2] * cz)
    distance = np.sqrt(cx * cx + cy * cy + cz * cz)
    if rise < LEAST_RISE * distance:
        return u, v, hidden, False
    row = min(int(v * nearest.shape[0] / height), nearest.shape[0] - 1)
    column = min(int(u * nearest.shape[1] / width), nearest.shape[1] - 1)
    tolerance = OCCLUSION_TOLERANCE * cz * distance / rise
    if cz > nearest[row, column] + tolerance:
        return u, v, hidden, False
    tangent_squared = (distance * distance) / (rise * rise) - 1.0
    weight = -tangent_squared / (2.0 * spread * spread) - 2.0 * np.log(cz / intrinsics[0])
    clear = cz <= near_edge[row, column] + 3.0 * tolerance
    if not clear:
        weight -= EDGE_PENALTY
    feather = border / (0.06 * min(width, height))
    if feather < 1.0:
        weight += 2.0 * np.log(feather)
    return u, v, weight, clear


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


@njit(cache=True, fastmath=FAST)
def _place(heights, row, column, base, up, step, world):
    """World point of a cell into `world`; False where the cell has no height."""
    h = heights[row, column]
    if np.isnan(h):
        return False
    fr, fc = (row + 0.5) / step, (column + 0.5) / step
    r0, c0 = min(int(fr), base.shape[0] - 2), min(int(fc), base.shape[1] - 2)
    fr, fc = fr - r0, fc - c0
    for k in range(3):
        top = (base[r0, c0, k] + h * up[r0, c0, k]) * (1.0 - fc) + (
            base[r0, c0 + 1, k] + h * up[r0, c0 + 1, k]
        ) * fc
        bottom = (base[r0 + 1, c0, k] + h * up[r0 + 1, c0, k]) * (1.0 - fc) + (
            base[r0 + 1, c0 + 1, k] + h * up[r0 + 1, c0 + 1, k]
        ) * fc
        world[k] = top * (1.0 - fr) + bottom * fr
    return True


@njit(cache=True, parallel=True)
def add_candidate(
    heights, window, origin, coarse, base, up, step, pose, intrinsics, image, usable,
    nearest, near_edge, spread, number, photo, weight, color,
):  # fmt: skip
    """Put one photo among the candidates of the coarse cells that it shows well, in place.

    Args:
        heights: (H, W) float32 map heights of the whole raster, NaN = no cell.
        window: first row, one past the last, first column, one past the last, of the coarse cells
            to look at.
        origin: row and column of the first coarse cell of `photo`, `weight` and `color`.
        coarse: cells in an edge of a coarse cell; its middle stands for it.
        base, up: (R, C, 3) lattice, one node every `step` cells, from the raster's outer corner.
        step: cells between nodes.
        pose: (3, 4) cam_from_world.
        intrinsics: (6,) fx, fy, cx, cy, width, height [px].
        image: (H, W, 3) uint8; usable: (H, W) bool mask, or (0, 0) for no mask.
        nearest: (h, w) float32 depth of the first surface, inf where there is none; any size.
        near_edge: (h, w) float32 smallest `nearest` in the neighbourhood.
        spread: tangent of the angle from the vertical over which photos are about as good.
        number: of the photo.
        photo: (h, w, K) int32 numbers of the candidates so far, best first, -1 = none; weight:
            (h, w, K) float32 their log weights; color: (h, w, K, 3) uint8.
    """
    top_row, bottom_row, left_column, right_column = window
    count = photo.shape[2]
    for coarse_row in prange(top_row, bottom_row):
        row = min(coarse_row * coarse + coarse // 2, heights.shape[0] - 1)
        r = coarse_row - origin[0]
        world = np.empty(3)
        for coarse_column in range(left_column, right_column):
            column = min(coarse_column * coarse + coarse // 2, heights.shape[1] - 1)
            c = coarse_column - origin[1]
            if not _place(heights, row, column, base, up, step, world):
                continue
            u, v, w, _ = _look(
                world[0], world[1], world[2], pose, intrinsics, nearest, near_edge, spread
            )
            if w == -np.inf or w <= weight[r, c, count - 1]:
                continue
            if usable.size and not usable[int(v), int(u)]:
                continue
            k = count - 1
            while k > 0 and w > weight[r, c, k - 1]:
                photo[r, c, k], weight[r, c, k] = photo[r, c, k - 1], weight[r, c, k - 1]
                color[r, c, k] = color[r, c, k - 1]
                k -= 1
            photo[r, c, k], weight[r, c, k] = number, w
            for channel in range(3):
                color[r, c, k, channel] = np.uint8(_bilinear(image, u, v, channel) + 0.5)


@njit(cache=True, parallel=True)
def blend_view(
    heights, window, origin, base, up, step, pose, intrinsics, image, usable,
    nearest, near_edge, spread, share, corner, coarse, color, total, best,
):  # fmt: skip
    """Add one photo to the running blend of a tile of the raster, in place.

    A photo with a share of a cell counts by it. Where no such photo shows the cell clearly, all
    others blend by the log weights of `_look`; the sum is kept relative to the best so far (a
    streaming soft maximum), so that far oblique photos cannot underflow.

    Args:
        heights, base, up, step, pose, intrinsics, image, usable, nearest, near_edge, spread: as in
            `add_candidate`.
        window: first row, one past the last, first column, one past the last, of the cells to
            look at; inside the tile.
        origin: row and column of the tile's first cell.
        share: (p, q) float32 share of the photo at the middles of coarse cells of `coarse` cells'
            edge, the first of them at row and column `corner` of the coarse cells.
        color: (h, w, 3) float32 weighted colours of the tile; total: (h, w) float32 weights;
        best: (h, w) float32 best log weight, -inf where nothing was seen yet.
    """
    top_row, bottom_row, left_column, right_column = window
    for row in prange(top_row, bottom_row):
        r = row - origin[0]
        y = min(max((row + 0.5) / coarse - corner[0] - 0.5, 0.0), share.shape[0] - 1.0)
        y0 = min(int(y), max(share.shape[0] - 2, 0))
        y1 = min(y0 + 1, share.shape[0] - 1)
        y -= y0
        world = np.empty(3)
        for column in range(left_column, right_column):
            c = column - origin[1]
            x = min(max((column + 0.5) / coarse - corner[1] - 0.5, 0.0), share.shape[1] - 1.0)
            x0 = min(int(x), max(share.shape[1] - 2, 0))
            x1 = min(x0 + 1, share.shape[1] - 1)
            x -= x0
            own = (share[y0, x0] * (1.0 - x) + share[y0, x1] * x) * (1.0 - y) + (
                share[y1, x0] * (1.0 - x) + share[y1, x1] * x
            ) * y
            chosen = own > LEAST_SHARE
            if not chosen and best[r, c] > -UNCHOSEN / 2:
                continue
            if not _place(heights, row, column, base, up, step, world):
                continue
            u, v, weight, clear = _look(
                world[0], world[1], world[2], pose, intrinsics, nearest, near_edge, spread
            )
            if weight == -np.inf:
                continue
            weight = np.log(own) if chosen and clear else weight - UNCHOSEN
            if weight < best[r, c] - NEGLIGIBLE:
                continue
            if usable.size and not usable[int(v), int(u)]:
                continue
            part = 1.0
            if weight > best[r, c]:
                keep = np.exp(best[r, c] - weight)
                total[r, c] *= keep
                for k in range(3):
                    color[r, c, k] *= keep
                best[r, c] = weight
            else:
                part = np.exp(weight - best[r, c])
            total[r, c] += part
            for k in range(3):
                color[r, c, k] += part * _bilinear(image, u, v, k)
