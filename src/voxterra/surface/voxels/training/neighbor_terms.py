"""The two multi-view terms in training: each view against a random neighbour of it.

Neighbours are chosen once, from the model as it is when the terms begin, and go into checkpoints;
what is random is drawn from the training's generator. So a training that resumes from a checkpoint
repeats the one that was never stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from voxterra.kernels.voxels import math as layout
from voxterra.kernels.voxels.plan import View
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.losses import multiview
from voxterra.surface.voxels.losses.multiview import MultiviewView
from voxterra.surface.voxels.losses.neighbors import choose_neighbors
from voxterra.surface.voxels.losses.pixels import Pixels
from voxterra.surface.voxels.model.render import Voxels, kernel_view, rasterize
from voxterra.surface.voxels.octree import Cube
from voxterra.surface.voxels.training.objective import Extra, Terms
from voxterra.surface.voxels.training.schedule import Schedule
from voxterra.surface.voxels.training.state import TrainState
from voxterra.surface.voxels.training.targets import Target

SAMPLES = 8192
"""Pixels of a view that are compared in an iteration."""
PATCH = 7
"""Side of the patches [px]."""


@dataclass(frozen=True)
class Companions:
    """What the comparison needs of all training views, in their order.

    Attributes:
        targets: the views.
        views: each as rendered at its image's own size, whatever `ss` is.
        greys: (H, W) float32 intensities, where the images lie.
    """

    targets: Sequence[Target]
    views: tuple[View, ...]
    greys: tuple[Tensor, ...]


def make_companions(
    targets: Sequence[Target], cube: Cube, config: VoxelConfig
) -> Companions | None:
    """Sizes and greys of the training views; None if neither term has a weight."""
    if not (config.lambda_mv_ncc or config.lambda_mv_geo):
        return None
    views, greys = [], []
    for target in targets:
        same = (target.kernel.height, target.kernel.width) == target.rgb.shape[:2]
        device = target.kernel.camera.device
        views.append(target.kernel if same else kernel_view(target.view, cube, device))
        greys.append(multiview.to_grey(target.rgb.float() * (1.0 / 255.0)))
    return Companions(targets, tuple(views), tuple(greys))


def neighbor_terms(
    state: TrainState, target: Target, companions: Companions | None, config: VoxelConfig
) -> tuple[Extra, ...]:
    """The terms of one iteration on `target`, for `image_loss`; none where it has no neighbour.

    Chooses the neighbours at the first call after `mv_from`, and keeps them in `state`.
    """
    if companions is None or Schedule(config).reference(state.iteration) < config.mv_from:
        return ()
    if state.iteration % config.mv_every:
        return ()
    if state.neighbors is None:
        state.neighbors = find_neighbors(state.voxels, companions)
    row = state.neighbors[target.order]
    possible = row[row >= 0].tolist()
    if not possible:
        return ()
    pick = int(torch.randint(len(possible), (1,), generator=state.generator))
    seed = int(torch.randint(1 << 30, (1,), generator=state.generator))
    return (_comparison(state.voxels, target, possible[pick], seed, companions, config),)


@torch.no_grad()
def find_neighbors(voxels: Voxels, companions: Companions) -> Tensor:
    """(V, 4) int32 neighbours of each view, best first, on the CPU; -1 = none."""
    typical = []
    for view in companions.views:
        depth = _median_depth(voxels, view)
        known = depth[depth > 0]
        typical.append(float(known.median()) if len(known) else np.nan)
    cameras = torch.stack([view.camera for view in companions.views]).cpu().numpy()
    return torch.from_numpy(choose_neighbors(cameras, np.array(typical)))


def _median_depth(voxels: Voxels, view: View) -> Tensor:
    """(H, W) median depth; 0 = none."""
    pixels = rasterize(voxels, view, features=layout.F_MEDIAN)[3].pixels
    return pixels[..., layout.P_MEDIAN].contiguous()


@dataclass(frozen=True)
class Comparison:
    """A view against a neighbour, as an `Extra` of the losses.

    Attributes:
        mine, theirs: (H, W) float32 intensities of the view and of its neighbour.
        camera: (20,) the neighbour's.
        hidden: (H, W) float32 its rendered median depth; 0 = compares with nothing.
        drawn: int64 (4 P, 2) pixels to choose from.
        ncc, geo: weights of the two terms.
    """

    mine: Tensor
    theirs: Tensor
    camera: Tensor
    hidden: Tensor
    drawn: Tensor
    ncc: float
    geo: float

    def __call__(self, channels: Pixels, target: Target) -> Terms:
        """The two terms, of the pixels where something is rendered."""
        with torch.no_grad():
            valid = (channels.transmittance < 0.5) & (channels.median > 0)
            if (counts := target.counts) is not None:
                valid &= counts
        loss = multiview.multiview_loss(
            MultiviewView(target.camera, self.mine),
            MultiviewView(self.camera, self.theirs, self.hidden),
            channels.median,
            channels.normal,
            multiview.sample_pixels(valid, self.drawn),
            valid,
            patch=PATCH,
        )
        terms: Terms = {}
        if self.ncc:
            terms["mv_ncc"] = (self.ncc, loss.ncc)
        if self.geo:
            terms["mv_geo"] = (self.geo, loss.geo)
        return terms


@torch.no_grad()
def _comparison(
    voxels: Voxels,
    target: Target,
    other: int,
    seed: int,
    companions: Companions,
    c: VoxelConfig,
) -> Comparison:
    """A view against the neighbour with order `other`, as that looks now."""
    device = voxels.device
    neighbor = companions.targets[other]
    hidden = _median_depth(voxels, companions.views[other])
    if (counts := neighbor.counts) is not None:  # what is no part of the scene has no depth
        hidden = torch.where(counts, hidden, 0.0)
    mine, theirs = (companions.greys[i].to(device) for i in (target.order, other))
    generator = torch.Generator(device).manual_seed(seed)
    height, width = mine.shape
    drawn = multiview.draw_pixels(height, width, SAMPLES, generator, margin=PATCH // 2)
    return Comparison(
        mine, theirs, neighbor.camera, hidden, drawn, c.lambda_mv_ncc, c.lambda_mv_geo
    )
