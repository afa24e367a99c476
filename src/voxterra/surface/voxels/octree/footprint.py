"""How large a pixel is at a place in the scene: what no voxel has to be much smaller than."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from voxterra.core.camera import PinholeView
from voxterra.surface.voxels.octree.octree import Octree
from voxterra.surface.voxels.octree.query import voxel_centers

MARGIN = 0.05
"""A view also sees what is this part of its size beside the image: a voxel whose centre is there
can reach into it."""
_PAIRS = 1 << 22
"""Points times views looked at together."""


def pixel_footprints(octree: Octree, views: Sequence[PinholeView]) -> Tensor:
    """[N] smallest size of a pixel at each leaf's centre; see `smallest_footprint`."""
    return smallest_footprint(voxel_centers(octree), views)


def smallest_footprint(points: Tensor, views: Sequence[PinholeView]) -> Tensor:
    """The smallest size of a pixel at each point, over the views that look there.

    That is depth over focal length. What may stand in between is not asked.

    Args:
        points: float[P, 3] in world.
        views: whose `K` belongs to the size that is trained on.

    Returns:
        float32[P] in world units, inf where no view looks.
    """
    smallest = torch.full((len(points),), torch.inf, device=points.device)
    if not views or not len(points):
        return smallest
    projection, limits, focal = (
        torch.from_numpy(a).to(points.device, torch.float32) for a in _cameras(views)
    )
    for part, out in zip(*(t.split(max(1, _PAIRS // len(views))) for t in (points, smallest))):
        seen = part.to(torch.float32) @ projection[:, :3].T + projection[:, 3]
        x, y, depth = seen.view(len(part), 3, -1).unbind(1)
        looks = depth > 0
        for value, size in ((x, limits[0]), (y, limits[1])):
            looks &= (value >= -MARGIN * size * depth) & (value <= (1 + MARGIN) * size * depth)
        out.copy_(torch.where(looks, depth / focal, torch.inf).amin(dim=1))
    return smallest


def _cameras(
    views: Sequence[PinholeView],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[3 V, 4] all first, second and third rows of K [R | t]; [2, V] sizes; [V] focal lengths."""
    rows = np.stack([v.K @ v.cam_from_world[:3, :4] for v in views], axis=1).reshape(-1, 4)
    sizes = np.array([[v.width for v in views], [v.height for v in views]], dtype=np.float64)
    focal = np.array([math.sqrt(v.K[0, 0] * v.K[1, 1]) for v in views])
    return rows, sizes, focal
