"""Lists of voxels for every bucket, front to back, on the CPU.

The voxels of an octant are cut into pieces of their rank order. Each piece counts its entries per
bucket; running sums over the pieces then give each where to write, so that all write at once and
the lists come out in order without a sort.
"""

import numpy as np
from numba import njit, prange

TILE = 16
_PIECE = 16384
"""Voxels at least of one parallel piece."""


@njit(cache=True)
def _tiles(rect, v):
    """Tiles touched by a voxel's rectangle: columns a .. b, rows c .. d, half-open."""
    if rect[v, 2] <= rect[v, 0] or rect[v, 3] <= rect[v, 1]:
        return 0, 0, 0, 0
    return (
        rect[v, 0] // TILE,
        (rect[v, 2] - 1) // TILE + 1,
        rect[v, 1] // TILE,
        (rect[v, 3] - 1) // TILE + 1,
    )


@njit(cache=True, parallel=True)
def count_entries(rect, bucket_of, tiles_x):
    """[N] entries of each voxel."""
    buckets = np.zeros(len(bucket_of), np.int32)
    for tile in range(len(bucket_of)):
        for octant in range(8):
            buckets[tile] += bucket_of[tile, octant] >= 0
    entries = np.empty(len(rect), np.int32)
    for v in prange(len(rect)):
        a, b, c, d = _tiles(rect, v)
        total = 0
        for row in range(c, d):
            for column in range(a, b):
                total += buckets[row * tiles_x + column]
        entries[v] = total
    return entries


@njit(cache=True, parallel=True)
def _count_buckets(rect, order, octants, bucket_of, tiles_x, pieces, counts):
    """counts[octant k, piece, bucket]: entries; pieces cut the rank order evenly."""
    for job in prange(len(octants) * pieces):
        k, piece = job // pieces, job % pieces
        octant = octants[k]
        count = counts[k, piece]
        for i in range(len(rect) * piece // pieces, len(rect) * (piece + 1) // pieces):
            a, b, c, d = _tiles(rect, order[octant, i])
            for row in range(c, d):
                for column in range(a, b):
                    bucket = bucket_of[row * tiles_x + column, octant]
                    if bucket >= 0:
                        count[bucket] += 1


@njit(cache=True)
def _offsets(counts, octant_position, bucket_octant, bucket_start):
    """Turn counts into the position where each piece writes, and fill `bucket_start`."""
    position = 0
    for bucket in range(len(bucket_octant)):
        bucket_start[bucket] = position
        k = octant_position[bucket_octant[bucket]]
        for piece in range(counts.shape[1]):
            count = counts[k, piece, bucket]
            counts[k, piece, bucket] = position
            position += count
    bucket_start[len(bucket_octant)] = position


@njit(cache=True, parallel=True)
def _emit(rect, order, octant, bucket_of, tiles_x, cursors, next_slot, entry, slot):
    """Write the entries of one octant. A voxel occurs once, so its slots are not contended."""
    pieces = len(cursors)
    for piece in prange(pieces):
        cursor = cursors[piece]
        for i in range(len(rect) * piece // pieces, len(rect) * (piece + 1) // pieces):
            v = order[octant, i]
            a, b, c, d = _tiles(rect, v)
            for row in range(c, d):
                for column in range(a, b):
                    bucket = bucket_of[row * tiles_x + column, octant]
                    if bucket >= 0:
                        position = cursor[bucket]
                        cursor[bucket] = position + 1
                        entry[position] = v
                        slot[position] = next_slot[v]
                        next_slot[v] += 1


def bin_voxels(rect, order, plan, slot_start):
    """Lists of all buckets; arguments and results as in `ops.bin_voxels`.

    Args:
        rect: int16 [N, 4].
        order: int32 [8, N].
        plan: of the view.
        slot_start: int32 [N + 1], the running sum of `count_entries`.

    Returns:
        entry int32 [E], bucket_start int32 [B + 1], slot int32 [E].
    """
    total = int(slot_start[-1])
    octants = np.unique(plan.bucket_octant).astype(np.int64)
    position = np.zeros(8, np.int64)
    position[octants] = np.arange(len(octants))
    pieces = max(1, min(32, len(rect) // _PIECE))
    counts = np.zeros((len(octants), pieces, len(plan.bucket_tile)), np.int32)
    bucket_start = np.empty(len(plan.bucket_tile) + 1, np.int32)
    _count_buckets(rect, order, octants, plan.bucket_of, plan.tiles_x, pieces, counts)
    _offsets(counts, position, plan.bucket_octant, bucket_start)
    entry, slot = np.empty(total, np.int32), np.empty(total, np.int32)
    next_slot = slot_start[:-1].copy()
    for k, octant in enumerate(octants):
        _emit(rect, order, octant, plan.bucket_of, plan.tiles_x, counts[k], next_slot, entry, slot)
    return entry, bucket_start, slot
