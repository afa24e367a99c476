"""One iteration of the training: render a view, compare, go back, update."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from voxterra.errors import ReconstructionError
from voxterra.kernels.voxels import math as layout
from voxterra.kernels.voxels import ops, ops_train
from voxterra.kernels.voxels.plan import View
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.losses import exposure
from voxterra.surface.voxels.model import sharpness
from voxterra.surface.voxels.model.render import Voxels, rasterize
from voxterra.surface.voxels.octree import Stencils, corner_edge, stencils
from voxterra.surface.voxels.training.anchor import pull
from voxterra.surface.voxels.training.objective import (
    Extra,
    Losses,
    Objective,
    features,
    image_loss,
    samples,
)
from voxterra.surface.voxels.training.schedule import Schedule
from voxterra.surface.voxels.training.state import TrainState
from voxterra.surface.voxels.training.targets import Target

BLOCK = 1 << 20
"""On a CPU the lattice terms visit this many rows an iteration, a random block."""
FAR_COLOR = 1e3
"""Coefficients of colours beyond this belong to a training that has diverged."""
FAR_SHARPNESS = 10.0
"""Logarithm of a learned factor beyond which surfaces are fog, or have no gradient."""
RATES = {
    "colours": "--sh0_lr",
    "view-dependent colours": "--shs_lr",
    "exposures": "--exposure_lr",
    "sharpness": "--sharpness_lr",
}
"""The learning rate to lower when these diverge."""


@dataclass(frozen=True)
class Tables:
    """What follows from the octree alone; made again when it changes.

    Attributes:
        stencils: lattice points with their neighbours.
        adjacency: rows in which each corner occurs, on a GPU.
        corner_edge: (M,) edge of the smallest voxel at each corner.
        edge: (N,) edge of each voxel.
    """

    stencils: Stencils
    adjacency: tuple[Tensor, Tensor] | None
    corner_edge: Tensor
    edge: Tensor


def make_tables(voxels: Voxels) -> Tables:
    """Tables of the model's octree."""
    octree = voxels.octree
    rows = stencils(octree)
    adjacency = None
    if voxels.device.type == "cuda":
        adjacency = ops_train.stencil_adjacency(rows.rows, len(voxels.sdf))
    return Tables(rows, adjacency, corner_edge(octree), octree.lo_size[:, 3].contiguous())


def step(
    state: TrainState,
    target: Target,
    tables: Tables,
    config: VoxelConfig,
    extra: tuple[Extra, ...],
    losses: Losses = image_loss,
) -> Objective:
    """Train on one view, in place; `losses` computes what `image_loss` does.

    Raises:
        ReconstructionError: a loss or gradient is not finite (raised when statistics are read).
    """
    voxels, schedule = state.voxels, Schedule(config)
    sharpness.set_sharpness(voxels, schedule.sharpness(state.iteration))
    sharpness.apply(state.sharpness, voxels.sharpness)
    record, rect, bins, forward = rasterize(
        voxels,
        target.kernel,
        features=features(config, state.iteration, target),
        samples=samples(config, state.iteration),
    )
    matrix = None if state.exposure is None else state.exposure.matrix[target.order]
    objective = losses(
        forward.pixels, target, voxels.background, config, state.iteration, matrix, extra
    )
    grad_record = ops.rasterize_backward(
        record, rect, bins, target.kernel, forward, objective.grad_pixels,
        deterministic=config.deterministic,
    )  # fmt: skip
    octree = voxels.octree
    grad_sdf, grad_rgb = ops.prepare_backward(
        grad_record, record, octree.lo_size, octree.corner_index, octree.corner_start,
        octree.corner_slot, voxels.sdf,
    )  # fmt: skip
    # Not in place: a graph returns the same terms again, also after one of these has ended.
    terms = {**objective.terms, **_grid_terms(state, tables, grad_sdf, config, schedule)}
    state.priority += grad_record[:, layout.G_PRIORITY]  # nothing failed: count this view
    _update(state, target.kernel, tables, grad_sdf, grad_rgb, config, schedule)
    if state.exposure is not None and objective.grad_exposure is not None:
        exposure.step(state.exposure, target.order, objective.grad_exposure, config.exposure_lr)
    if schedule.learns_sharpness(state.iteration):
        state.sharpness = state.sharpness or sharpness.create(voxels.device)
        sharpness.learn(state.sharpness, record, grad_record, config.sharpness_lr)
    state.iteration += 1
    return replace(objective, terms=terms)


def _grid_terms(
    state: TrainState, tables: Tables, grad_sdf: Tensor, c: VoxelConfig, schedule: Schedule
) -> dict[str, Tensor]:
    """Add the gradients of the lattice terms; their values by option name."""
    voxels, octree, out = state.voxels, state.voxels.octree, {}
    at, decay = schedule.reference(state.iteration), schedule.grid_factor(state.iteration)
    eikonal = c.lambda_ge_density * decay if at < c.ge_until else 0.0
    laplacian = c.lambda_ls_density * decay
    rows, h = tables.stencils.rows, tables.stencils.h
    if (eikonal or laplacian) and len(rows):
        start, count = _block(len(rows), state.generator, voxels.device)
        if c.reg_reduction == "sum":  # a block stands for all rows
            eikonal, laplacian = (w * len(rows) / count for w in (eikonal, laplacian))
        losses = ops_train.stencil_loss(
            voxels.sdf,
            rows,
            h,
            grad_sdf,
            eikonal,
            laplacian,
            start,
            count,
            adjacency=tables.adjacency,
            reduction=c.reg_reduction,
        )
        out["ge_density"], out["ls_density"] = losses[0], losses[1]
    if state.anchor is not None and c.lambda_start:
        out["start"] = pull(state.anchor, voxels.sdf, tables.corner_edge, grad_sdf, c.lambda_start)
    seed = int(torch.randint(1 << 30, (1,), generator=state.generator))
    if c.lambda_vg_density and at >= c.vg_from:
        out["vg_density"] = ops_train.voxel_eikonal(
            voxels.sdf, octree.corner_index, tables.edge, octree.corner_start, octree.corner_slot,
            grad_sdf, c.lambda_vg_density, seed, reduction=c.reg_reduction,
        )  # fmt: skip
    if c.lambda_tv_density and at < c.tv_until:
        out["tv_density"] = ops_train.total_variation(
            voxels.sdf, octree.corner_index, tables.edge, octree.corner_start, octree.corner_slot,
            grad_sdf, c.lambda_tv_density, reduction=c.reg_reduction,
        )  # fmt: skip
    return out


def _block(rows: int, generator: torch.Generator, device: torch.device) -> tuple[int, int]:
    """All rows on a GPU, a random one of equal blocks on a CPU."""
    if device.type == "cuda" or rows <= BLOCK:
        return 0, rows
    blocks = -(-rows // BLOCK)
    block = int(torch.randint(blocks, (1,), generator=generator))
    start = rows * block // blocks
    return start, rows * (block + 1) // blocks - start


def _update(
    state: TrainState,
    view: View,
    tables: Tables,
    grad_sdf: Tensor,
    grad_rgb: Tensor,
    c: VoxelConfig,
    schedule: Schedule,
) -> None:
    """Adam on distances and colours."""
    voxels, factor = state.voxels, schedule.rate_factor(state.iteration)
    shared = (c.optim_beta1, c.optim_beta2, c.optim_eps, state.iteration + 1)
    m, v = state.moments["sdf"]
    ops_train.adam(voxels.sdf, grad_sdf, m, v, c.geo_lr * factor, tables.corner_edge, *shared)
    ops_train.sh_adam(
        voxels.sh0, voxels.shs, state.moments["sh0"], state.moments["shs"], grad_rgb,
        voxels.octree.lo_size, view.camera, voxels.degree, c.sh0_lr * factor, c.shs_lr * factor,
        *shared,
    )  # fmt: skip


def require_finite(state: TrainState, objective: Objective, name: str) -> None:
    """Stop before a NaN, or numbers that mean nothing any more, are carried on.

    Raises:
        ReconstructionError: the image of this view is not finite, a distance is longer than the
            root cube is wide, a colour or exposure is far beyond black and white, or the learned
            sharpness is out of all proportion.
    """
    voxels, cube = state.voxels, state.voxels.octree.cube
    widest = 2.0 * cube.edge
    tensors = {"distances": (voxels.sdf, widest), "colours": (voxels.sh0, FAR_COLOR)}
    if voxels.shs.numel():
        tensors["view-dependent colours"] = (voxels.shs, FAR_COLOR)
    if state.exposure is not None:
        tensors["exposures"] = (state.exposure.matrix, FAR_COLOR)
    if state.sharpness is not None:
        tensors["sharpness"] = (state.sharpness.log, FAR_SHARPNESS)
    # NaN comes through min and max, and is no smaller than the limit.
    limits = {
        k: torch.stack([-t.min(), t.max()]).max() / limit for k, (t, limit) in tensors.items()
    }
    limits["image"] = objective.psnr.abs() / 1e30
    values = torch.stack(list(limits.values())).tolist()
    wrong = [k for k, value in zip(limits, values) if not value <= 1.0]
    if not wrong:
        return
    rate = RATES.get(wrong[0], "--geo_lr")
    raise ReconstructionError(
        f"The training diverged at iteration {state.iteration}: {', '.join(wrong)} left the range "
        "of numbers.",
        where=f"photo {name}",
        next_step=f"Lower {rate} or the lambda that stands out in test_stat/train.json; "
        "checkpoints before this stay good (--resume).",
    )
