"""Depth maps to one point cloud: what several views agree on, one point a voxel."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from voxterra.core.depth import DepthMaps
from voxterra.core.mesh import PointCloud
from voxterra.core.progress import Progress, no_progress
from voxterra.errors import ReconstructionError
from voxterra.kernels.fusion.blocks import accumulate_points, rehash_rows, unpack_array
from voxterra.kernels.fusion.tsdf import count_agreeing
from voxterra.surface.fusion.config import FusionConfig
from voxterra.surface.fusion.statistics import DepthStatistics, depth_statistics
from voxterra.surface.fusion.views import PreparedView, ViewCache, check_reach

logger = logging.getLogger(__name__)

# Normal and colour, then confidence.
_FEATURES = 7


class _Cells:
    """Weighted sums of points by cell, in a hash table that grows."""

    def __init__(self, cell: float):
        self.cell = cell
        self.keys = np.full(1 << 18, -1, np.int64)
        self.rows = np.zeros(1 << 18, np.int32)
        self.sums = np.zeros((1 << 17, 4 + _FEATURES), np.float32)
        self.used = 0

    def add(
        self,
        points: NDArray[np.float64],
        features: NDArray[np.float32],
        weights: NDArray[np.float32],
    ) -> None:
        done = 0
        while True:
            self.used, done = accumulate_points(
                self.keys, self.rows, self.sums, self.used, len(self.sums), done,
                points, features, weights, self.cell,
            )  # fmt: skip
            if done == len(points):
                return
            keys, rows = np.full(2 * len(self.keys), -1, np.int64), np.repeat(self.rows, 2)
            rehash_rows(self.keys, self.rows, keys, rows)
            self.keys, self.rows = keys, rows
            self.sums = np.concatenate([self.sums, np.zeros_like(self.sums)])

    def means(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Positions (N, 3) and features (N, C), sorted by cell."""
        taken = np.flatnonzero(self.keys != -1)
        taken = taken[np.argsort(self.keys[taken])]
        sums = self.sums[self.rows[taken]]
        mean = sums[:, 1:] / sums[:, :1]
        centers = (unpack_array(self.keys[taken]) + 0.5) * self.cell
        return (centers + mean[:, :3]).astype(np.float32), mean[:, 3:]


def fuse_cloud(
    maps: DepthMaps,
    config: FusionConfig = FusionConfig(),
    *,
    progress: Progress = no_progress,
) -> PointCloud:
    """Points that at least `config.min_views` views agree on, averaged in each voxel.

    Voxels are enlarged, with a warning, until there are no more than `config.max_points`.

    Args:
        maps: depth maps in one world frame.
        config: options.
        progress: told how far it is.

    Returns:
        Positions (float32), colours, unit normals in world towards the cameras, and confidence:
        that of the depth maps times the share of looking views that agree. Sorted by voxel.

    Raises:
        ReconstructionError: no two depth maps agree anywhere, or the cameras lie so far from the
            origin that voxels have no numbers there.
    """
    if len(maps.views) == 0:
        raise _nothing()
    statistics = depth_statistics(maps)
    cell = (
        config.cloud_voxel_size_m
        or config.voxel_size_m
        or config.voxel_factor * statistics.footprint
    )
    neighbors = _nearest_views(maps, config.cloud_neighbors)
    while True:
        cells, done = _collect(maps, neighbors, cell, statistics, config, progress)
        if cells.used <= config.max_points:
            break
        # Between all photos showing the same and each showing something else.
        expected = cells.used / np.sqrt(done)
        coarser = cell * max(1.1, 1.05 * np.sqrt(expected / config.max_points))
        logger.warning(
            "a spacing of %.3g makes about %.3g points, more than --surface.max-points (%.3g): "
            "it becomes %.3g", cell, expected, config.max_points, coarser,
        )  # fmt: skip
        cell = float(coarser)
    if cells.used == 0:
        raise _nothing()
    progress(1.0, f"{cells.used} points")
    return _to_cloud(*cells.means())


def _collect(
    maps: DepthMaps,
    neighbors: list[NDArray[np.int64]],
    cell: float,
    statistics: DepthStatistics,
    config: FusionConfig,
    progress: Progress,
) -> tuple[_Cells, float]:
    """Points that views agree on by cell, and the share of views they come from.

    Ends early when there are more than `config.max_points`.
    """
    check_reach(maps, cell)
    cells, n = _Cells(cell), len(maps.views)
    cache = ViewCache(
        maps,
        config.max_footprint_voxels * cell,
        config.view_cache_mb << 20,
        keep_weak=config.keep_weak,
    )
    tolerance = max(min(config.cloud_tolerance, 5.0 * statistics.relative_noise), 0.002)
    for index in range(n):
        progress(index / n, f"collecting points: {index}/{n} depth maps")
        view = cache.get(index)
        agreeing = np.zeros(view.depth.shape, np.uint8)
        looking = np.zeros(view.depth.shape, np.uint8)
        for other in neighbors[index]:
            _compare(view, cache.get(int(other)), tolerance, agreeing, looking)
        needed = min(config.min_views - 1, n - 1)
        keep = (view.depth > 0) & (agreeing >= needed) & (2 * agreeing >= looking)
        cells.add(*_points(view, keep, agreeing, looking, statistics.depth, config))
        if cells.used > config.max_points:
            return cells, (index + 1) / n
    return cells, 1.0


def _nothing() -> ReconstructionError:
    return ReconstructionError(
        "The depth maps do not agree on any point.",
        where="depth maps",
        next_step="Add photos that overlap by 60 % or more and show texture.",
    )


def _nearest_views(maps: DepthMaps, count: int) -> list[NDArray[np.int64]]:
    """For each view the views nearest by position that look the same way within 90 degrees."""
    centers = np.array([v.center_in_world for v in maps.views])
    axes = np.array([v.cam_from_world[2, :3] for v in maps.views])
    out = []
    for i in range(len(centers)):
        distance = np.linalg.norm(centers - centers[i], axis=1)
        distance[axes @ axes[i] <= 0] = np.inf
        distance[i] = np.inf
        order = np.argsort(distance, kind="stable")[:count]
        out.append(order[np.isfinite(distance[order])])
    return out


def _compare(
    view: PreparedView,
    other: PreparedView,
    tolerance: float,
    agreeing: NDArray[np.uint8],
    looking: NDArray[np.uint8],
) -> None:
    rotation = other.view.cam_from_world[:, :3] @ view.view.cam_from_world[:, :3].T
    translation = other.view.cam_from_world[:, 3] - rotation @ view.view.cam_from_world[:, 3]
    transform = np.ascontiguousarray(np.column_stack([rotation, translation]))
    count_agreeing(
        view.depth, view.intrinsics, transform, other.depth, other.sample, other.intrinsics,
        tolerance, agreeing, looking,
    )  # fmt: skip


def _points(
    view: PreparedView,
    keep: NDArray[np.bool_],
    agreeing: NDArray[np.uint8],
    looking: NDArray[np.uint8],
    reference_depth: float,
    config: FusionConfig,
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float32]]:
    """World points, features (normal in world, colour, confidence) and weights of kept pixels."""
    rows, columns = np.nonzero(keep)
    depth = view.depth[rows, columns].astype(np.float64)
    points = view.view.unproject(np.column_stack([columns + 0.5, rows + 0.5]), depth)
    sample = view.sample[rows, columns]
    rotation = view.view.cam_from_world[:, :3].astype(np.float32)
    normals = ((sample[:, :3].astype(np.float32) - 127.0) / 127.0) @ rotation
    own = sample[:, 3].astype(np.float32) / 255.0
    share = (1.0 + agreeing[rows, columns]) / (1.0 + looking[rows, columns])
    confidence = (own * share).astype(np.float32)
    features = np.column_stack([normals, sample[:, 4:7], confidence]).astype(np.float32)
    weights = (own * (reference_depth / depth) ** 2).astype(np.float32)
    if config.bounds_m is not None:
        low, high = np.array(config.bounds_m[:3]), np.array(config.bounds_m[3:])
        inside = ((points >= low) & (points <= high)).all(1)
        return points[inside], features[inside], weights[inside]
    return points, features, weights


def _to_cloud(positions: NDArray[np.float32], features: NDArray[np.float32]) -> PointCloud:
    length = np.linalg.norm(features[:, :3], axis=1, keepdims=True)
    normals = np.where(length > 1e-6, features[:, :3] / np.maximum(length, 1e-6), 0.0)
    return PointCloud(
        positions,
        np.rint(np.clip(features[:, 3:6], 0, 255)).astype(np.uint8),
        normals.astype(np.float32),
        np.clip(features[:, 6], 0, 1).astype(np.float32),
    )
