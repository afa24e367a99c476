"""What views say of points in space: measured distances, free space, occlusion, outside of masks.

Signed distances of depth maps are averaged where they are measured (Curless & Levoy, A Volumetric
Method for Building Complex Models from Range Images, 1996), along the normal of the depth sample.
The first surface also needs to know what was seen to be empty and what was never seen, so these
are kept apart here. Free space is carved only by the nearest depth around a pixel, so that a
misplaced edge does not eat the thing in front of it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from voxterra.kernels.voxels.math import EXACT

# Columns of what was measured of a point ...
NEAR, DISTANCE, FREE, BEHIND, EVIDENCE = 0, 1, 2, 3, 4
# ... and of its counts: views whose image holds it, whose mask it falls beside, that know no depth
# there, and that have it behind a surface.
SEEN, BESIDE, BLANK, HIDDEN, COUNTS = 0, 1, 2, 3, 4
# Layout of a camera's 20 numbers: cam_from_world (row-major 3x4), fx, fy, cx, cy, near.
CAM_FX, CAM_FY, CAM_CX, CAM_CY, CAM_NEAR, CAM = 12, 13, 14, 15, 16, 17
NEVER = np.float32(-3.0e38)
"""Distance of a point that no view has behind a surface."""
# States of a point, and of a cell of the coarse grid.
UNKNOWN, INSIDE, OUTSIDE, MEASURED = 0, 1, 2, 3
# Free votes must weigh this much of the measurements to overrule them.
_OVERRULE = np.float32(1.0)
_F0, _F1 = np.float32(0.0), np.float32(1.0)


@njit(cache=True, inline="always")
def _stretch(x, y, z, center, half):
    """How much farther than the main bound a point lies: 1 inside, growing with the distance."""
    cheb = max(abs(x - center[0]), max(abs(y - center[1]), abs(z - center[2])))
    return max(_F1, cheb / half)


@njit(cache=True, parallel=True, error_model="numpy", fastmath=EXACT)
def look(points, evidence, counts, camera, depth, nearest, sample, mask, band, relative, box):
    """Add what one view says of points.

    Args:
        points: (P, 3) float32 in world.
        evidence: (P, 4) float32, changed: weight and weighted sum of the distances within the
            band, weight of the views that look through the point, and the least distance behind a
            surface (negative; `NEVER` = behind none).
        counts: (P, 4) int32, changed: `SEEN`, `BESIDE`, `BLANK`, `HIDDEN`.
        camera: (17,) float32.
        depth: (H, W) float32 along the axis, 0 = unknown, negative = unknown and not even blank.
        nearest: (H, W) float32 least known depth of the 3x3 pixels around.
        sample: (H, W, 4) int8: normal in camera * 127, confidence * 127.
        mask: (H', W') uint8, 0 = beside the object; (0, 0) = no mask.
        band: half width of the band of measurements [world units].
        relative: the band is at least this part of the depth.
        box: (4,) float32 centre and half edge of the main bound; the band widens outside of it.
    """
    height, width = depth.shape
    f_width, f_height = np.float32(width), np.float32(height)
    masked = mask.shape[0] > 0
    mask_x, mask_y = np.float32(mask.shape[1]) / f_width, np.float32(mask.shape[0]) / f_height
    fx, fy, cx, cy = camera[CAM_FX], camera[CAM_FY], camera[CAM_CX], camera[CAM_CY]
    for i in prange(points.shape[0]):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        z = camera[8] * px + camera[9] * py + camera[10] * pz + camera[11]
        if z <= camera[CAM_NEAR]:
            continue
        x = camera[0] * px + camera[1] * py + camera[2] * pz + camera[3]
        y = camera[4] * px + camera[5] * py + camera[6] * pz + camera[7]
        rx, ry = x / z, y / z
        u, v = fx * rx + cx, fy * ry + cy
        if u < _F0 or v < _F0 or u >= f_width or v >= f_height:
            continue
        counts[i, SEEN] += 1
        column, row = int(u), int(v)
        if masked and mask[int(v * mask_y), int(u * mask_x)] == 0:
            counts[i, BESIDE] += 1
            continue
        d = depth[row, column]
        if d <= _F0:
            if d == _F0:
                counts[i, BLANK] += 1
            continue
        reach = max(band * _stretch(px, py, pz, box, box[3]), relative * d)
        nx = np.float32(sample[row, column, 0])
        ny = np.float32(sample[row, column, 1])
        nz = np.float32(sample[row, column, 2])
        length = math.sqrt(rx * rx + ry * ry + _F1)
        # Distance along the normal of the sample: n . (p - q), n towards the camera.
        qx = d * ((np.float32(column) + np.float32(0.5) - cx) / fx)
        qy = d * ((np.float32(row) + np.float32(0.5) - cy) / fy)
        norm = math.sqrt(nx * nx + ny * ny + nz * nz)
        weight = np.float32(sample[row, column, 3]) / np.float32(127.0)
        facing = np.float32(0.3)
        s = d - z
        if norm > np.float32(32.0):
            facing = -(nx * rx + ny * ry + nz) / (norm * length)
            if facing > np.float32(0.05):
                s = (nx * (x - qx) + ny * (y - qy) + nz * (z - d)) / norm
            else:
                facing = np.float32(0.05)
        weight *= facing
        if s > reach or d - z > np.float32(3.0) * reach:
            if z < nearest[row, column] - reach:
                evidence[i, FREE] += weight
        elif s > -reach and d - z > np.float32(-3.0) * reach:
            # Behind the surface the weight falls, so that a thin thing seen from both sides
            # keeps both.
            w = weight if s >= _F0 else weight * (np.float32(1.05) + s / reach)
            evidence[i, NEAR] += w
            evidence[i, DISTANCE] += w * s
        else:
            # Far behind along the ray is deep, however close to the sample's plane.
            deep = min(min(s, -reach), np.float32(0.25) * (d - z))
            evidence[i, BEHIND] = max(evidence[i, BEHIND], deep)
            counts[i, HIDDEN] += 1


@njit(cache=True, parallel=True, error_model="numpy")
def decide(points, evidence, counts, beside, blank, band, shallow, box, state, value):
    """State and signed distance of points from all the views' evidence.

    Args:
        points, evidence, counts, band, box: as in `look`.
        beside: part of the views that may have a point beside their mask, yet it be inside.
        blank: a point is free where so many views know no depth, and so many for each view with
            something in front of it; 0 = they count for nothing.
        shallow: a point no deeper than this behind a surface is inside [world units].
        state: (P,) uint8, written: `UNKNOWN`, `INSIDE`, `OUTSIDE`, or `MEASURED`.
        value: (P,) float32, written: signed distance, positive in free space; 0 = unknown.
    """
    for i in prange(points.shape[0]):
        stretch = _stretch(points[i, 0], points[i, 1], points[i, 2], box, box[3])
        near, free = evidence[i, NEAR], evidence[i, FREE]
        state[i] = UNKNOWN
        value[i] = _F0
        if counts[i, BESIDE] > 0 and counts[i, BESIDE] >= 1 + int(beside * counts[i, SEEN]):
            state[i] = OUTSIDE
            value[i] = band * stretch
        elif near > _F0:
            mean = evidence[i, DISTANCE] / near
            if mean <= _F0 and free > _OVERRULE * near:
                mean = (evidence[i, DISTANCE] + free * band * stretch) / (near + free)
            elif mean > _F0 and free > near:
                # Beside the edge of a face, in the extension of its plane.
                extra = free - near
                mean = (evidence[i, DISTANCE] + extra * band * stretch) / (near + extra)
            state[i] = MEASURED
            value[i] = mean
        elif free > _F0:
            state[i] = OUTSIDE
            value[i] = band * stretch
        elif evidence[i, BEHIND] > -shallow * stretch and (
            blank == 0 or counts[i, BLANK] <= counts[i, HIDDEN]
        ):
            state[i] = INSIDE
            value[i] = evidence[i, BEHIND]
        elif blank > 0 and counts[i, BLANK] >= blank * max(1, counts[i, HIDDEN]):
            # Sky, or nothing at all around an object.
            state[i] = OUTSIDE
            value[i] = band * stretch


@njit(cache=True, inline="always")
def lookup(grid, x, y, z):
    """Trilinear value of a grid at real indices, clamped to its border."""
    n = grid.shape[0]
    top = np.float32(n - 1) - np.float32(1e-3)
    x, y, z = min(max(x, _F0), top), min(max(y, _F0), top), min(max(z, _F0), top)
    i, j, k = int(x), int(y), int(z)
    a, b, c = x - np.float32(i), y - np.float32(j), z - np.float32(k)
    total = _F0
    for corner in range(8):
        p, q, r = corner >> 2, (corner >> 1) & 1, corner & 1
        w = (a if p else _F1 - a) * (b if q else _F1 - b) * (c if r else _F1 - c)
        total += w * grid[i + p, j + q, k + r]
    return total


@njit(cache=True, parallel=True, error_model="numpy")
def finish(points, state, value, grid, box, cell):
    """Signed distances from what the views say of points and from the coarse grid.

    The grid gives the distance where views only show the side, and both where they show nothing.

    Args:
        points, box: as in `look`; the grid's nodes span the main bound.
        state, value: of `decide`; `value` is changed.
        grid: (G, G, G) float32 signed distances.
        cell: edge of the grid's cells [world units].
    """
    half = box[3]
    for i in prange(points.shape[0]):
        if state[i] == MEASURED:
            continue
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        stretch = _stretch(x, y, z, box, half)
        coarse = stretch * lookup(
            grid,
            (x - box[0] + half) / cell,
            (y - box[1] + half) / cell,
            (z - box[2] + half) / cell,
        )
        if state[i] == OUTSIDE:
            value[i] = max(coarse, min(value[i], np.float32(0.5) * cell))
        elif state[i] == INSIDE:
            value[i] = min(coarse, max(value[i], np.float32(-0.5) * cell))
        else:
            value[i] = coarse
