"""The pixel and ray of each thread of the rasterizing CUDA kernels.

A block is the 256 pixels of a tile; each of its 8 warps owns 8x4 of them. The warps share nothing
but the caches: none waits for another.
"""

from __future__ import annotations

import numpy as np

from voxterra.kernels.voxels import math as vm
from voxterra.kernels.voxels.cuda.lanes import cuda, high16, load_words, low16
from voxterra.kernels.voxels.plan import TILE

THREADS = TILE * TILE
CX, CY, FX, FY = np.uint32(vm.C_CX), np.uint32(vm.C_CY), np.uint32(vm.C_FX), np.uint32(vm.C_FY)
CENTER = np.uint32(vm.C_CENTER)
U1, U2 = np.uint32(1), np.uint32(2)
HALF = np.float32(0.5)


@cuda.jit(device=True)
def warp_corner(tile, tiles_x, warp):
    """First pixel (x, y) of the 8x4 pixels of a warp of a tile."""
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
def meets(rect, voxel, x, y):
    """Whether the pixel rect of a voxel meets the 8x4 pixels from (x, y)."""
    low, high = load_words(rect, np.uint64(voxel) * np.uint64(4))
    in_x = low16(low) < x + np.int32(8) and low16(high) > x
    return in_x and high16(low) < y + np.int32(4) and high16(high) > y


@cuda.jit(device=True)
def chunk_of(start, bucket):
    """Index of a bucket's first chunk of 32 entries; no two buckets share a chunk."""
    return np.int32((start >> np.int32(5)) + bucket)
