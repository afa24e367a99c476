"""The losses on a rendered image, put together from the options."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from voxterra.kernels.voxels import math as layout
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.losses import exposure, normals, photometric, pixels, priors, rays
from voxterra.surface.voxels.losses.pixels import Pixels
from voxterra.surface.voxels.render import downsample
from voxterra.surface.voxels.schedule import Schedule
from voxterra.surface.voxels.targets import Target


@dataclass(frozen=True)
class Objective:
    """Result of `image_loss`.

    Attributes:
        grad_pixels: (H', W', 12) gradient for the rendered channels.
        psnr: () of the composed image against the photo [dB].
        terms: unweighted losses by option name, for the curves.
        grad_exposure: (3, 4) or None.
        depth: (H, W) mean depth, without gradient; 0 = none.
    """

    grad_pixels: Tensor
    psnr: Tensor
    terms: dict[str, Tensor]
    grad_exposure: Tensor | None
    depth: Tensor


def image_loss(
    full: Tensor,
    target: Target,
    background: Tensor,
    config: VoxelConfig,
    iteration: int,
    exposure_matrix: Tensor | None = None,
    extra: tuple[object, ...] = (),
) -> Objective:
    """Losses of one view and their gradient for its rendered channels.

    Args:
        full: (H', W', 12) as rendered, `ss` times the image.
        target: the view.
        background: (3,) colour of what no voxel covers.
        config, iteration: options, and iterations done.
        exposure_matrix: (3, 4) affine exposure of the view, or None.
        extra: further losses, called with (channels, target) -> dict of weighted terms.
    """
    view = target.view
    leaf = full.detach().requires_grad_(full.shape[:2] != (view.height, view.width))
    small = downsample(leaf, view.height, view.width)
    channels = pixels.split(small)
    photo, mask = target.color, target.weight
    color = channels.rgb + channels.transmittance[..., None] * background
    matrix = None
    if exposure_matrix is not None:
        matrix = exposure_matrix.detach().requires_grad_()
        color = exposure.apply(color, matrix)
    terms = _terms(channels, color, photo, mask, target, config, iteration)
    for more in extra:
        terms.update(more(channels, target))  # type: ignore[operator]
    total = torch.stack([weight * value for weight, value in terms.values()]).sum()
    total.backward()  # type: ignore[no-untyped-call]
    grad = pixels.gradient(channels)
    if leaf.requires_grad:
        (grad,) = torch.autograd.grad(small, leaf, grad)
    with torch.no_grad():
        psnr = photometric.psnr(color, photo)
        depth = pixels.mean_depth(channels.depth_sum, channels.transmittance)
    return Objective(
        grad.contiguous(),
        psnr,
        {name: value.detach() for name, (_, value) in terms.items()},
        None if matrix is None else matrix.grad,
        depth.detach(),
    )


Terms = dict[str, tuple[float, Tensor]]


def _terms(
    channels: Pixels,
    color: Tensor,
    photo: Tensor,
    mask: Tensor | None,
    target: Target,
    config: VoxelConfig,
    iteration: int,
) -> Terms:
    """Weight and value of every term that is active now."""
    c, schedule = config, Schedule(config)
    at = schedule.reference(iteration)
    out: Terms = {"photo": (c.lambda_photo, photometric.photometric(color, photo, c.photo_loss))}
    if c.lambda_ssim and min(color.shape[:2]) >= photometric.WINDOW:
        out["ssim"] = (c.lambda_ssim, 1.0 - photometric.ssim(color, photo))
    if c.lambda_mask and mask is not None:
        out["mask"] = (c.lambda_mask, rays.mask_loss(channels.transmittance, mask))
    if c.lambda_R_concen:
        out["R_concen"] = (c.lambda_R_concen, rays.color_concentration(channels, photo))
    if c.lambda_T_concen:
        out["T_concen"] = (c.lambda_T_concen, rays.transmittance_concentration(channels))
    if c.lambda_T_inside:
        out["T_inside"] = (c.lambda_T_inside, rays.transmittance_inside(channels))
    if c.lambda_dist and at >= c.dist_from:
        out["dist"] = (c.lambda_dist, rays.distortion(channels))
    if at >= c.normal_from and (c.lambda_normal_dmean or c.lambda_normal_dmed):
        out.update(_normal_terms(channels, target, c))
    if target.prior is not None and at < c.prior_until:
        out.update(_prior_terms(channels, target, c, schedule, iteration))
    if c.lambda_sparse_depth and at < c.sparse_depth_until and len(target.sparse_depth):
        depth = pixels.mean_depth(channels.depth_sum, channels.transmittance)
        value = priors.sparse_depth(
            depth, channels.transmittance, target.sparse_xy, target.sparse_depth
        )
        out["sparse_depth"] = (c.lambda_sparse_depth, value)
    return out


def _normal_terms(channels: Pixels, target: Target, c: VoxelConfig) -> Terms:
    out: Terms = {}
    normal, light, camera = channels.normal, channels.transmittance, target.camera
    if c.lambda_normal_dmean:
        depth = pixels.mean_depth(channels.depth_sum, light)
        value = normals.normal_consistency(normal, depth, light, camera)
        out["normal_dmean"] = (c.lambda_normal_dmean, value)
    if c.lambda_normal_dmed:
        value = normals.normal_consistency(normal, channels.median, light, camera)
        out["normal_dmed"] = (c.lambda_normal_dmed, value)
    return out


def _prior_terms(
    channels: Pixels, target: Target, c: VoxelConfig, schedule: Schedule, iteration: int
) -> Terms:
    assert target.prior is not None
    out: Terms = {}
    device = channels.rgb.device
    depth, normal, confidence = (
        tensor.to(device, non_blocking=True)
        for tensor in (target.prior.depth, target.prior.normal, target.prior.confidence)
    )
    late = schedule.reference(iteration) / max(1, c.prior_until)
    if c.lambda_prior_depth:
        rendered = pixels.mean_depth(channels.depth_sum, channels.transmittance)
        value = priors.prior_depth(rendered, channels.transmittance, depth, confidence, late)
        out["prior_depth"] = (c.lambda_prior_depth, value)
    if c.lambda_prior_normal:
        value = priors.prior_normal(
            channels.normal, channels.transmittance, normal, confidence, late
        )
        out["prior_normal"] = (c.lambda_prior_normal, value)
    return out
