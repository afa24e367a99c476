"""Which other views a view is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.kernels.voxels import math as km

_GRID = 6
"""Rays a side by which the overlap of two views is measured."""


@dataclass(frozen=True)
class NeighborConfig:
    """What makes a view a neighbour."""

    count: int = 4
    """Neighbours a view at most."""
    angle_min_deg: float = 1.0
    """Less parallax than this shows nothing of depth."""
    angle_best_deg: float = 10.0
    """Parallax that is preferred: enough for depth, little enough for patches to look alike."""
    angle_max_deg: float = 40.0
    """More than this, and a patch does not look alike."""
    turn_max_deg: float = 45.0
    """Largest angle between the optical axes."""
    overlap_min: float = 0.3
    """Smallest share of the view that the neighbour sees too."""
    scale_max: float = 2.0
    """Largest ratio of the sizes of a pixel on the surface."""


def choose_neighbors(
    cameras: NDArray[np.floating],
    depth: NDArray[np.floating],
    config: NeighborConfig = NeighborConfig(),
) -> NDArray[np.int32]:
    """Best neighbours of every view by parallax, overlap and scale.

    PGSR (arXiv 2406.06521) takes views within fixed angles and distances; here the distance is
    judged by the parallax at the scene's depth, so that the unit of length does not matter.

    Args:
        cameras: [V, CAMERA] rows (`kernels.voxels.math`, C_*).
        depth: [V] typical depth of the surface in each view; not positive or NaN = no neighbours.
        config: limits.

    Returns:
        [V, count] indices of views, best first; -1 = none.
    """
    rows, typical = cameras.astype(np.float64), depth.astype(np.float64)
    result = np.full((len(rows), config.count), -1, np.int32)
    usable = np.isfinite(typical) & (typical > 0)
    for view in np.nonzero(usable)[0]:
        score = _scores(rows, typical, int(view), config)
        score[~usable] = 0.0
        order = np.argsort(-score, kind="stable")[: config.count]
        order = order[score[order] > 0]
        result[view, : len(order)] = order
    return result


def _scores(
    cameras: NDArray[np.float64], depth: NDArray[np.float64], view: int, config: NeighborConfig
) -> NDArray[np.float64]:
    """Score [V] of every view as a neighbour of `view`; 0 = not one."""
    rotation = cameras[:, km.C_ROTATION : km.C_ROTATION + 9].reshape(-1, 3, 3)
    center = cameras[:, km.C_CENTER : km.C_CENTER + 3]
    points = _surface(cameras[view], depth[view])
    overlap = _seen(cameras, points).mean(axis=1)

    to_view = _unit(center[view] - points)
    to_other = _unit(center[:, None] - points)
    parallax = np.degrees(np.arccos(np.clip((to_view * to_other).sum(-1), -1, 1))).mean(axis=1)
    turn = np.degrees(np.arccos(np.clip(rotation[:, :, 2] @ rotation[view, :, 2], -1, 1)))

    distance = np.linalg.norm(center[:, None] - points, axis=-1).mean(axis=1)
    footprint = distance / cameras[:, km.C_FX]
    scale = np.maximum(footprint / footprint[view], footprint[view] / np.maximum(footprint, 1e-12))

    possible = (parallax >= config.angle_min_deg) & (parallax <= config.angle_max_deg)
    possible &= (turn <= config.turn_max_deg) & (overlap >= config.overlap_min)
    possible &= scale <= config.scale_max
    possible[view] = False
    # Falls on both sides of the best parallax, by its logarithm.
    ratio = np.log(np.maximum(parallax, 1e-6) / config.angle_best_deg)
    score: NDArray[np.float64] = np.where(possible, overlap * np.exp(-(ratio**2)) / scale, 0.0)
    return score


def _surface(camera: NDArray[np.float64], depth: float) -> NDArray[np.float64]:
    """Points [P, 3] in world over the whole image at a depth."""
    steps = (np.arange(_GRID) + 0.5) / _GRID
    x = (steps * camera[km.C_WIDTH] - camera[km.C_CX]) / camera[km.C_FX]
    y = (steps * camera[km.C_HEIGHT] - camera[km.C_CY]) / camera[km.C_FY]
    rays = np.stack(np.broadcast_arrays(x[None], y[:, None], 1.0), axis=-1).reshape(-1, 3)
    rotation = camera[km.C_ROTATION : km.C_ROTATION + 9].reshape(3, 3)
    points: NDArray[np.float64] = camera[km.C_CENTER : km.C_CENTER + 3] + depth * rays @ rotation.T
    return points


def _seen(cameras: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points [P, 3] lie in which camera's image, bool [V, P]."""
    rotation = cameras[:, km.C_ROTATION : km.C_ROTATION + 9].reshape(-1, 3, 3)
    local = (points - cameras[:, None, km.C_CENTER : km.C_CENTER + 3]) @ rotation
    z = local[..., 2]
    safe = np.where(z > 0, z, 1.0)
    x = local[..., 0] / safe * cameras[:, None, km.C_FX] + cameras[:, None, km.C_CX]
    y = local[..., 1] / safe * cameras[:, None, km.C_FY] + cameras[:, None, km.C_CY]
    seen: NDArray[np.bool_] = (z > 0) & (x >= 0) & (y >= 0)
    seen &= (x < cameras[:, None, km.C_WIDTH]) & (y < cameras[:, None, km.C_HEIGHT])
    return seen


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors divided by their lengths."""
    unit: NDArray[np.float64] = vectors / np.maximum(
        np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12
    )
    return unit
