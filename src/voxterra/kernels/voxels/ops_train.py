"""Regularisers of the distances and steps of the optimiser, on the CPU and on NVIDIA GPUs.

Every function works in place on contiguous float32 tensors of one device, and repeats bit for bit
on that device: gradients are gathered in a fixed order, never added by atomics. The slow twins in
`reference/train.py` are the specification.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum"]
Moments = tuple[Tensor, Tensor]


_SORTED_TOGETHER = 1 << 18
"""Corners whose entries are sorted at once."""


def stencil_adjacency(stencil: Tensor, corners: int) -> tuple[Tensor, Tensor]:
    """Where each corner occurs in a stencil, which `stencil_loss` needs on a GPU: compute it once
    for an octree.

    Args:
        stencil: int32 [R, 7].
        corners: number of corners, M.

    Returns:
        (start int32 [M + 1], slot int32 [E]): corner i is entry `slot % 7` of row `slot // 7` for
        the slots `slot[start[i]:start[i + 1]]`, ascending.
    """
    flat = stencil.reshape(-1)
    start = torch.zeros(corners + 1, dtype=torch.int32, device=flat.device)
    slots = torch.empty(int((flat >= 0).sum()), dtype=torch.int32, device=flat.device)
    done = 0
    # Sorting takes many times what it sorts: block by block of corners.
    for first in range(0, corners, _SORTED_TOGETHER):
        last = min(first + _SORTED_TOGETHER, corners)
        part = torch.nonzero((flat >= first) & (flat < last))[:, 0]
        ordered, by_corner = torch.sort(flat[part], stable=True)
        slots[done : done + len(part)] = part[by_corner]
        bounds = torch.arange(first + 1, last + 1, dtype=ordered.dtype, device=flat.device)
        start[first + 1 : last + 1] = torch.searchsorted(ordered, bounds) + done
        done += len(part)
    return start, slots


def stencil_loss(
    sdf: Tensor,
    stencil: Tensor,
    h: Tensor,
    grad_sdf: Tensor,
    weight_eikonal: float,
    weight_laplacian: float,
    start: int = 0,
    count: int | None = None,
    *,
    reduction: Reduction = "mean",
    adjacency: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Eikonal and Laplacian terms on a lattice of corners; adds their gradients to `grad_sdf`.

    Eikonal: (|grad f| - 1)^2 by central differences, over rows with all six neighbours.
    Laplacian: sum of ((f+ + f- - 2 f) / h)^2 over the axes with both neighbours, over rows with at
    least one such axis (SVRecon, arXiv 2511.17364).

    Args:
        sdf: [M] distances, world units.
        stencil: int32 [R, 7] corners (centre, -x, +x, -y, +y, -z, +z), -1 where missing.
        h: [R] distance to the neighbours, world units.
        grad_sdf: [M], added to.
        weight_eikonal, weight_laplacian: weights of the two terms in the gradient.
        start, count: rows to visit (all from `start` on, without `count`); on the CPU the time
            goes with their number.
        reduction: the terms are means over the visited rows that have them, or sums.
        adjacency: of `stencil_adjacency`; a GPU computes it where it is not given.

    Returns:
        [2] eikonal and Laplacian term, without their weights.

    Raises:
        ValueError: rows outside of the stencil.
    """
    rows = stencil.shape[0]
    count = rows - start if count is None else count
    if start < 0 or count < 0 or start + count > rows:
        raise ValueError(f"rows {start} .. {start + count} of a stencil of {rows}")
    if count == 0:
        return sdf.new_zeros(2)
    weights, mean = (float(weight_eikonal), float(weight_laplacian)), reduction == "mean"
    if _on_gpu(sdf):
        from voxterra.kernels.voxels.cuda import stencil as cuda

        adjacency = adjacency or stencil_adjacency(stencil, len(sdf))
        return cuda.stencil_loss(sdf, stencil, h, grad_sdf, weights, start, count, mean, *adjacency)
    from voxterra.kernels.voxels.cpu import stencil as cpu

    arrays = (sdf.numpy(), stencil.numpy(), h.numpy(), grad_sdf.numpy())
    return torch.from_numpy(cpu.stencil_loss(*arrays, weights, start, count, mean))


def voxel_eikonal(
    sdf: Tensor,
    corner_index: Tensor,
    size: Tensor,
    corner_start: Tensor,
    corner_slot: Tensor,
    grad_sdf: Tensor,
    weight: float,
    seed: int,
    *,
    reduction: Reduction = "mean",
) -> Tensor:
    """(|grad f| - 1)^2 at the centres of a random half of the voxels; adds its gradient.

    Args:
        sdf: [M] distances, world units.
        corner_index: int32 [N, 8].
        size: [N] edges of the voxels, world units.
        corner_start, corner_slot: int32 [M + 1], [8 N]: the slots 8 * voxel + c of each corner.
        grad_sdf: [M], added to.
        weight: weight of the term in the gradient.
        seed: which half, 0 <= seed < 2^32.
        reduction: mean over the chosen voxels, or sum.

    Returns:
        [] the term, without its weight.
    """
    mean = reduction == "mean"
    if _on_gpu(sdf):
        from voxterra.kernels.voxels.cuda import stencil as cuda

        lists = (corner_index, size.contiguous(), corner_start, corner_slot)
        return cuda.voxel_eikonal(sdf, *lists, grad_sdf, float(weight), seed, mean)
    from voxterra.kernels.voxels.cpu import stencil as cpu

    lists = (corner_index, size.contiguous(), corner_start, corner_slot)
    a, b, c, d = (t.numpy() for t in lists)
    numbers = (float(weight), seed, mean)
    return torch.tensor(cpu.voxel_eikonal(sdf.numpy(), a, b, c, d, grad_sdf.numpy(), *numbers))


def total_variation(
    sdf: Tensor,
    corner_index: Tensor,
    size: Tensor,
    corner_start: Tensor,
    corner_slot: Tensor,
    grad_sdf: Tensor,
    weight: float,
    *,
    reduction: Reduction = "mean",
) -> Tensor:
    """Sum over the 12 edges of each voxel of (difference of the corner values / edge)^2; adds its
    gradient. Arguments and result as of `voxel_eikonal`, over all voxels."""
    mean = reduction == "mean"
    if _on_gpu(sdf):
        from voxterra.kernels.voxels.cuda import stencil as cuda

        lists = (corner_index, size.contiguous(), corner_start, corner_slot)
        return cuda.total_variation(sdf, *lists, grad_sdf, float(weight), mean)
    from voxterra.kernels.voxels.cpu import stencil as cpu

    lists = (corner_index, size.contiguous(), corner_start, corner_slot)
    a, b, c, d = (t.numpy() for t in lists)
    numbers = (float(weight), mean)
    return torch.tensor(cpu.total_variation(sdf.numpy(), a, b, c, d, grad_sdf.numpy(), *numbers))


def adam(
    param: Tensor,
    grad: Tensor,
    m: Tensor,
    v: Tensor,
    lr: float,
    scale: Tensor | None,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
) -> None:
    """One bias-corrected step of Adam (arXiv 1412.6980), in place, as `torch.optim.Adam` does it;
    entries whose gradient is exactly 0 are left as they are, moments included.

    Args:
        param, grad, m, v: parameter, gradient and moments, of one shape.
        lr: learning rate.
        scale: factor on `lr` of each entry, or None.
        beta1, beta2, eps: Adam's.
        step: number of this step, from 1.
    """
    numbers = (lr / (1 - beta1**step), beta1, beta2, 1 / math.sqrt(1 - beta2**step), eps)
    if _on_gpu(param):
        from voxterra.kernels.voxels.cuda import optimise as cuda

        cuda.adam(param, grad, m, v, scale, *numbers)
        return
    from voxterra.kernels.voxels.cpu import optimise as cpu

    factor = param.new_empty(0) if scale is None else scale
    cpu.adam(*(t.view(-1).numpy() for t in (param, grad, m, v, factor)), *numbers)


def sh_adam(
    sh0: Tensor,
    shs: Tensor,
    sh0_moments: Moments,
    shs_moments: Moments,
    grad_rgb: Tensor,
    lo_size: Tensor,
    camera: Tensor,
    degree: int,
    lr0: float,
    lrs: float,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
) -> None:
    """One step of Adam on the spherical harmonics, in place, straight from the gradient of the
    colours: that of a coefficient is its basis function toward the voxel times the colour's.

    Voxels without any gradient of their colour are left as they are, moments included.

    Args:
        sh0, shs: [N, 3], [N, K - 1, 3] coefficients; those beyond `degree` stay.
        sh0_moments, shs_moments: first and second moments of each.
        grad_rgb: [N, 3] gradient of the colours (0 where the colour was clamped).
        lo_size: [N, 4] lower corner in world, and edge.
        camera: [20] of the view that was rendered.
        degree: highest degree in use, 0 to 3.
        lr0, lrs: learning rates of `sh0` and `shs`.
        beta1, beta2, eps, step: as of `adam`.
    """
    correction = 1 - beta1**step
    root2 = 1 / math.sqrt(1 - beta2**step)
    numbers = (lr0 / correction, lrs / correction, beta1, beta2, root2, eps)
    tensors = (sh0, shs, *sh0_moments, *shs_moments, grad_rgb, lo_size, camera)
    if _on_gpu(sh0):
        from voxterra.kernels.voxels.cuda import optimise as cuda

        cuda.sh_adam(*tensors, degree, *numbers)
        return
    from voxterra.kernels.voxels.cpu import optimise as cpu

    a = [t.numpy() for t in tensors]
    cpu.sh_adam(a[0], a[1], (a[2], a[3]), (a[4], a[5]), *a[6:], degree, *numbers)


def _on_gpu(tensor: Tensor) -> bool:
    return tensor.is_cuda
