"""Numbers of sparse voxels in 8 bits, and the octree's shape in few bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxterra.core.morton import MAX_LEVEL
from voxterra.core.voxels import corners

BLOCK = 1024
"""Neighbouring voxels (in path order) that share scales of their colours."""
# Distances: 128 magnitudes a side, the first steps 1/100 of a voxel, each 2.4 % longer than the
# one before; the last is at 8 voxels. No code means 0, so that no corner changes its side.
_STEP = 0.01
_GROWTH = 0.0235


def encode_octree(
    path: NDArray[np.int64], level: NDArray[np.int8]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """What `level` alone does not say: leaves (G,) before which cells are missing, and how many.

    Without gaps each leaf begins where the one before ends. Missing cells are counted at level 16.
    """
    extent = _extent(level)
    end = path + extent
    gap = path - np.concatenate([[np.int64(0)], end[:-1]])
    at = np.flatnonzero(gap)
    return at.astype(np.int32), gap[at]


def decode_octree(
    level: NDArray[np.int8], gap_at: NDArray[np.int32], gap: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Paths (N,) of leaves; inverse of `encode_octree`.

    Raises:
        ValueError: the numbers describe no octree.
    """
    if len(level) and (level.min() < 0 or level.max() > MAX_LEVEL):
        raise ValueError("levels out of range")
    before = np.zeros(len(level), np.int64)
    if gap_at.shape != gap.shape or (gap_at < 0).any() or (gap < 0).any():
        raise ValueError("gaps out of range")
    if len(gap_at) and gap_at.max() >= len(level):
        raise ValueError("gaps out of range")
    before[gap_at] = gap
    extent = _extent(level)
    return np.cumsum(before + extent) - extent


def encode_distances(
    sdf: NDArray[np.float32], path: NDArray[np.int64], level: NDArray[np.int8], edge: float
) -> NDArray[np.uint8]:
    """Codes (M,) of the distances at corners, in units of the largest voxel that has the corner.

    Args:
        sdf: (M,) distances [world units].
        path, level: (N,) leaves.
        edge: of the root cell [world units].
    """
    u = np.abs(sdf) / (largest_edges(path, level) * np.float32(edge))
    code = np.clip(np.log1p(u * (_GROWTH / _STEP)) / _GROWTH, 0, 127).astype(np.uint8)
    return np.asarray(np.where(sdf < 0, 127 - code, 128 + code), np.uint8)


def decode_distances(
    code: NDArray[np.uint8], path: NDArray[np.int64], level: NDArray[np.int8], edge: float
) -> NDArray[np.float32]:
    """Distances (M,); inverse of `encode_distances`."""
    signed = np.arange(256) - 127.5
    table = np.sign(signed) * (np.expm1(np.abs(signed) * _GROWTH) * (_STEP / _GROWTH))
    unit = largest_edges(path, level)
    if unit.shape != code.shape:
        raise ValueError(f"{len(code)} signed distances for {len(unit)} corners")
    distances: NDArray[np.float32] = table.astype(np.float32)[code] * (unit * np.float32(edge))
    return distances


def largest_edges(path: NDArray[np.int64], level: NDArray[np.int8]) -> NDArray[np.float32]:
    """(M,) edge of the largest voxel at each corner, in edges of the root cell."""
    keys, index = corners(path, level)
    coarsest = np.full(len(keys), MAX_LEVEL, np.int8)
    for c in range(8):
        np.minimum.at(coarsest, index[:, c], level)
    return np.ldexp(np.float32(1), -coarsest.astype(np.int32))


def encode_blocks(
    values: NDArray[np.float32],
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Values (N, C) as codes (N, C), and the low (B, C) and step (B, C) of each block of voxels."""
    n = len(values)
    starts = np.arange(0, n, BLOCK)
    if n == 0 or values.shape[1] == 0:
        none = np.zeros((len(starts), values.shape[1]), np.float32)
        return np.zeros(values.shape, np.uint8), none, none
    low = np.asarray(np.minimum.reduceat(values, starts), np.float32)
    step = np.asarray((np.maximum.reduceat(values, starts) - low) / np.float32(255), np.float32)
    codes: NDArray[np.uint8] = np.empty(values.shape, np.uint8)
    for b, i in enumerate(starts):
        inverse = 1 / np.where(step[b] > 0, step[b], 1)
        codes[i : i + BLOCK] = np.clip(np.rint((values[i : i + BLOCK] - low[b]) * inverse), 0, 255)
    return codes, low, step


def decode_blocks(
    codes: NDArray[np.uint8], low: NDArray[np.float32], step: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Values (N, C); inverse of `encode_blocks`.

    Raises:
        ValueError: the blocks do not fit.
    """
    blocks = -(-len(codes) // BLOCK)
    if low.shape != (blocks, codes.shape[1]) or step.shape != low.shape:
        raise ValueError("blocks of colours do not fit the voxels")
    values = codes.astype(np.float32)
    for b in range(blocks):
        part = values[b * BLOCK : (b + 1) * BLOCK]
        part *= step[b]
        part += low[b]
    return values


def _extent(level: NDArray[np.int8]) -> NDArray[np.int64]:
    """Cells of level 16 in cells of the given levels."""
    return np.left_shift(np.int64(1), 3 * (MAX_LEVEL - level.astype(np.int64)))
