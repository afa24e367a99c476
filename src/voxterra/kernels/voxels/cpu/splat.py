"""Silhouettes of points in masks, and depth maps of oriented discs."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from voxterra.kernels.voxels.cpu.carve import (
    BESIDE,
    CAM_CX,
    CAM_CY,
    CAM_FX,
    CAM_FY,
    CAM_NEAR,
    SEEN,
)


@njit(cache=True, parallel=True, error_model="numpy")
def silhouette(points, counts, camera, mask, enough):
    """Count the views that see points, and those whose mask they fall beside.

    Args:
        points: (P, 3) float32 in world.
        counts: (P, 4) int32 as in `carve`, changed; rows `enough` beside masks stay as they are.
        camera: (17,) float32 (layout in `carve`), for the mask's own pixels.
        mask: (H, W) uint8, 0 = beside the object.
        enough: views that a point must be beside to be decided.
    """
    height, width = mask.shape
    for i in prange(points.shape[0]):
        if counts[i, BESIDE] >= enough:
            continue
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        z = camera[8] * px + camera[9] * py + camera[10] * pz + camera[11]
        if z <= camera[CAM_NEAR]:
            continue
        x = camera[0] * px + camera[1] * py + camera[2] * pz + camera[3]
        y = camera[4] * px + camera[5] * py + camera[6] * pz + camera[7]
        u, v = camera[CAM_FX] * x / z + camera[CAM_CX], camera[CAM_FY] * y / z + camera[CAM_CY]
        if u < 0.0 or v < 0.0 or u >= np.float32(width) or v >= np.float32(height):
            continue
        counts[i, SEEN] += 1
        if mask[int(v), int(u)] == 0:
            counts[i, BESIDE] += 1


@njit(cache=True, error_model="numpy")
def splat_discs(centers, normals, radii, camera, depth, normal):
    """Draw discs that face the camera into a depth map; the nearest stays.

    Args:
        centers, normals: (N, 3) float32 in the camera frame, n . c < 0 where facing it.
        radii: (N,) float32 [world units].
        camera: (17,) float32; only its intrinsics are used (layout in `carve`).
        depth: (H, W) float32, changed: nearest depth so far, infinite = none.
        normal: (H, W, 3) float32, changed.
    """
    height, width = depth.shape
    fx, fy, cx, cy = camera[CAM_FX], camera[CAM_FY], camera[CAM_CX], camera[CAM_CY]
    near = camera[CAM_NEAR]
    for i in range(centers.shape[0]):
        x, y, z = centers[i, 0], centers[i, 1], centers[i, 2]
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        toward = nx * x + ny * y + nz * z
        if z <= near or toward > -0.1 * math.sqrt(x * x + y * y + z * z):
            continue
        radius = radii[i]
        # A disc is never smaller than the pixel it falls into.
        reach_x, reach_y = max(fx * radius / z, 0.5), max(fy * radius / z, 0.5)
        u, v = fx * x / z + cx, fy * y / z + cy
        c0, c1 = int(max(u - reach_x, 0.0)), int(min(u + reach_x, width - 1.0))
        r0, r1 = int(max(v - reach_y, 0.0)), int(min(v + reach_y, height - 1.0))
        limit = max(radius, z / fx) ** 2
        for row in range(r0, r1 + 1):
            ry = (row + 0.5 - cy) / fy
            for column in range(c0, c1 + 1):
                rx = (column + 0.5 - cx) / fx
                across = nx * rx + ny * ry + nz
                if across > -1e-6:
                    continue
                d = toward / across
                if d <= near or d >= depth[row, column]:
                    continue
                away = (rx * d - x) ** 2 + (ry * d - y) ** 2 + (d - z) ** 2
                if away <= limit:
                    depth[row, column] = d
                    normal[row, column, 0] = nx
                    normal[row, column, 1] = ny
                    normal[row, column, 2] = nz
