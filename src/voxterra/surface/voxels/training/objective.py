"""The losses on a rendered image, put together from the options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from voxterra.kernels.voxels import math as layout
from voxterra.kernels.voxels.resample import shrink, shrink_backward
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.losses import exposure, normals, photometric, pixels, priors, rays
from voxterra.surface.voxels.losses.pixels import Pixels
from voxterra.surface.voxels.model.render import nearest_samples
from voxterra.surface.voxels.training.schedule import Schedule
from voxterra.surface.voxels.training.targets import Target

Terms = dict[str, tuple[float, Tensor]]
"""Weight and value by option name."""
Extra = Callable[[Pixels, Target], Terms]


Losses = Callable[..., "Objective"]
"""`image_loss`, or what does the same."""


@dataclass(frozen=True)
class Objective:
    """Result of `image_loss`.

    Attributes:
        grad_pixels: (H', W', 12) gradient for the rendered channels.
        psnr: () of the composed image against the photo [dB].
        terms: unweighted losses by option name, for the curves.
        grad_exposure: (3, 4) or None.
    """

    grad_pixels: Tensor
    psnr: Tensor
    terms: dict[str, Tensor]
    grad_exposure: Tensor | None


def image_loss(
    full: Tensor,
    target: Target,
    background: Tensor,
    config: VoxelConfig,
    iteration: int,
    exposure_matrix: Tensor | None = None,
    extra: tuple[Extra, ...] = (),
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
    small = full.detach()
    shrinks = small.shape[:2] != (view.height, view.width)
    if shrinks:
        small = shrink(small, view.height, view.width)
        # A mean of medians lies on no surface: the nearest sample.
        at = nearest_samples(full, view.height, view.width)
        small[..., layout.P_MEDIAN] = full.detach()[*at, layout.P_MEDIAN]
    channels = pixels.split(small)
    photo, mask = target.color, target.weight
    color = channels.rgb + channels.transmittance[..., None] * background
    matrix = None
    if exposure_matrix is not None:
        matrix = exposure_matrix.detach().requires_grad_()
        color = exposure.apply(color, matrix)
    if target.ignored is not None:  # what is rendered there is right, whatever it is
        photo = torch.where(target.ignored.to(photo.device)[..., None], color.detach(), photo)
    depth = pixels.mean_depth(channels.depth_sum, channels.transmittance)
    terms = _terms(channels, color, depth, photo, mask, target, config, iteration)
    for more in extra:
        terms.update(more(channels, target))
    total = torch.stack([weight * value for weight, value in terms.values()]).sum()
    total.backward()
    grad = pixels.gradient(channels)
    if shrinks:
        of_median = grad[..., layout.P_MEDIAN]
        grad = shrink_backward(grad, full.shape[0], full.shape[1])
        grad[..., layout.P_MEDIAN] = 0.0
        grad[*at, layout.P_MEDIAN] = of_median
    with torch.no_grad():
        psnr = photometric.psnr(color, photo, None if target.ignored is None else target.counts)
    return Objective(
        grad.contiguous(),
        psnr,
        {name: value.detach() for name, (_, value) in terms.items()},
        None if matrix is None else matrix.grad,
    )


def phase(config: VoxelConfig, iteration: int) -> tuple[bool, ...]:
    """Which terms `image_loss` has at an iteration, as far as that changes over a training."""
    at = Schedule(config).reference(iteration)
    return (
        at >= config.dist_from,
        at >= config.normal_from,
        at < config.prior_until,
        at > 0.5 * config.prior_until,
        at < config.sparse_depth_until,
        at >= config.mv_from,
    )


DEPTH_GATE, NORMAL_GATE = 0.02, 0.8
"""Relative depth error and cosine beyond which a prior is not believed late in its time."""


def _terms(
    channels: Pixels,
    color: Tensor,
    depth: Tensor,
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
        out["R_concen"] = (
            c.lambda_R_concen,
            rays.color_concentration(channels.rgb, channels.rgb2, channels.transmittance, photo),
        )
    if c.lambda_T_concen:
        out["T_concen"] = (
            c.lambda_T_concen,
            rays.transmittance_concentration(channels.transmittance),
        )
    if c.lambda_T_inside:
        out["T_inside"] = (c.lambda_T_inside, rays.transmittance_inside(channels.transmittance))
    if c.lambda_dist and at >= c.dist_from:
        out["dist"] = (
            c.lambda_dist,
            rays.distortion(channels.distortion, _typical_depth(channels)),
        )
    if c.lambda_ascending:
        out["ascending"] = (c.lambda_ascending, rays.ascending(channels.rise))
    if at >= c.normal_from and (c.lambda_normal_dmean or c.lambda_normal_dmed):
        out.update(_normal_terms(channels, depth, target, c))
    if target.prior is not None and at < c.prior_until:
        out.update(_prior_terms(channels, target, c, schedule, iteration))
    if c.lambda_sparse_depth and at < c.sparse_depth_until and len(target.sparse_depth):
        value = priors.sparse_depth(channels.median, target.sparse_xy, target.sparse_depth)
        out["sparse_depth"] = (c.lambda_sparse_depth, value)
    return out


def _normal_terms(channels: Pixels, depth: Tensor, target: Target, c: VoxelConfig) -> Terms:
    out: Terms = {}
    normal, light, camera = channels.normal, channels.transmittance, target.camera
    if c.lambda_normal_dmean:
        value = normals.normal_consistency(normal, depth, light, camera)
        out["normal_dmean"] = (c.lambda_normal_dmean, value)
    if c.lambda_normal_dmed:
        value = normals.normal_consistency(normal, channels.median, light, camera)
        out["normal_dmed"] = (c.lambda_normal_dmed, value)
    return out


def _prior_terms(
    channels: Pixels,
    target: Target,
    c: VoxelConfig,
    schedule: Schedule,
    iteration: int,
) -> Terms:
    assert target.prior is not None
    out: Terms = {}
    device = channels.rgb.device
    prior_depth, prior_normal, confidence = (
        tensor.to(device, non_blocking=True)
        for tensor in (target.prior.depth, target.prior.normal, target.prior.confidence)
    )
    # Late in the time of the priors, what is far from them is left to the photos.
    late = schedule.reference(iteration) > 0.5 * c.prior_until
    light = channels.transmittance
    if c.lambda_prior_depth:
        gate = DEPTH_GATE if late else None
        # The median lies where the distance is zero; the mean is off by parts of a voxel.
        value = priors.prior_depth(channels.median, prior_depth, confidence, light, gate=gate)
        out["prior_depth"] = (c.lambda_prior_depth, value)
    if c.lambda_prior_normal:
        gate = NORMAL_GATE if late else None
        value = priors.prior_normal(
            channels.normal, prior_normal, confidence, light, target.camera, gate_cos=gate
        )
        out["prior_normal"] = (c.lambda_prior_normal, value)
    return out


def _typical_depth(channels: Pixels) -> Tensor:
    """Mean depth of the whole view, without gradient."""
    covered = (1.0 - channels.transmittance.detach()).sum()
    return channels.depth_sum.detach().sum() / covered.clamp_min(1.0)


def features(config: VoxelConfig, iteration: int, target: Target) -> int:
    """Optional outputs of the rasterizer (`math.F_*`) that the losses of this iteration read."""
    c, at = config, Schedule(config).reference(iteration)
    normal_terms = at >= c.normal_from
    prior = target.prior is not None and at < c.prior_until
    sparse = len(target.sparse_depth) > 0 and at < c.sparse_depth_until
    wanted = {
        layout.F_NORMAL: (normal_terms and (c.lambda_normal_dmean or c.lambda_normal_dmed))
        or (c.lambda_prior_normal and prior),
        layout.F_MEDIAN: (normal_terms and c.lambda_normal_dmed)
        or (c.lambda_prior_depth and prior)
        or (c.lambda_sparse_depth and sparse),
        layout.F_RGB2: c.lambda_R_concen,
        layout.F_DISTORTION: c.lambda_dist and at >= c.dist_from,
        layout.F_RISE: c.lambda_ascending,
    }
    multi_view = at >= c.mv_from and (c.lambda_mv_ncc or c.lambda_mv_geo)
    flags = sum(flag for flag, needed in wanted.items() if needed)
    return flags | (layout.F_NORMAL | layout.F_MEDIAN if multi_view else 0)


def samples(config: VoxelConfig, iteration: int) -> int:
    """Parts that a voxel's piece of a ray is cut into: 1 unless a loss reads the mean depth now."""
    c, at = config, Schedule(config).reference(iteration)
    wanted = (c.lambda_normal_dmean and at >= c.normal_from) or (
        c.lambda_dist and at >= c.dist_from
    )
    return c.n_samp_per_vox if wanted else 1
