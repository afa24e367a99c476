"""Truncated signed distances of depth maps in blocks of voxels.

A voxel keeps the weighted mean of the signed distances to the surface that the views measured
(Curless & Levoy, A Volumetric Method for Building Complex Models from Range Images, 1996).
The distance is that to the plane of the depth sample, not along the ray, so that slanted surfaces
are not moved by which pixel a voxel falls into. Every block is computed by the same operations in
the same order wherever it is computed, so that regions that share a block agree to the bit.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from voxterra.kernels.fusion.blocks import BLOCK

VOXELS = BLOCK**3
# Columns of the accumulators.
WEIGHT, DISTANCE, FREE, RED, GREEN, BLUE = range(6)
# Columns of the counts.
NEAR, LOOKED, SOURCE = range(3)
# Values of `core.surface_source.SurfaceSource`, as the kernels know them.
MEASURED, WEAK = 1, 2


@njit(cache=True, inline="always")
def _outside(x, y, z, radius, intrinsics, far):
    """Whether a sphere in camera coordinates is surely outside of the frustum."""
    fx, fy, cx, cy, width, height = intrinsics
    if z < -radius or z > far + radius:
        return True
    left, right = cx / fx, (width - cx) / fx
    top, bottom = cy / fy, (height - cy) / fy
    return (
        x + left * z < -radius * np.sqrt(1.0 + left * left)
        or right * z - x < -radius * np.sqrt(1.0 + right * right)
        or y + top * z < -radius * np.sqrt(1.0 + top * top)
        or bottom * z - y < -radius * np.sqrt(1.0 + bottom * bottom)
    )


@njit(cache=True, inline="always")
def _add_near(acc, counts, b, i, sample, row, column, sdf, weight, band):
    """Add one measured distance with its colour."""
    # Behind the surface the weight falls to zero at the end of the band, so that a thin object
    # seen from both sides keeps both.
    w = weight if sdf > 0 else weight * (np.float32(1.0) + sdf / band)
    acc[b, i, WEIGHT] += w
    acc[b, i, DISTANCE] += w * sdf
    for channel in range(3):
        acc[b, i, RED + channel] += w * np.float32(sample[row, column, 4 + channel])
    if counts[b, i, NEAR] < 255:
        counts[b, i, NEAR] += 1
    # What the other half of the band holds may be another surface.
    if abs(sdf) <= np.float32(0.5) * band:
        source = sample[row, column, 7]
        if counts[b, i, SOURCE] == 0 or source < counts[b, i, SOURCE]:
            counts[b, i, SOURCE] = source


@njit(cache=True, parallel=True, error_model="numpy")
def integrate_view(
    acc, counts, coords, voxel, depth, sample, cam_from_world, intrinsics, far, band, weight_depth
):
    """Integrate one depth map into blocks.

    Args:
        acc: (B, 512, 6) float32 accumulators, changed in place: near weight, weighted distance,
            free weight, weighted colour.
        counts: (B, 512, 3) uint8, changed in place: views that measured the voxel, views that
            looked at it without something in front, best source (the lowest `SurfaceSource`) of
            the samples within half of the truncation band, 0 = none.
        coords: (B, 3) int32 block coordinates.
        voxel: edge of a voxel in world units; voxel (i, j, k) lies at voxel * (i, j, k).
        depth: (H, W) float32, 0 = none.
        sample: (H, W, 8) uint8: normal in camera as round(127 * n) + 127, confidence * 255,
            colour, `SurfaceSource`. A normal of 127, 127, 127 is unknown.
        cam_from_world: (3, 4) float64.
        intrinsics: (6,) float64 fx, fy, cx, cy, width, height.
        far: no depth lies beyond.
        band: (2,) float64: half width of the truncation band is max(band[0], band[1] * depth).
        weight_depth: depth that weighs 1; the weight goes with 1 / depth**2.
    """
    height, width = depth.shape
    fx, fy = np.float32(intrinsics[0]), np.float32(intrinsics[1])
    cx, cy = np.float32(intrinsics[2]), np.float32(intrinsics[3])
    step = (cam_from_world[:, :3] * voxel).astype(np.float32)
    f_width, f_height = np.float32(width), np.float32(height)
    band_0, band_1 = np.float32(band[0]), np.float32(band[1])
    reference = np.float32(weight_depth)
    radius = voxel * (BLOCK - 1) * 0.5 * np.sqrt(3.0)
    last = far * (1.0 + 2.0 * band[1]) + 4.0 * band[0]
    one, two = np.float32(1.0), np.float32(2.0)
    scale_127, scale_255 = np.float32(1.0 / 127.0), np.float32(1.0 / 255.0)
    for b in prange(len(coords)):
        first = np.empty(3)
        mid = np.empty(3)
        for r in range(3):
            first[r] = cam_from_world[r, 3]
            mid[r] = cam_from_world[r, 3]
            for a in range(3):
                base = coords[b, a] * (BLOCK * voxel)
                first[r] += cam_from_world[r, a] * base
                mid[r] += cam_from_world[r, a] * (base + 0.5 * (BLOCK - 1) * voxel)
        if _outside(mid[0], mid[1], mid[2], radius, intrinsics, last):
            continue
        x0, y0, z0 = np.float32(first[0]), np.float32(first[1]), np.float32(first[2])
        for k in range(BLOCK):
            for j in range(BLOCK):
                fj, fk = np.float32(j), np.float32(k)
                xr = x0 + fj * step[0, 1] + fk * step[0, 2]
                yr = y0 + fj * step[1, 1] + fk * step[1, 2]
                zr = z0 + fj * step[2, 1] + fk * step[2, 2]
                for i in range(BLOCK):
                    fi = np.float32(i)
                    x = xr + fi * step[0, 0]
                    y = yr + fi * step[1, 0]
                    z = zr + fi * step[2, 0]
                    if z <= np.float32(0.0):
                        continue
                    inverse = one / z
                    u = fx * x * inverse + cx
                    v = fy * y * inverse + cy
                    if not (u >= np.float32(0.0) and u < f_width):
                        continue
                    if not (v >= np.float32(0.0) and v < f_height):
                        continue
                    column, row = np.int32(u), np.int32(v)
                    index = (k * BLOCK + j) * BLOCK + i
                    d = depth[row, column]
                    if d <= np.float32(0.0):
                        if counts[b, index, LOOKED] < 255:
                            counts[b, index, LOOKED] += 1
                        continue
                    trunc = max(band_0, band_1 * d)
                    along = d - z
                    if along < -two * trunc:
                        continue
                    if counts[b, index, LOOKED] < 255:
                        counts[b, index, LOOKED] += 1
                    ratio = reference / d
                    weight = ratio * ratio * np.float32(sample[row, column, 3]) * scale_255
                    nx = (np.float32(sample[row, column, 0]) - np.float32(127.0)) * scale_127
                    ny = (np.float32(sample[row, column, 1]) - np.float32(127.0)) * scale_127
                    nz = (np.float32(sample[row, column, 2]) - np.float32(127.0)) * scale_127
                    px = (np.float32(column) + np.float32(0.5) - cx) / fx
                    py = (np.float32(row) + np.float32(0.5) - cy) / fy
                    facing = -(nx * px + ny * py + nz) / np.sqrt(px * px + py * py + one)
                    sdf = along
                    if facing > np.float32(0.05):
                        sdf = nx * (x - px * d) + ny * (y - py * d) + nz * (z - d)
                        weight *= facing
                    else:
                        weight *= np.float32(0.3)
                    if along > two * trunc or sdf > trunc:
                        acc[b, index, FREE] += weight
                    elif sdf > -trunc:
                        _add_near(acc, counts, b, index, sample, row, column, sdf, weight, trunc)


@njit(cache=True, parallel=True)
def finish_blocks(
    acc, counts, min_views, keep_weak, free_weight, empty_distance, field, colors, sources
):
    """Signed distances, colours and sources of integrated blocks.

    A voxel is empty where the views that look through it outweigh those that measured it, and
    unknown where too few looked.

    Args:
        acc, counts: as `integrate_view` left them.
        min_views: views that must have measured a voxel; one is enough where three or fewer looked.
        keep_weak: what fewer views measured is weak; False: it is unknown.
        free_weight: how many times the free weight must exceed the near weight to empty a voxel.
        empty_distance: largest distance to write, and that of empty voxels. One voxel is right: no
            true distance at the end of a lattice edge that crosses the surface is larger.
        field: (B, 512) float32, written: distance, NaN = unknown.
        colors: (B, 512, 3) float32, written: RGB, -1 = unknown.
        sources: (B, 512) uint8, written: `SurfaceSource`, 0 = no surface is known.
    """
    for b in prange(len(acc)):
        for i in range(VOXELS):
            near, free = acc[b, i, WEIGHT], acc[b, i, FREE]
            needed = min(np.int64(min_views), max(np.int64(1), np.int64(counts[b, i, LOOKED]) // 2))
            colors[b, i, :] = np.float32(-1.0)
            sources[b, i] = 0
            if near > 0 and free <= free_weight * near:
                enough = counts[b, i, NEAR] >= needed
                if enough or keep_weak:
                    source = counts[b, i, SOURCE]
                    if source == 0 or (source == MEASURED and not enough):
                        source = np.uint8(WEAK)
                    sources[b, i] = source
                    field[b, i] = min(acc[b, i, DISTANCE] / near, empty_distance)
                    for channel in range(3):
                        colors[b, i, channel] = acc[b, i, RED + channel] / near
                else:
                    field[b, i] = np.float32(np.nan)
            elif free > 0:
                field[b, i] = empty_distance
            else:
                field[b, i] = np.float32(np.nan)


@njit(cache=True, parallel=True, error_model="numpy")
def count_agreeing(
    depth,
    intrinsics,
    other_from_cam,
    other_depth,
    other_sample,
    other_intrinsics,
    tolerance,
    agreeing,
    looking,
):
    """Count, for each pixel of a depth map, whether another view sees the same surface there.

    Args:
        depth: (H, W) float32, 0 = none.
        intrinsics: (6,) of `depth`, as in `integrate_view`.
        other_from_cam: (3, 4) float64 rigid transform.
        other_depth, other_sample, other_intrinsics: of the other view.
        tolerance: largest relative difference in depth, to the plane of the other's pixel.
        agreeing: (H, W) uint8, raised by one where the depths agree.
        looking: (H, W) uint8, raised by one where the other view has a depth and does not see
            something in front.
    """
    height, width = depth.shape
    other_height, other_width = other_depth.shape
    fx, fy, cx, cy = intrinsics[0], intrinsics[1], intrinsics[2], intrinsics[3]
    gx, gy, hx, hy = (
        other_intrinsics[0], other_intrinsics[1], other_intrinsics[2], other_intrinsics[3],
    )  # fmt: skip
    t = other_from_cam
    for row in prange(height):
        for column in range(width):
            d = np.float64(depth[row, column])
            if d <= 0.0:
                continue
            px, py = (column + 0.5 - cx) / fx * d, (row + 0.5 - cy) / fy * d
            x = t[0, 0] * px + t[0, 1] * py + t[0, 2] * d + t[0, 3]
            y = t[1, 0] * px + t[1, 1] * py + t[1, 2] * d + t[1, 3]
            z = t[2, 0] * px + t[2, 1] * py + t[2, 2] * d + t[2, 3]
            if z <= 0.0:
                continue
            u, v = gx * x / z + hx, gy * y / z + hy
            if not (u >= 0.0 and u < other_width and v >= 0.0 and v < other_height):
                continue
            i, j = np.int64(u), np.int64(v)
            e = np.float64(other_depth[j, i])
            if e <= 0.0:
                continue
            nx = (np.float64(other_sample[j, i, 0]) - 127.0) / 127.0
            ny = (np.float64(other_sample[j, i, 1]) - 127.0) / 127.0
            nz = (np.float64(other_sample[j, i, 2]) - 127.0) / 127.0
            qx, qy = (i + 0.5 - hx) / gx, (j + 0.5 - hy) / gy
            along = nx * x / z + ny * y / z + nz
            expected = e
            if along < -0.1:
                expected = e * (nx * qx + ny * qy + nz) / along
            if abs(z - expected) <= tolerance * z:
                agreeing[row, column] += 1
                looking[row, column] += 1
            elif z < expected:
                looking[row, column] += 1
