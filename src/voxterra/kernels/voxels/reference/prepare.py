"""Slow twin of `prepare`: records of voxels for a view, differentiable, in any precision."""

from __future__ import annotations

import torch
from torch import Tensor

from voxterra.kernels.voxels.math import C_CENTER
from voxterra.kernels.voxels.reference.sh import sh_color

GRADIENT_MIN = 1e-12
"""A shorter gradient of the distances has no direction; its normal is 0."""


def corner_signs(like: Tensor) -> Tensor:
    """[8, 3] of -1 and +1: on which side of the voxel's centre corner c = 4x + 2y + z lies."""
    c = torch.arange(8, device=like.device)
    bits = torch.stack([(c >> 2) & 1, (c >> 1) & 1, c & 1], 1)
    return (2 * bits - 1).to(like.dtype)


def center_gradient(corners: Tensor, size: Tensor) -> Tensor:
    """Gradient [N, 3] of the trilinear function at the centres.

    Args:
        corners: [N, 8] values at the corners.
        size: [N] edges of the voxels.
    """
    return corners @ corner_signs(corners) / (4 * size[:, None])


def unit_normal(gradient: Tensor) -> Tensor:
    """Unit vectors [N, 3]; 0 where the gradient vanishes."""
    squared = (gradient * gradient).sum(1, keepdim=True)
    known = squared > GRADIENT_MIN**2
    length = torch.where(known, squared, torch.ones_like(squared)).sqrt()
    return torch.where(known, gradient / length, torch.zeros_like(gradient))


def prepare(
    lo_size: Tensor,
    level: Tensor,
    corner_index: Tensor,
    sdf: Tensor,
    sh0: Tensor,
    shs: Tensor,
    sharpness: Tensor,
    camera: Tensor,
    degree: int,
) -> Tensor:
    """Records [N, 20] in the layout R_* of `kernels.voxels.math`; R_RGB2 is |colour|^2.

    Args:
        lo_size: [N, 4] lower corner in world and edge of each voxel.
        level: [N] octree level.
        corner_index: [N, 8] index of corner c = 4x + 2y + z.
        sdf: [M] signed distance at the corners, world units, positive in free space.
        sh0: [N, 3] colour coefficients of degree 0.
        shs: [N, K - 1, 3] colour coefficients of higher degrees.
        sharpness: [17] s of each octree level [1 / world unit].
        camera: [20] in the layout C_*.
        degree: highest degree of the colours.
    """
    lo, size = lo_size[:, :3], lo_size[:, 3]
    corners = sdf[corner_index.long()]
    offset = lo + 0.5 * size[:, None] - camera[C_CENTER : C_CENTER + 3]
    direction = offset / offset.norm(dim=1, keepdim=True).clamp_min(1e-20)
    rgb = sh_color(sh0, shs, direction, degree)
    normal = unit_normal(center_gradient(corners, size))
    rgb2 = (rgb * rgb).sum(1, keepdim=True)
    s = sharpness[level.long()][:, None]
    return torch.cat([lo_size, corners, rgb, normal, rgb2, s], 1)
