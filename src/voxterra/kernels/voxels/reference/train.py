"""Slow twins of the training's kernels: the losses as autograd sees them, and Adam."""

from __future__ import annotations

import torch
from torch import Tensor

from voxterra.kernels.voxels.math import C_CENTER
from voxterra.kernels.voxels.reference.prepare import center_gradient
from voxterra.kernels.voxels.reference.sh import sh_basis

_EDGES = [(a, a | bit) for bit in (4, 2, 1) for a in range(8) if not a & bit]


def stencil_terms(sdf: Tensor, stencil: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """(eikonal of the rows that have it, Laplacian of the rows that have it), one value a row.

    Arguments as of `ops_train.stencil_loss`.
    """
    index = stencil.long()
    f = sdf[index.clamp_min(0)]
    lower, upper, center = f[:, 1::2], f[:, 2::2], f[:, :1]
    known = (index[:, 1::2] >= 0) & (index[:, 2::2] >= 0)
    slope = (upper - lower) / (2 * h[:, None])
    second = torch.where(known, (upper + lower - 2 * center) / h[:, None], torch.zeros_like(slope))
    full = known.all(1)
    eikonal = (slope[full].norm(dim=1) - 1) ** 2
    return eikonal, (second**2).sum(1)[known.any(1)]


def chosen(seed: int, count: int) -> Tensor:
    """Mask [count] of the random half of the voxels that belongs to a seed."""
    x = (torch.arange(count) * 0x9E3779B1 + seed * 0x85EBCA6B) & 0xFFFFFFFF
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = x ^ (x >> shift)
        # Split the product: 64 bits with a sign would overflow.
        x = ((x & 0xFFFF) * factor + (((x >> 16) * factor & 0xFFFF) << 16)) & 0xFFFFFFFF
    return ((x ^ (x >> 16)) & 1).bool()


def voxel_eikonal_terms(sdf: Tensor, corner_index: Tensor, size: Tensor) -> Tensor:
    """(|grad f| - 1)^2 [N] at the centres of voxels."""
    terms: Tensor = (center_gradient(sdf[corner_index.long()], size).norm(dim=1) - 1) ** 2
    return terms


def total_variation_terms(sdf: Tensor, corner_index: Tensor, size: Tensor) -> Tensor:
    """Sum of the squared differences along the edges, over the squared edge [N]."""
    f = sdf[corner_index.long()]
    first, second = zip(*_EDGES, strict=True)
    return ((f[:, second] - f[:, first]) ** 2).sum(1) / size**2


def sh_gradients(
    grad_rgb: Tensor, lo_size: Tensor, camera: Tensor, degree: int
) -> tuple[Tensor, Tensor]:
    """Gradients [N, 3] and [N, K - 1, 3] of the spherical harmonics from those of the colours."""
    center = lo_size[:, :3] + 0.5 * lo_size[:, 3:]
    offset = center - camera[C_CENTER : C_CENTER + 3]
    basis = sh_basis(offset / offset.norm(dim=1, keepdim=True), degree)
    grad = basis[..., None] * grad_rgb[:, None]
    return grad[:, 0], grad[:, 1:]
