"""Fine voxels only where photos see the first surface.

A first surface has sides that no photo shows: what a fill closed, the rim of what was seen. A
coarse octree is rendered in the training views, and only voxels that show up are divided.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from voxterra.core.camera import PinholeView
from voxterra.kernels.voxels.plan import View
from voxterra.surface.voxels.adapt import max_weights
from voxterra.surface.voxels.allocate import crossing, min_abs, pixel_footprints
from voxterra.surface.voxels.octree import Octree, corner_positions, split
from voxterra.surface.voxels.render import Voxels

logger = logging.getLogger(__name__)

COARSER = 4.0
"""The octree to begin with has voxels this much larger than wanted."""
SHOWN = 0.02
"""Least blending weight in a pixel of some view."""
NEAR = 0.25
"""Voxels with a corner this near to the surface, in edges, are divided with those it crosses."""


def divide_seen(
    octree: Octree,
    sdf: Tensor,
    sdf_at: Callable[[Tensor], Tensor],
    voxels_of: Callable[[Octree, Tensor], Voxels],
    kernels: Sequence[View],
    views: Sequence[PinholeView],
    *,
    pixels: float,
    max_level: int,
    max_voxels: int,
) -> tuple[Octree, Tensor]:
    """Divide the seen voxels at the surface until they are `pixels` large, or the budget is spent.

    Args:
        octree, sdf: coarse start.
        sdf_at: first surface, float32[P, 3] in world -> [P].
        voxels_of: makes a model of an octree and its distances.
        kernels, views: the training views.
        pixels: voxels of more than this many pixels are divided.
        max_level: finest level, from the root.
        max_voxels: budget; the voxels with the most pixels go first.

    Returns:
        the octree and float32[M] distances.
    """
    while True:
        weight = max_weights(voxels_of(octree, sdf), kernels)
        edge = octree.lo_size[:, 3]
        size = edge / pixel_footprints(octree, views)
        chosen = (weight > SHOWN) & (size > pixels) & (octree.level < max_level)
        chosen &= crossing(octree, sdf) | (min_abs(octree, sdf) < NEAR * edge)
        room = max(0, max_voxels - len(edge)) // 7
        wanted = int(chosen.sum())
        if wanted > room:
            logger.info("start: dividing %d of %d voxels: max_voxels", room, wanted)
            at = torch.topk(torch.where(chosen, size, 0.0), room).indices
            chosen = torch.zeros_like(chosen)
            chosen[at] = True
        if not wanted or not room:
            return octree, sdf
        octree, _ = split(octree, chosen)
        sdf = sdf_at(corner_positions(octree)).float()
        if wanted > room:
            return octree, sdf
