"""The pixel and ray of each thread of the rasterizing CUDA kernels.

A tile's 16x16 pixels are 8 pieces of 8x4, one a warp. The warps share nothing but the caches: none
waits for another, and a block may hold any of them.
"""

from __future__ import annotations

import numpy as np

from voxterra.kernels.voxels import math as vm
from voxterra.kernels.voxels.cuda.lanes import (
    U1,
    cuda,
    exp2,
    high16,
    load4,
    load_words,
    low16,
    multiply_add_unit,
    reciprocal,
    store4_shared,
)
from voxterra.kernels.voxels.plan import TILE

PIECES = TILE * TILE // 32
"""Warps of a tile."""
CX, CY, FX, FY = np.uint32(vm.C_CX), np.uint32(vm.C_CY), np.uint32(vm.C_FX), np.uint32(vm.C_FY)
ROW = np.uint32(4 * vm.RECORD)
"""Bytes of a record; with 80 of them, 8 lanes that store 16 bytes each meet all 32 banks."""
STAGE = 32 * vm.RECORD
"""float32 of shared memory in which a warp keeps the records of a chunk."""
F0, F1, HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)
LOG2E = np.float32(1.4426950408889634)


@cuda.jit(device=True)
def warp_corner(tile, tiles_x, warp):
    """First pixel (x, y) of the 8x4 pixels of piece `warp` of a tile."""
    row = np.int32(tile // tiles_x)
    column = np.int32(tile - row * tiles_x)
    x = np.int32(column * np.int32(TILE) + (warp & np.int32(1)) * np.int32(8))
    return x, np.int32(row * np.int32(TILE) + (warp >> np.int32(1)) * np.int32(4))


@cuda.jit(device=True)
def direction(camera, x, y):
    """Direction in world of the ray through pixel (x, y), of unit depth."""
    u = (np.float32(x) + HALF - camera[CX]) / camera[FX]
    v = (np.float32(y) + HALF - camera[CY]) / camera[FY]
    dx = camera[np.uint32(0)] * u + camera[np.uint32(1)] * v + camera[np.uint32(2)]
    dy = camera[np.uint32(3)] * u + camera[np.uint32(4)] * v + camera[np.uint32(5)]
    dz = camera[np.uint32(6)] * u + camera[np.uint32(7)] * v + camera[np.uint32(8)]
    return dx, dy, dz


@cuda.jit(device=True)
def rect_words(rect, voxel):
    """The pixel rect of a voxel: (x0, y0) and (x1, y1), 16 bits each."""
    return load_words(rect, np.uint64(np.uint32(voxel)) * np.uint64(4))


@cuda.jit(device=True)
def meets(low, high, x, y):
    """Whether a pixel rect (`rect_words`) meets the 8x4 pixels from (x, y)."""
    in_x = low16(low) < np.int32(x + np.int32(8)) and low16(high) > x
    return in_x and high16(low) < np.int32(y + np.int32(4)) and high16(high) > y


@cuda.jit(device=True)
def chunk_of(start, bucket):
    """Index of a bucket's first chunk of 32 entries; no two buckets share a chunk."""
    return np.int32((start >> np.int32(5)) + bucket)


@cuda.jit(device=True)
def crossing(ax, ay, az, size, ix, iy, iz, near):
    """Depths (t0, t1) at which a ray enters and leaves a voxel; a miss has t1 <= t0.

    Args:
        ax, ay, az: the ray's origin relative to the voxel's lower corner.
        size: edge of the voxel.
        ix, iy, iz: inverse of the direction (`math.inverse_direction`).
        near: nearest depth.
    """
    x0, x1 = -ax * ix, (size - ax) * ix
    y0, y1 = -ay * iy, (size - ay) * iy
    z0, z1 = -az * iz, (size - az) * iz
    t0 = max(max(min(x0, x1), min(y0, y1)), max(min(z0, z1), near))
    return t0, min(min(max(x0, x1), max(y0, y1)), max(z0, z1))


@cuda.jit(device=True)
def unit_point(t, ax, ay, az, dx, dy, dz):
    """Coordinates in [0, 1] of the ray's point at t; origin and direction in voxel edges."""
    return (
        multiply_add_unit(t, dx, ax),
        multiply_add_unit(t, dy, ay),
        multiply_add_unit(t, dz, az),
    )


@cuda.jit(device=True)
def sigmoid(s, f):
    """`math.sigmoid` of s * f; exp2 and reciprocal saturate by themselves."""
    return reciprocal(F1 + exp2(-LOG2E * s * f))


@cuda.jit(device=True)
def through(phi_in, phi_out):
    """`math.through` with a fast reciprocal."""
    return min((phi_out + vm.OPACITY_EPS) * reciprocal(phi_in + vm.OPACITY_EPS), F1)


@cuda.jit(device=True)
def depth_offset(samples, s, phi_in, phi_out, t0, part, a, d, c):
    """What `samples` parts of a segment, each `part` long, add to the depth of its middle
    (`math.share_left`).

    Args:
        s: sharpness; phi_in, phi_out: of the segment.
        t0: where it begins.
        a, d: the ray's origin and direction in voxel edges.
        c: the 8 corner values.
    """
    total, t, drop = F0, t0, reciprocal(phi_in - phi_out)
    for _ in range(1, samples):
        t += part
        x, y, z = unit_point(t, a[0], a[1], a[2], d[0], d[1], d[2])
        f = vm.trilinear(c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], x, y, z)
        total += vm.share_left(sigmoid(s, f), phi_out, drop) - HALF
    return part * total


@cuda.jit(device=True)
def stage(record, voxel, chosen, lane, address):
    """Copy the records of the chosen lanes' voxels to shared memory, in the order of the lanes.

    One wait for all of a chunk's records, where reading each when it is due would wait for each.
    """
    below = np.uint32(chosen & np.uint32(np.uint32(U1 << np.uint32(lane)) - U1))
    if np.uint32(chosen >> np.uint32(lane)) & U1 != 0:
        at = np.uint64(np.uint32(voxel)) * np.uint64(vm.RECORD)
        to = np.uint32(address + np.uint32(np.uint32(cuda.popc(below)) * ROW))
        a0, a1, a2, a3 = load4(record, at)
        b0, b1, b2, b3 = load4(record, at + np.uint64(4))
        c0, c1, c2, c3 = load4(record, at + np.uint64(8))
        d0, d1, d2, d3 = load4(record, at + np.uint64(12))
        e0, e1, e2, e3 = load4(record, at + np.uint64(16))
        store4_shared(to, a0, a1, a2, a3)
        store4_shared(np.uint32(to + np.uint32(16)), b0, b1, b2, b3)
        store4_shared(np.uint32(to + np.uint32(32)), c0, c1, c2, c3)
        store4_shared(np.uint32(to + np.uint32(48)), d0, d1, d2, d3)
        store4_shared(np.uint32(to + np.uint32(64)), e0, e1, e2, e3)
    cuda.syncwarp()
