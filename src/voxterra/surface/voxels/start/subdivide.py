"""Fine voxels only where photos see the first surface, and depth maps measured it.

A first surface has sides that no photo shows: what a fill closed, the rim of what was seen. A
coarse octree is rendered in the training views, and only voxels that show up are divided. What
shows up but was only guessed at stays coarser: it may be far off, and the training splits it where
the photos ask for more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from voxterra.kernels.voxels import math as layout
from voxterra.surface.voxels.model.render import Voxels
from voxterra.surface.voxels.octree import Octree, corner_positions, split
from voxterra.surface.voxels.octree.footprint import pixel_footprints
from voxterra.surface.voxels.octree.query import crossing, min_abs, voxel_centers
from voxterra.surface.voxels.training.adapt import max_weights
from voxterra.surface.voxels.training.targets import Target

logger = logging.getLogger(__name__)

COARSER = 4.0
"""The octree to begin with has voxels this much larger than wanted."""
SHOWN = 0.02
"""Least blending weight in a pixel of some view."""
NEAR = 0.25
"""Voxels with a corner this near to the surface, in edges, are divided with those it crosses."""
GUESSED = 4.0
"""Where no depth map measured, voxels may be this much larger."""
MEASURED = 1.0
"""A voxel whose centre is within this many edges of a depth in its pixel was measured."""
FEW = 0.01
"""Dividing ends where less than this part of the voxels is left to divide: each round renders all
views, and behind what was divided a few more always come to light. The training splits them."""


def divide_seen(
    octree: Octree,
    sdf: Tensor,
    sdf_at: Callable[[Tensor], Tensor],
    voxels_of: Callable[[Octree, Tensor], Voxels],
    targets: Sequence[Target],
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
        targets: what is trained on.
        pixels: voxels of more than this many pixels are divided, those that no depth map measured
            of more than `GUESSED` times as many.
        max_level: finest level, from the root.
        max_voxels: budget; the voxels with the most pixels go first.

    Returns:
        the octree and float32[M] distances.
    """
    kernels, views = [t.kernel for t in targets], [t.view for t in targets]
    while True:
        weight = max_weights(voxels_of(octree, sdf), kernels)
        edge = octree.lo_size[:, 3]
        size = edge / pixel_footprints(octree, views)
        size = torch.where(measuring_views(octree, targets) > 0, size, size / GUESSED)
        chosen = (weight > SHOWN) & (size > pixels) & (octree.level < max_level)
        chosen &= crossing(octree, sdf) | (min_abs(octree, sdf) < NEAR * edge)
        room = max(0, max_voxels - len(edge)) // 7
        wanted = int(chosen.sum())
        if wanted > room:
            logger.info("start: dividing %d of %d voxels: max_voxels", room, wanted)
            at = torch.topk(torch.where(chosen, size, 0.0), room).indices
            chosen = torch.zeros_like(chosen)
            chosen[at] = True
        if wanted <= FEW * len(edge) or not room:
            return octree, sdf
        octree, _ = split(octree, chosen)
        sdf = sdf_at(corner_positions(octree)).float()
        if wanted > room:
            return octree, sdf


def measuring_views(octree: Octree, targets: Sequence[Target]) -> Tensor:
    """int32[N]: how many views' depth maps measured each voxel."""
    center, edge = voxel_centers(octree).float(), octree.lo_size[:, 3]
    out = torch.zeros(len(edge), dtype=torch.int32, device=edge.device)
    for target in targets:
        if target.prior is None:
            continue
        row, column, depth, seen = pixels_of(center, target)
        known = target.prior.depth.to(edge.device)
        there = known[scaled(row, column, target, known)]
        out += seen & (there > 0) & ((there - depth).abs() < MEASURED * edge)
    return out


def scaled(row: Tensor, column: Tensor, target: Target, image: Tensor) -> tuple[Tensor, Tensor]:
    """Where pixels of the rendered view lie in an image (H, W, ...) of the same view."""
    height, width = image.shape[:2]
    row = (row * height).div(target.kernel.height, rounding_mode="floor")
    column = (column * width).div(target.kernel.width, rounding_mode="floor")
    return row.clamp_(max=height - 1), column.clamp_(max=width - 1)


def pixels_of(points: Tensor, target: Target) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Row, column and depth of (N, 3) points in the rendered view, and whether they are in it."""
    camera = target.kernel.camera
    rotation = camera[layout.C_ROTATION : layout.C_ROTATION + 9].reshape(3, 3)
    in_cam = (points - camera[layout.C_CENTER : layout.C_CENTER + 3]) @ rotation
    depth = in_cam[:, 2]
    ahead = depth > camera[layout.C_NEAR]
    inverse = torch.where(ahead, 1.0 / depth, 0.0)
    column = (in_cam[:, 0] * inverse * camera[layout.C_FX] + camera[layout.C_CX]).floor().long()
    row = (in_cam[:, 1] * inverse * camera[layout.C_FY] + camera[layout.C_CY]).floor().long()
    width, height = target.kernel.width, target.kernel.height
    seen = ahead & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return row.clamp_(0, height - 1), column.clamp_(0, width - 1), depth, seen
