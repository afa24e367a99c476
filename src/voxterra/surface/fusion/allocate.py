"""Which blocks of voxels the surface passes through, and how large a voxel is."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.depth import DepthMaps
from voxterra.core.progress import Progress, no_progress
from voxterra.errors import ReconstructionError
from voxterra.kernels.fusion.blocks import (
    BLOCK,
    BlockTable,
    pack_array,
    touch_blocks,
    unpack_array,
)
from voxterra.surface.fusion.config import FusionConfig
from voxterra.surface.fusion.statistics import DepthStatistics
from voxterra.surface.fusion.views import check_reach, prepare_view

logger = logging.getLogger(__name__)

# Samples of one view that make it count for a block: stray pixels alone make none.
_MIN_SAMPLES = 4
# Samples of all views for a block that fewer views than usual show: what is less would go with the
# small pieces of the mesh, and there are many such blocks over water and leaves.
_MIN_SAMPLES_WEAK = 16
# Stray samples may touch so many blocks for each wanted one before the search is given up.
_STRAY_BLOCKS = 8
# Voxels of less than this many pixels may be why there is no surface.
_SMALLEST = 0.5
# A volume is at most so many blocks wide, so that a lattice edge has a number of 63 bits.
_MAX_WIDTH = (1 << 20) // BLOCK


@dataclass(frozen=True)
class Volume:
    """The allocated blocks.

    Attributes:
        voxel: edge of a voxel [world units].
        coords: (N, 3) int32 block coordinates, sorted by packed key.
        neighbors: (N, 8) int32 row of the block at offset (n & 1, n >> 1 & 1, n >> 2 & 1), -1 none.
        band: (2,) the truncation band is max(band[0], band[1] * depth) [world units].
        max_footprint: depth pixels that cover more are not used [world units].
    """

    voxel: float
    coords: NDArray[np.int32]
    neighbors: NDArray[np.int32]
    band: NDArray[np.float64]
    max_footprint: float


def allocate(
    maps: DepthMaps,
    statistics: DepthStatistics,
    config: FusionConfig,
    *,
    progress: Progress = no_progress,
) -> Volume:
    """Blocks around the depth samples, at the finest voxel size the budget has room for.

    Raises:
        ReconstructionError: no block is seen by enough depth samples, or the cameras lie so far
            from the origin that blocks have no numbers there.
    """
    voxel = config.voxel_size_m or config.voxel_factor * statistics.footprint
    while True:
        check_reach(maps, BLOCK * voxel)
        keys, n_views, n_samples = _touched(maps, voxel, statistics, config, progress)
        if len(keys) <= _STRAY_BLOCKS * config.max_voxels / BLOCK**3:
            coords = _wanted(maps, keys, n_views, n_samples, voxel, config)
            n_voxels = len(coords) * BLOCK**3
            if n_voxels <= config.max_voxels:
                break
        else:
            n_voxels = len(keys) * BLOCK**3
        coarser = voxel * max(1.1, 1.05 * np.sqrt(n_voxels / config.max_voxels))
        logger.warning(
            "voxels of size %.3g would be %.3g in number, more than there may be (%.3g; in a run "
            "--surface.max-voxels): they get the size %.3g",
            voxel, n_voxels, config.max_voxels, coarser,
        )  # fmt: skip
        voxel = float(coarser)
    if len(coords) == 0:
        raise no_surface(voxel, statistics, config)
    band = np.array(
        [config.truncation_voxels * voxel, config.noise_factor * statistics.relative_noise]
    )
    logger.info("%d blocks of voxels of %.4g", len(coords), voxel)
    limit = config.max_footprint_voxels * voxel
    return Volume(voxel, coords, _neighbors(coords), band, limit)


def no_surface(
    voxel: float, statistics: DepthStatistics, config: FusionConfig
) -> ReconstructionError:
    """Why no surface came out: too small voxels take no pixel in, or are met by too few each."""
    if voxel < _SMALLEST * statistics.footprint:
        return ReconstructionError(
            f"Voxels of {voxel:.3g} are too small for these depth maps, a pixel of which covers "
            f"{statistics.footprint:.3g}: no surface comes out.",
            where="--surface.voxel-size-m",
            next_step=f"Choose voxels of {config.voxel_factor * statistics.footprint:.2g} or so "
            "(--surface.voxel-size-m), or leave their size to the depth maps.",
        )
    return ReconstructionError(
        "The depth maps do not agree on any surface.",
        where="depth maps",
        next_step="Add photos that overlap by 60 % or more and show texture, or give "
        "--surface.bounds-m around the scene.",
    )


def _touched(
    maps: DepthMaps,
    voxel: float,
    statistics: DepthStatistics,
    config: FusionConfig,
    progress: Progress,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Sorted keys of the blocks that at least one view shows, their numbers of views and samples.

    Ends early, with all keys found so far, when they are far more than the budget.
    """
    table = BlockTable.empty()
    reach = np.array([2.0 * voxel, min(statistics.relative_noise, 0.02)])
    n = len(maps.views)
    for index in range(n):
        progress(index / n, f"finding the surface: {index}/{n} depth maps")
        footprint = config.max_footprint_voxels * voxel
        prepared = prepare_view(maps, index, footprint, keep_weak=config.keep_weak)
        rotation = prepared.view.cam_from_world[:, :3]
        rays = rotation.T @ np.linalg.inv(prepared.view.K)
        row = 0
        while row < prepared.depth.shape[0]:
            table.reserve(max(4 * prepared.depth.shape[1], len(table.keys) // 8))
            table.used, row = touch_blocks(
                table.keys, table.stats, table.used, len(table.keys) // 2 + 1, index, row,
                prepared.depth, reach, prepared.view.center_in_world, rays,
                BLOCK * voxel, _MIN_SAMPLES,
            )  # fmt: skip
        if table.used > (_STRAY_BLOCKS + 1) * config.max_voxels / BLOCK**3 + 1_000_000:
            none = np.zeros(table.used, np.int32)
            return table.keys[table.keys != -1], none, none
    taken = (table.keys != -1) & (table.stats[:, 2] > 0)
    keys, n_views, n_samples = table.keys[taken], table.stats[taken, 2], table.stats[taken, 3]
    order = np.argsort(keys)
    return keys[order], n_views[order], n_samples[order]


def _wanted(
    maps: DepthMaps,
    keys: NDArray[np.int64],
    n_views: NDArray[np.int32],
    n_samples: NDArray[np.int32],
    voxel: float,
    config: FusionConfig,
) -> NDArray[np.int32]:
    """Coordinates of the blocks that enough views see and that lie within the bounds."""
    coords = unpack_array(keys)
    if len(coords) == 0:
        return coords
    enough = n_views >= min(config.min_views, len(maps.views))
    if config.keep_weak:
        enough |= n_samples >= _MIN_SAMPLES_WEAK
    centers = (coords.astype(np.float64) + 0.5) * (BLOCK * voxel)
    alone = np.flatnonzero(~enough)
    enough[alone] = _looking(maps, centers[alone]) <= 3
    if config.bounds_m is not None:
        half = 0.5 * BLOCK * voxel
        low, high = np.array(config.bounds_m[:3]) - half, np.array(config.bounds_m[3:]) + half
        return coords[enough & ((centers >= low) & (centers <= high)).all(1)]
    low, high = _robust_extent(centers[n_views >= 2] if (n_views >= 2).any() else centers)
    low_block = np.floor(low / (BLOCK * voxel))
    high_block = np.minimum(np.ceil(high / (BLOCK * voxel)), low_block + _MAX_WIDTH - 1)
    enough &= ((coords >= low_block) & (coords <= high_block)).all(1)
    inside: NDArray[np.int32] = coords[enough]
    return inside


def _robust_extent(
    centers: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Box (low, high) around all but far outliers.

    One margin for all axes: a tower may stand out of a plain.
    """
    low, high = np.percentile(centers, [0.5, 99.5], axis=0)
    margin = 0.5 * (high - low).max() + 1e-9
    return low - margin, high + margin


def _looking(maps: DepthMaps, points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number of views that have each point in their image."""
    count = np.zeros(len(points), np.int64)
    for view in maps.views:
        pixels, depth = view.project(points)
        inside = (pixels >= 0).all(1) & (pixels < (view.width, view.height)).all(1)
        count += inside & (depth > 0)
    return count


def _neighbors(coords: NDArray[np.int32]) -> NDArray[np.int32]:
    keys = pack_array(coords)
    out = np.full((len(coords), 8), -1, np.int32)
    for n in range(8):
        wanted = pack_array(coords + np.array([n & 1, n >> 1 & 1, n >> 2 & 1], np.int32))
        row = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        out[:, n] = np.where(keys[row] == wanted, row, -1)
    return out
