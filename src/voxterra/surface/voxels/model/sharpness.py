"""The sharpness of the opacity: that of the schedule, times a factor that may be learned.

NeuS (arXiv 2106.10689) learns the sharpness with the surface; a schedule (SVRecon, arXiv
2511.17364) is steadier while the surface still moves. So the schedule leads, and late in the
training one factor for the whole scene is learned on top of it: it says how thick a surface the
photos see. Learned is its logarithm: the factor stays positive, and a step is a share of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from voxterra.kernels.voxels import math as layout
from voxterra.kernels.voxels import ops_train
from voxterra.surface.voxels.model.render import Voxels
from voxterra.surface.voxels.octree import MAX_LEVEL

LEVELS = MAX_LEVEL + 1
"""Levels of an octree, each with a sharpness of its own."""
BETA1, BETA2, EPS = 0.9, 0.99, 1e-15
"""Of Adam. One number that every view pulls at needs a longer memory than the many others."""


@dataclass
class SharpnessFactor:
    """The factor with the state of its optimiser; changed in place by `learn`.

    Attributes:
        log: (1,) float32 logarithm of the factor.
        m, v: (1,) Adam's moments.
        steps: how often it was learned.
    """

    log: Tensor
    m: Tensor
    v: Tensor
    steps: int = 0


def set_sharpness(voxels: Voxels, value: float) -> None:
    """Sharpness of each level: `value` over the edge of its voxels, in place."""
    levels = torch.arange(LEVELS, device=voxels.device, dtype=torch.float32)
    voxels.sharpness.copy_(value / voxels.octree.cube.edge * torch.exp2(levels))


def create(device: torch.device | str) -> SharpnessFactor:
    """The factor 1."""
    log, m, v = torch.zeros(3, 1, device=device)
    return SharpnessFactor(log, m, v)


def apply(factor: SharpnessFactor | None, sharpness: Tensor) -> None:
    """Multiply the sharpness (17,) of the schedule, in place; None leaves it as it is."""
    if factor is not None:
        sharpness.mul_(factor.log.exp())


def learn(factor: SharpnessFactor, record: Tensor, grad_record: Tensor, lr: float) -> None:
    """One step of Adam.

    Args:
        factor: changed in place; the records were rendered with it.
        record: (N, 20) of `ops.prepare`; grad_record: (N, 16) of `ops.rasterize_backward`.
        lr: learning rate of the logarithm.
    """
    # s = schedule * exp(log), so that ds/dlog = s, for every voxel.
    by_voxel = grad_record[:, layout.G_SHARPNESS] * record[:, layout.R_SHARPNESS]
    factor.steps += 1
    ops_train.adam(
        factor.log, by_voxel.sum().reshape(1), factor.m, factor.v, lr, None, BETA1, BETA2, EPS,
        factor.steps,
    )  # fmt: skip
