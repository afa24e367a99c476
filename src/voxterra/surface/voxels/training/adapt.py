"""Split voxels where the surface asks for detail, prune those far from it; moments are kept.

The rules are those of SVRecon and SVRaster as their papers give them: early on every voxel that the
surface crosses is split, stage by stage; later those whose blending the loss depends on most.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from voxterra.core.camera import PinholeView
from voxterra.kernels.voxels.plan import View
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.model.render import Voxels, rasterize
from voxterra.surface.voxels.octree import Octree, keep, split, transfer_corners
from voxterra.surface.voxels.octree.footprint import pixel_footprints
from voxterra.surface.voxels.octree.query import crossing, inside_main, min_abs
from voxterra.surface.voxels.training.anchor import Anchor
from voxterra.surface.voxels.training.free_space import clear_free_space
from voxterra.surface.voxels.training.schedule import Schedule
from voxterra.surface.voxels.training.state import TrainState

logger = logging.getLogger(__name__)

SEEN = 1e-3
"""Voxels that blend with less than this in all training views are not split."""
STAGE = 1000
"""Iterations of 8000 after which the surface may be split one level further."""


@dataclass(frozen=True)
class Adapted:
    """What one adaptation did: voxels before, pruned, split, after."""

    before: int
    pruned: int
    split: int
    after: int


def adapt(
    state: TrainState,
    kernel_views: Sequence[View],
    views: Sequence[PinholeView],
    config: VoxelConfig,
    max_voxels: int,
) -> Adapted:
    """Prune and split the voxels of `state`, in place.

    Args:
        state: of the training.
        kernel_views, views: the training views.
        config: options.
        max_voxels: no more than this many voxels.
    """
    schedule, before = Schedule(config), len(state.voxels)
    clear(state, kernel_views)
    weight = max_weights(state.voxels, kernel_views)
    stay = worth_keeping(state.voxels, weight)
    if not bool(stay.any()):
        return Adapted(before, 0, 0, before)
    weight = weight[stay]
    _keep(state, stay)
    kept = len(state.voxels)
    chosen = _to_split(state, weight, views, config, schedule, max_voxels)
    count = int(chosen.sum())
    if count:
        _split(state, chosen)
    state.priority = torch.zeros(len(state.voxels), device=state.voxels.device)
    return Adapted(before, before - kept, count, len(state.voxels))


def clear(state: TrainState, views: Sequence[View]) -> int:
    """Take false surfaces and fog out of free space, in place; how many voxels went."""
    found = clear_free_space(state.voxels, views)
    for moment in state.moments["sdf"]:
        moment.masked_fill_(found.corners, 0.0)
    if state.anchor is not None:
        state.anchor.trust.masked_fill_(found.corners, 0.0)
    gone = int(found.fog.sum())
    if gone:
        _keep(state, ~found.fog)
    return gone


def max_weights(voxels: Voxels, views: Sequence[View]) -> Tensor:
    """(N,) largest blending weight of each voxel in any pixel of any view."""
    weight = torch.zeros(len(voxels), device=voxels.device)
    for view in views:
        seen = rasterize(voxels, view, max_weight=True)[3].max_weight
        assert seen is not None
        torch.maximum(weight, seen, out=weight)
    return weight


def worth_keeping(voxels: Voxels, weight: Tensor) -> Tensor:
    """(N,) bool: crossed by the surface, near it, or (outside of the main bound) seen."""
    octree = voxels.octree
    edge = octree.lo_size[:, 3]
    sharpness = voxels.sharpness[octree.level.long()]
    far = min_abs(octree, voxels.sdf) > torch.maximum(edge, math.log(199.0) / sharpness)
    far &= ~crossing(octree, voxels.sdf)
    outside = ~inside_main(octree)
    return ~(far & ((weight < SEEN) | ~outside))


def _to_split(
    state: TrainState,
    weight: Tensor,
    views: Sequence[PinholeView],
    config: VoxelConfig,
    schedule: Schedule,
    max_voxels: int,
) -> Tensor:
    """(N,) bool voxels to split, within the budget; those with the largest priority first."""
    octree = state.voxels.octree
    edge = octree.lo_size[:, 3]
    finest = octree.cube.outside_level + config.max_level
    can = (octree.level < min(finest, 16)) & (weight > SEEN)
    can &= 0.5 * edge > pixel_footprints(octree, views)
    if schedule.splits_surface(state.iteration):
        stage = round(schedule.reference(state.iteration) / STAGE)
        chosen = can & crossing(octree, state.voxels.sdf)
        chosen &= octree.level < state.start_level + stage
    else:
        ranked = torch.where(can, state.priority, -1.0)
        count = min(int(config.subdivide_share * len(ranked)), int((ranked > 0).sum()))
        chosen = torch.zeros_like(can)
        chosen[torch.topk(ranked, count).indices] = True
    budget = max(0, max_voxels - len(chosen)) // 7
    if int(chosen.sum()) > budget:
        logger.info("splitting %d of %d voxels: max_voxels", budget, int(chosen.sum()))
        ranked = torch.where(chosen, state.priority, -1.0)
        chosen = torch.zeros_like(chosen)
        chosen[torch.topk(ranked, budget).indices] = True
    return chosen


def _keep(state: TrainState, mask: Tensor) -> None:
    octree, old_of = keep(state.voxels.octree, mask)
    _move(state, octree, old_of)


def _split(state: TrainState, mask: Tensor) -> None:
    octree, parent_of = split(state.voxels.octree, mask)
    _move(state, octree, parent_of)


def _move(state: TrainState, octree: Octree, source: Tensor) -> None:
    """Carry parameters and moments over: voxel i of `octree` comes from voxel `source[i]`."""
    voxels, old = state.voxels, state.voxels.octree
    held = () if state.anchor is None else (state.anchor.sdf, state.anchor.trust)
    corners = torch.stack([voxels.sdf, *state.moments["sdf"], *held], 1)
    sdf, m, v, *kept = (c.contiguous() for c in transfer_corners(old, corners, octree).unbind(1))
    state.moments["sdf"] = (m, v)
    if kept:
        state.anchor = Anchor(*kept)
    for name in ("sh0", "shs"):
        first, second = state.moments[name]
        # One after the other, so that the old and the new of all never lie side by side.
        setattr(voxels, name, getattr(voxels, name)[source])
        first = first[source]
        state.moments[name] = (first, second[source])
    state.priority = state.priority[source]
    state.voxels = replace(voxels, octree=octree, sdf=sdf)
