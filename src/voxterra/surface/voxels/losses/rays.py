"""Losses on the weights along a ray, from the moments that the renderer sums up.

With w_i the blending weights of a ray's segments: sum w_i = 1 - T, sum w_i c_i = rgb,
sum w_i |c_i|^2 = rgb2. All [H, W] or [H, W, 3]; every loss is a mean over the pixels of `mask`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from voxterra.surface.voxels.losses.pixels import masked_mean


def color_concentration(
    rgb: Tensor, rgb2: Tensor, transmittance: Tensor, photo: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Mean of sum_i w_i |c_i - p|^2 against the photo's colour p (`lambda_R_concen`).

    From the moments: rgb2 - 2 p . rgb + |p|^2 (1 - T). DVGO (arXiv 2111.11215), per-point loss;
    SVRaster (arXiv 2412.04459).

    Args:
        rgb: [H, W, 3] rendered, without background.
        rgb2: [H, W].
        transmittance: [H, W].
        photo: [H, W, 3].
        mask: [H, W] or None.
    """
    if mask is not None:
        photo = torch.where(mask.bool()[..., None], photo, 0.0)
    opacity = 1.0 - transmittance
    values = rgb2 - 2 * (photo * rgb).sum(-1) + photo.square().sum(-1) * opacity
    return masked_mean(values, mask)


def transmittance_concentration(transmittance: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of T^2 (1 - T)^2: rays either pass or are stopped (`lambda_T_concen`).

    Squared, so that decided rays (T near 0 or 1) are left alone.
    """
    return masked_mean((transmittance * (1.0 - transmittance)).square(), mask)


def transmittance_inside(transmittance: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of T^2: rays end inside of the scene's bound (`lambda_T_inside`)."""
    return masked_mean(transmittance.square(), mask)


def mask_loss(transmittance: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of (1 - T - mask)^2 (`lambda_mask`).

    Squares rather than cross entropy: its slope 1 / T grows to the renderer's cut-off (1e4), so
    the few pixels on which a mask is wrong, along its border, would outweigh all others.

    Args:
        transmittance: [H, W].
        mask: [H, W], 1 (or True) = object, 0 = background; fractions at borders.
        weight: [H, W], where to compare; None = everywhere.
    """
    return masked_mean((1.0 - transmittance - mask.to(transmittance.dtype)).square(), weight)


def distortion(values: Tensor, scene_depth: Tensor | float, mask: Tensor | None = None) -> Tensor:
    """Mean of sum_ij w_i w_j |t_i - t_j| in units of the scene's depth (`lambda_dist`).

    Mip-NeRF 360 (arXiv 2111.12077), eq. 15, without the widths of the segments.

    Args:
        values: [H, W] as rendered, in world units.
        scene_depth: a typical depth of the view; dividing by it makes one weight fit all scenes.
        mask: [H, W] or None.
    """
    return masked_mean(values, mask) / scene_depth


def ascending(rise: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean rise of the distance along a ray up to its first hit (`lambda_ascending`).

    SVRaster (arXiv 2412.04459) asks of densities that they ascend along a ray; a signed distance
    descends. What rises, segment by segment in front of the median depth, counts in edges of its
    voxel: surfaces that hover in free space, and dents of the field there. What is hidden, and rays
    that hit nothing, do not count. A ray that passes close by one thing and hits another rises with
    good reason, so the weight should stay small.

    Args:
        rise: [H, W] as rendered (`kernels.voxels.math`, P_RISE) [voxels].
        mask: [H, W] or None.
    """
    return masked_mean(rise, mask)
