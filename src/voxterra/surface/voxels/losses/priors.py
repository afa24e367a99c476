"""Rendered depth and normals against priors: depth maps (stereo, networks) and sparse points.

Depth is compared relative to itself, so one weight serves every scene. Priors are wrong somewhere:
the losses grow like a logarithm, are weighted by the prior's confidence, and can be gated.
"""

from __future__ import annotations

import torch
from torch import Tensor

from voxterra.surface.voxels.losses.normals import rotation
from voxterra.surface.voxels.losses.pixels import masked_mean

SCALE = 0.01
"""Relative depth error at which the pull of a prior has halved."""
_READ_TOGETHER = 1 << 14
"""Pixels read at once: the gradients of 2^15 or more are added in any order on a CPU (torch)."""


def robust(error: Tensor, scale: float) -> Tensor:
    """scale log(1 + |error| / scale): slope 1 at 0, half of that at `scale`, then ever less."""
    return scale * torch.log1p(error.abs() / scale)


def relative_error(depth: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
    """(depth - prior) / prior, and where both are known (> 0 and finite); 0 elsewhere."""
    with torch.no_grad():
        known = torch.isfinite(prior) & (prior > 0) & torch.isfinite(depth) & (depth > 0)
        prior = torch.where(known, prior, 1.0)
    return torch.where(known, depth, prior) / prior - 1.0, known


def prior_depth(
    depth: Tensor,
    prior: Tensor,
    confidence: Tensor | None,
    transmittance: Tensor,
    *,
    scale: float = SCALE,
    gate: float | None = None,
) -> Tensor:
    """Mean of confidence times robust relative error, over the pixels that have a prior.

    Args:
        depth: [H, W] rendered mean or median depth, 0 = none.
        prior: [H, W], 0 (or NaN) = unknown.
        confidence: [H, W] in [0, 1]; None = 1.
        transmittance: [H, W]; rays that more than half pass are left out: their mean depth says
            little of where a surface should be.
        scale: see `robust`.
        gate: pixels further than this (relative) from the prior are left out. Late in a training
            the surface knows better than a prior that is far off; None = all.
    """
    error, known = relative_error(depth, prior)
    with torch.no_grad():
        known = known & (transmittance < 0.5)
        if gate is not None:
            known = known & (error.abs() < gate)
    values = robust(error, scale)
    if confidence is not None:
        values = values * torch.where(known, confidence, 0.0)
    return masked_mean(values, known)


def prior_normal(
    normal: Tensor,
    prior: Tensor,
    confidence: Tensor | None,
    transmittance: Tensor,
    camera: Tensor,
    *,
    gate_cos: float | None = None,
) -> Tensor:
    """Mean of confidence times 1 - cos(rendered, prior), over the pixels that have a prior.

    Of the direction alone: the sum w n divided by its length (at least 0.3, shorter ones mean
    surfaces that contradict each other). So a prior that is wrong turns a surface, but gains
    nothing from making it transparent.

    Args:
        normal: [H, W, 3] rendered sum w n in world.
        prior: [H, W, 3] unit normals in the camera frame, facing the camera; 0 = unknown.
        confidence: [H, W] in [0, 1]; None = 1.
        transmittance: [H, W]; rays that more than half pass are left out.
        camera: [CAMERA].
        gate_cos: pixels with a smaller cosine between the two are left out; None = all.
    """
    with torch.no_grad():
        square = prior.square().sum(-1)  # comparisons with NaN are false
        known = (square > 0.25) & (square < torch.inf) & (transmittance < 0.5)
        prior = torch.where(known[..., None], prior, 0.0) @ rotation(camera).T
    cosine = (normal * prior).sum(-1) * normal.square().sum(-1).clamp(min=0.3**2).rsqrt()
    if gate_cos is not None:
        known = known & (cosine.detach() > gate_cos)
    values = 1.0 - cosine
    if confidence is not None:
        values = values * torch.where(known, confidence, 0.0)
    return masked_mean(values, known)


def sparse_depth(depth: Tensor, xy: Tensor, point_depth: Tensor, *, scale: float = SCALE) -> Tensor:
    """Robust relative error of the depth at the sparse points that a view sees.

    DS-NeRF (arXiv 2107.02791), with a robust error on the rendered depth in place of the
    divergence of the ray's distribution. The depth is that of the pixel in which the point lies:
    interpolated depth would mean nothing at edges, where the best features are.

    Args:
        depth: [H, W] rendered mean or median depth, 0 = none.
        xy: [P, 2] positions in the image at the size of `depth` [px]; those outside are left out.
        point_depth: [P] depth of the points along the optical axis; not positive = left out.
        scale: see `robust`.
    """
    height, width = depth.shape
    if xy.shape[0] == 0:
        return depth[:0].sum()
    with torch.no_grad():
        column, row = xy[:, 0].floor(), xy[:, 1].floor()
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        # Elsewhere (NaN too) the first pixel is read, and not used.
        column = torch.where(inside, column, 0.0).long()
        row = torch.where(inside, row, 0.0).long()
        target = torch.where(inside, point_depth, 0.0)
    pairs = zip(row.split(_READ_TOGETHER), column.split(_READ_TOGETHER))
    error, known = relative_error(torch.cat([depth[at] for at in pairs]), target)
    return masked_mean(robust(error, scale), known)
