"""Affine exposure of each photo: photo = A rendered + b, learned beside the scene.

Cameras change exposure and white balance from photo to photo. Without a term for it the colours
of the scene have to average over them, and view-dependent colour and floating voxels explain the
rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BETA1, BETA2, EPS = 0.9, 0.99, 1e-15


@dataclass(frozen=True)
class Exposures:
    """Exposures of all photos with the state of their optimiser; changed in place by `step`.

    Attributes:
        matrix: [V, 3, 4], colour (r, g, b, 1) -> colour.
        m, v: [V, 3, 4] Adam's moments.
        steps: [V] float32, how often each photo was visited.
    """

    matrix: Tensor
    m: Tensor
    v: Tensor
    steps: Tensor


def create(count: int, device: torch.device | str = "cpu") -> Exposures:
    """Exposures of `count` photos at the identity."""
    matrix = torch.eye(3, 4, device=device).repeat(count, 1, 1)
    return Exposures(
        matrix,
        torch.zeros_like(matrix),
        torch.zeros_like(matrix),
        torch.zeros(count, device=device),
    )


def apply(rgb: Tensor, matrix: Tensor) -> Tensor:
    """The rendered image [H, W, 3] as the photo of this exposure [3, 4] shows it; not clamped."""
    return torch.matmul(rgb, matrix[:, :3].T) + matrix[:, 3]


@torch.no_grad()
def step(exposures: Exposures, view: int, grad: Tensor, lr: float) -> None:
    """One step of Adam on the exposure of one photo, then `center`.

    Args:
        exposures: changed in place.
        view: the photo.
        grad: [3, 4]; a gradient that is not finite is ignored.
        lr: learning rate.
    """
    grad = torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)
    m, v, count = exposures.m[view], exposures.v[view], exposures.steps[view : view + 1]
    count += 1
    m.lerp_(grad, 1 - BETA1)
    v.lerp_(grad.square(), 1 - BETA2)
    mean = m / (1 - BETA1**count)
    spread = (v / (1 - BETA2**count)).sqrt_().add_(EPS)
    exposures.matrix[view] -= lr * mean / spread
    center(exposures)


@torch.no_grad()
def center(exposures: Exposures) -> None:
    """Shift all exposures so that their mean is the identity.

    Scene colours times a constant and exposures divided by it give the same photos; this picks
    one. Held exactly, it needs no weight. A single photo keeps the identity.
    """
    mean = exposures.matrix.mean(dim=0)
    mean.diagonal()[:3] -= 1
    exposures.matrix.sub_(mean)
