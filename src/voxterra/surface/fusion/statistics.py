"""What the depth maps say about themselves: pixel footprint, depth noise, typical depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.depth import DepthMap, DepthMaps
from voxterra.errors import ReconstructionError

# Disagreement of two views above this fraction of the depth is an occlusion, not noise.
_OCCLUSION = 0.03
_MAX_MAPS = 12
_MAX_SAMPLES = 20_000


@dataclass(frozen=True)
class DepthStatistics:
    """Typical values over the depth maps.

    Attributes:
        footprint: median extent of a depth pixel, seen head-on [world units].
        depth: median depth [world units].
        relative_noise: standard deviation of a depth, as a fraction of it.
    """

    footprint: float
    depth: float
    relative_noise: float


def depth_statistics(
    maps: DepthMaps, bounds: tuple[float, float, float, float, float, float] | None = None
) -> DepthStatistics:
    """Statistics from a dozen maps spread over the set.

    Noise is the median disagreement between each of these maps and its nearest neighbour view.

    Args:
        maps: measured, or rendered of a model.
        bounds: world box (x_min, y_min, z_min, x_max, y_max, z_max); the footprint is that of what
            lies in it, if anything does. A model's sky, far outside, has larger pixels.

    Raises:
        ReconstructionError: no map has any depth.
    """
    n_views = len(maps.views)
    chosen = np.unique(np.linspace(0, n_views - 1, min(n_views, _MAX_MAPS)).astype(int))
    centers = np.array([v.center_in_world for v in maps.views]).reshape(-1, 3)
    all_footprints, all_inside, all_depths, residuals = [], [], [], []
    for index in chosen:
        depth_map = maps.load(int(index))
        points, depths = _sample(depth_map)
        if len(depths) == 0:
            continue
        K = depth_map.view.K
        all_depths.append(depths)
        all_footprints.append(depths / np.sqrt(K[0, 0] * K[1, 1]))
        if bounds is not None:
            all_inside.append(((points > bounds[:3]) & (points < bounds[3:])).all(axis=1))
        distances = np.linalg.norm(centers - centers[index], axis=1)
        distances[index] = np.inf
        if n_views > 1:
            residuals.append(_residuals(points, maps.load(int(np.argmin(distances)))))
    if not all_depths:
        raise ReconstructionError(
            "None of the depth maps has a depth.",
            where="depth maps",
            next_step="Add photos that overlap by 60 % or more and show texture.",
        )
    r = np.concatenate(residuals) if residuals else np.zeros(0)
    # Both views are noisy, hence the square root of two.
    noise = 1.4826 * float(np.median(np.abs(r))) / np.sqrt(2) if len(r) >= 50 else 0.002
    footprints = np.concatenate(all_footprints)
    if all_inside and (inside := np.concatenate(all_inside)).any():
        footprints = footprints[inside]
    return DepthStatistics(
        footprint=float(np.median(footprints)),
        depth=float(np.median(np.concatenate(all_depths))),
        relative_noise=max(noise, 1e-5),
    )


def _sample(depth_map: DepthMap) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """World points and depths of pixels on a regular pattern."""
    rows, columns = np.nonzero(depth_map.depth > 0)
    step = max(1, len(rows) // _MAX_SAMPLES)
    rows, columns = rows[::step], columns[::step]
    depths = depth_map.depth[rows, columns].astype(np.float64)
    pixels = np.column_stack([columns + 0.5, rows + 0.5])
    return depth_map.view.unproject(pixels, depths), depths


def _residuals(points: NDArray[np.float64], other: DepthMap) -> NDArray[np.float64]:
    """Relative difference of the depths of points to those that another view has there."""
    pixels, depths = other.view.project(points)
    height, width = other.depth.shape
    columns, rows = np.floor(pixels).astype(np.int64).T
    inside = (depths > 0) & (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    columns, rows, depths = columns[inside], rows[inside], depths[inside]
    measured = other.depth[rows, columns].astype(np.float64)
    # Along the plane of the measured pixel, so that slant is not taken for noise.
    K, normal = other.view.K, other.normal[rows, columns].astype(np.float64)
    f, c = np.array([K[0, 0], K[1, 1]]), K[:2, 2]
    ray = np.column_stack([(np.column_stack([columns, rows]) + 0.5 - c) / f, np.ones(len(rows))])
    ray_of_point = np.column_stack([(pixels[inside] - c) / f, np.ones(len(rows))])
    facing = (normal * ray_of_point).sum(1)
    planar = facing < -0.1
    expected = np.where(
        planar, measured * (normal * ray).sum(1) / np.where(planar, facing, 1.0), measured
    )
    residual = (depths - expected) / depths
    seen: NDArray[np.float64] = residual[(measured > 0) & (np.abs(residual) < _OCCLUSION)]
    return seen
