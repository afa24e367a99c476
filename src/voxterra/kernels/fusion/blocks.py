"""Sparse sets of voxel blocks, in a hash table with open addressing.

Blocks are allocated where depth samples fall (Niessner et al., Real-time 3D Reconstruction at
Scale using Voxel Hashing, 2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

BLOCK = 8
"""Edge of a block [voxels]."""
REACH = 1 << 20
"""Coordinates of blocks and cells are less than this, positive or negative."""
_OFFSET = REACH
_MASK = (1 << 21) - 1
_EMPTY = np.int64(-1)


@njit(cache=True, inline="always")
def pack(x, y, z):
    """One int64 for integer coordinates within +-2**20; sorts by z, then y, then x."""
    return (
        ((np.int64(z) + _OFFSET) << 42) | ((np.int64(y) + _OFFSET) << 21) | (np.int64(x) + _OFFSET)
    )


@njit(cache=True, inline="always")
def packable(x, y, z):
    """Whether real coordinates have a key after rounding down; False for NaN."""
    return abs(x) < REACH - 1 and abs(y) < REACH - 1 and abs(z) < REACH - 1


def pack_array(coords: NDArray[np.integer]) -> NDArray[np.int64]:
    """Keys (N,) of (N, 3) integer coordinates; as `pack`."""
    c = coords.astype(np.int64) + _OFFSET
    return (c[:, 2] << 42) | (c[:, 1] << 21) | c[:, 0]


def unpack_array(keys: NDArray[np.int64]) -> NDArray[np.int32]:
    """Coordinates (N, 3) of (N,) keys."""
    columns = [keys & _MASK, (keys >> 21) & _MASK, keys >> 42]
    return (np.column_stack(columns) - _OFFSET).astype(np.int32)


@dataclass
class BlockTable:
    """Blocks with the number of views that touch each; grows in `touch_blocks`' caller.

    Attributes:
        keys: (S,) int64 packed block coordinates, -1 where a slot is free; S a power of two.
        stats: (S, 4) int32: last view, its samples in the block, views with enough samples, samples
            of all views.
        used: slots in use.
    """

    keys: NDArray[np.int64]
    stats: NDArray[np.int32]
    used: int

    @staticmethod
    def empty(slots: int = 1 << 18) -> BlockTable:
        return BlockTable(np.full(slots, _EMPTY), np.full((slots, 4), -1, np.int32), 0)

    def reserve(self, more: int) -> None:
        """Make room for `more` further blocks at a load of one half."""
        slots = len(self.keys)
        while 2 * (self.used + more) > slots:
            slots *= 2
        if slots != len(self.keys):
            keys, stats = np.full(slots, _EMPTY), np.full((slots, 4), -1, np.int32)
            _rehash(self.keys, self.stats, keys, stats)
            self.keys, self.stats = keys, stats


@njit(cache=True, inline="always")
def find_slot(keys, key):
    """Slot of `key`, or the free slot where it belongs."""
    mask = len(keys) - 1
    # Fibonacci hashing: the high bits of the product are well mixed.
    slot = ((key * np.int64(-7046029254386353131)) >> 20) & mask
    while keys[slot] != key and keys[slot] != -1:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True)
def _rehash(old_keys, old_stats, keys, stats):
    for i in range(len(old_keys)):
        if old_keys[i] != -1:
            slot = find_slot(keys, old_keys[i])
            keys[slot] = old_keys[i]
            stats[slot] = old_stats[i]


@njit(cache=True)
def touch_blocks(
    keys, stats, used, limit, view, first_row, depth, reach, origin, rays, block_size, min_samples
):
    """Count the depth samples of one view into the blocks they touch, those within `REACH`.

    Args:
        keys, stats, used: of a `BlockTable`; `limit` is the number of slots that may be in use.
        view: index of the view.
        first_row: row of the depth map to begin at.
        depth: (H, W) float32 depths, 0 = none.
        reach: (2,) float64: a sample touches the blocks within `reach[0] + reach[1] * depth` of
            itself along its ray, as depths.
        origin: (3,) camera centre in world.
        rays: (3, 3) world direction of a pixel (u, v, 1), of unit depth.
        block_size: edge of a block in world units.
        min_samples: samples that make a view count for a block.

    Returns:
        (used, next row): next row < H asks for a larger table, to continue from there.
    """
    height, width = depth.shape
    inverse = 1.0 / block_size
    for row in range(first_row, height):
        # A row adds at most 4 blocks a pixel.
        if used + 4 * width > limit:
            return used, row
        for column in range(width):
            d = np.float64(depth[row, column])
            if d <= 0.0:
                continue
            u, v = column + 0.5, row + 0.5
            rx = (rays[0, 0] * u + rays[0, 1] * v + rays[0, 2]) * inverse
            ry = (rays[1, 0] * u + rays[1, 1] * v + rays[1, 2]) * inverse
            rz = (rays[2, 0] * u + rays[2, 1] * v + rays[2, 2]) * inverse
            band = reach[0] + reach[1] * d
            last = np.int64(-1)
            for step in range(4):
                e = d + band * (step * (2.0 / 3.0) - 1.0)
                x = np.floor(origin[0] * inverse + rx * e)
                y = np.floor(origin[1] * inverse + ry * e)
                z = np.floor(origin[2] * inverse + rz * e)
                if not packable(x, y, z):
                    continue
                key = pack(x, y, z)
                if key == last:
                    continue
                last = key
                slot = find_slot(keys, key)
                if keys[slot] == -1:
                    keys[slot] = key
                    stats[slot, 2] = 0
                    stats[slot, 3] = 0
                    used += 1
                if stats[slot, 0] != view:
                    stats[slot, 0] = view
                    stats[slot, 1] = 0
                stats[slot, 1] += 1
                stats[slot, 3] += 1
                if stats[slot, 1] == min_samples:
                    stats[slot, 2] += 1
    return used, height


@njit(cache=True)
def accumulate_points(keys, rows, sums, used, limit, first, points, features, weights, cell):
    """Add weighted points to the cells of a hash table, those within `REACH`.

    Args:
        keys, rows: (S,) int64 and int32 table from cell to row of `sums`; key -1 = free.
        sums: (R, 4 + C) float32: total weight, weighted offset from the cell's centre, weighted
            features.
        used, limit: rows in use, and rows that may be.
        first: point to begin at.
        points: (N, 3) float64 in world.
        features: (N, C) float32 values to average with the position.
        weights: (N,) float32, > 0.
        cell: edge of a cell in world units.

    Returns:
        (used, next point): next point < N asks for a larger table, to continue from there.
    """
    at = np.empty(3, np.int64)
    for i in range(first, len(points)):
        if used >= limit:
            return used, i
        if not packable(points[i, 0] / cell, points[i, 1] / cell, points[i, 2] / cell):
            continue
        for axis in range(3):
            at[axis] = np.int64(np.floor(points[i, axis] / cell))
        key = pack(at[0], at[1], at[2])
        slot = find_slot(keys, key)
        if keys[slot] == -1:
            keys[slot] = key
            rows[slot] = used
            used += 1
        row = rows[slot]
        w = weights[i]
        sums[row, 0] += w
        for axis in range(3):
            sums[row, 1 + axis] += w * np.float32(points[i, axis] - (at[axis] + 0.5) * cell)
        for c in range(features.shape[1]):
            sums[row, 4 + c] += w * features[i, c]
    return used, len(points)


@njit(cache=True)
def rehash_rows(old_keys, old_rows, keys, rows):
    """Move the cells of `accumulate_points` into a larger, empty table."""
    for i in range(len(old_keys)):
        if old_keys[i] != -1:
            slot = find_slot(keys, old_keys[i])
            keys[slot] = old_keys[i]
            rows[slot] = old_rows[i]
