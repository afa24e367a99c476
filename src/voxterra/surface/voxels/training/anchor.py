"""What depth maps measured at the start holds the surface while it trains.

Photos move a surface also where they know nothing better: their texture is finer than voxels, and
the distances bend to draw it. Averaged over all depth maps, the start has less of that noise. So
it counts as one more measurement (a Gaussian prior, with the tail of Cauchy's: what photos insist
on moving by more than half a voxel is let go).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from voxterra.surface.voxels.octree import Octree

SCALE = 0.5
"""Distance from the start, in edges of a voxel, at which the pull is largest."""


@dataclass(frozen=True)
class Anchor:
    """The start's distances, and how much they are trusted.

    Attributes:
        sdf: (M,) float32 as they were at the start.
        trust: (M,) float32, share of the training views whose depth map measured the place, 0 to 1.
    """

    sdf: Tensor
    trust: Tensor


def make_anchor(octree: Octree, sdf: Tensor, share: Tensor) -> Anchor:
    """The anchor of a start; a corner is as trusted as the best voxel around it.

    Args:
        octree, sdf: of the start.
        share: (N,) float32 share of the training views whose depth map measured each voxel.
    """
    trust = torch.zeros_like(sdf)
    corners = octree.corner_index.long().flatten()
    trust.scatter_reduce_(0, corners, share.repeat_interleave(8), "amax")
    return Anchor(sdf.clone(), trust)


def pull(anchor: Anchor, sdf: Tensor, edge: Tensor, grad: Tensor, weight: float) -> Tensor:
    """Add the gradient of the term to `grad` (M,), in place; its value.

    Mean of s^2 log(1 + (d / s)^2) / 2 weighted by trust, d the distance from the start in edges.

    Args:
        anchor: of the start.
        sdf: (M,) distances.
        edge: (M,) edge of the smallest voxel at each corner.
        grad: (M,) gradient for `sdf`.
        weight: of the term.
    """
    moved = (sdf - anchor.sdf) / edge
    bent = (moved / SCALE).square_()
    total = anchor.trust.sum().clamp_min(1.0)
    value = (anchor.trust * torch.log1p(bent)).sum() * (0.5 * SCALE**2) / total
    grad += anchor.trust * moved / (1.0 + bent) / edge * (weight / total)
    return value
