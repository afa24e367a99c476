"""Lists of voxels per bucket on CUDA: count, emit in rank order, stable sort by bucket.

Every octant's voxels are emitted in its front-to-back order, so that after a stable sort by the
bucket alone each bucket's entries are in order.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from voxterra.kernels.cuda.launch import Kernel
from voxterra.kernels.voxels.cuda.lanes import cuda, high16, load_words, low16

THREADS = 256
W4 = np.uint64(4)


@cuda.jit(device=True)
def _tiles(rect, voxel):
    """Tiles of a voxel's rect: columns a .. b, rows c .. d, half-open; none where it is empty."""
    low, high = load_words(rect, np.uint64(voxel) * W4)
    bottom = high16(high) if low16(high) > low16(low) else np.int32(0)
    a, c = low16(low) >> np.int32(4), high16(low) >> np.int32(4)
    b = (low16(high) + np.int32(15)) >> np.int32(4)
    d = (bottom + np.int32(15)) >> np.int32(4)
    return np.int32(a), np.int32(b), np.int32(c), np.int32(d)


@cuda.jit(device=True)
def _octant(octants):
    """The octant of this row of blocks: `octants` packs them, 4 bits each."""
    return np.int32((octants >> np.int32(np.int32(4) * np.int32(cuda.blockIdx.y))) & np.int32(7))


def _count(rect, rank_order, bucket_of, tiles_x, octants, count, counts):
    """counts [octants, N]: entries of the voxel of each rank."""
    rank = np.int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if rank >= count:
        return
    octant = _octant(octants)
    voxel = np.uint32(rank_order[np.uint32(octant * count + rank)])
    a, b, c, d = _tiles(rect, voxel)
    total = np.int32(0)
    y = c
    while y < d:
        x = a
        while x < b:
            tile = np.int32(y * tiles_x + x)
            if bucket_of[np.uint32(tile * np.int32(8) + octant)] >= 0:
                total = np.int32(total + np.int32(1))
            x = np.int32(x + np.int32(1))
        y = np.int32(y + np.int32(1))
    counts[np.uint32(np.int32(cuda.blockIdx.y) * count + rank)] = total


def _emit(rect, rank_order, bucket_of, tiles_x, octants, count, ends, key, voxels):
    """key and voxels [E]: bucket and voxel of each entry; ends: running sum of the counts."""
    rank = np.int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if rank >= count:
        return
    octant = _octant(octants)
    job = np.int32(np.int32(cuda.blockIdx.y) * count + rank)
    at = np.int32(0)
    if job > 0:
        at = ends[np.uint32(job - np.int32(1))]
    if at == ends[np.uint32(job)]:
        return
    voxel = rank_order[np.uint32(octant * count + rank)]
    a, b, c, d = _tiles(rect, np.uint32(voxel))
    y = c
    while y < d:
        x = a
        while x < b:
            tile = np.int32(y * tiles_x + x)
            bucket = bucket_of[np.uint32(tile * np.int32(8) + octant)]
            if bucket >= 0:
                key[np.uint32(at)] = bucket
                voxels[np.uint32(at)] = voxel
                at = np.int32(at + np.int32(1))
            x = np.int32(x + np.int32(1))
        y = np.int32(y + np.int32(1))


def _finish(key, order, voxels, entries, buckets, entry, bucket_start):
    """entry [E] in sorted order, and where each bucket starts; one thread more than entries."""
    i = np.int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i > entries:
        return
    at = np.uint32(i)
    bucket, before = np.int32(buckets), np.int32(-1)
    if i < entries:
        entry[at] = voxels[np.uint64(order[at])]
        bucket = np.int32(key[at])
    if i > 0:
        before = np.int32(key[np.uint32(i - np.int32(1))])
    while before < bucket:
        before = np.int32(before + np.int32(1))
        bucket_start[np.uint32(before)] = i


count_kernel = Kernel(_count, "i16[] i32[] i32[] i32 i32 i32 i32[]", launch_bounds=THREADS)


@cache
def emit_kernel(key: str) -> Kernel:
    """The kernel that emits keys of a type, `i16` or `i32`."""
    signature = f"i16[] i32[] i32[] i32 i32 i32 i32[] {key}[] i32[]"
    return Kernel(_emit, signature, launch_bounds=THREADS)


@cache
def finish_kernel(key: str) -> Kernel:
    """The kernel that reads sorted keys of a type, `i16` or `i32`."""
    return Kernel(_finish, f"{key}[] i64[] i32[] i32 i32 i32[] i32[]", launch_bounds=THREADS)


def blocks(threads: int) -> int:
    """Blocks for a number of threads."""
    return -(-threads // THREADS)
