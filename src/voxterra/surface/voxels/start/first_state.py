"""The state a training starts from: the first octree, its distances and colours."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from voxterra.core.progress import Progress, no_progress, part
from voxterra.core.voxels import SH_C0
from voxterra.errors import UsageError
from voxterra.kernels.voxels import math as layout
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.losses import exposure
from voxterra.surface.voxels.model.render import Voxels, rasterize
from voxterra.surface.voxels.model.sharpness import LEVELS, set_sharpness
from voxterra.surface.voxels.octree import Cube, Octree, corner_positions, keep, make_octree
from voxterra.surface.voxels.octree.footprint import smallest_footprint
from voxterra.surface.voxels.octree.query import crossing, inside_main
from voxterra.surface.voxels.scene.scene import Scene
from voxterra.surface.voxels.start.allocate import SHELL, allocate, graded
from voxterra.surface.voxels.start.first_field import InitialField, initial_sdf
from voxterra.surface.voxels.start.subdivide import (
    COARSER,
    divide_seen,
    measuring_views,
    pixels_of,
    scaled,
)
from voxterra.surface.voxels.training.adapt import clear
from voxterra.surface.voxels.training.anchor import make_anchor
from voxterra.surface.voxels.training.state import TrainState, fresh_moments
from voxterra.surface.voxels.training.targets import Target

logger = logging.getLogger(__name__)

LEVELS_ALWAYS = 6
"""A dense start of up to this many levels has fewer where `max_voxels` has no room for them; to ask
for more than there can be is an error."""
START_BUDGET = 0.6
"""Part of `max_voxels` that a start from depth maps may take; splits need the rest."""
COLOR_TOLERANCE = 2.0
"""A voxel within this many of its edges of a view's surface takes colour from it."""


def start(
    scene: Scene,
    cube: Cube,
    targets: tuple[Target, ...],
    config: VoxelConfig,
    device: torch.device,
    max_voxels: int,
    progress: Progress = no_progress,
) -> TrainState:
    """The first octree from the best evidence there is, coloured from the images.

    Raises:
        ReconstructionError: nothing in the evidence makes a surface inside the bound.
    """
    field = initial_sdf(scene, cube, config, part(progress, 0.0, 0.7))
    if field.report.evidence == "depth":
        octree, sdf = _around_surface(field, cube, targets, config, device, max_voxels)
    else:
        octree, sdf = _dense(field, cube, config, device, max_voxels)
    voxels = _gray(octree, sdf, config, targets)
    progress(0.75, "colours")
    seed_colors(voxels, targets)
    state = TrainState(
        voxels=voxels,
        moments=fresh_moments(voxels),
        iteration=0,
        priority=torch.zeros(len(voxels), device=device),
        order=[],
        generator=torch.Generator().manual_seed(config.seed),
        start_level=int(octree.level.max()),
        exposure=exposure.create(len(targets), device) if config.exposure else None,
    )
    clear(state, [target.kernel for target in targets])
    octree = state.voxels.octree
    if config.lambda_start and field.report.evidence == "depth":
        share = measuring_views(octree, targets) / len(targets)
        state.anchor = make_anchor(octree, state.voxels.sdf, share)
    logger.info("start: %d voxels, levels %d to %d", len(octree.path), *_levels(octree))
    return state


def _around_surface(
    field: InitialField,
    cube: Cube,
    targets: tuple[Target, ...],
    config: VoxelConfig,
    device: torch.device,
    max_voxels: int,
) -> tuple[Octree, Tensor]:
    """Fine voxels in a band around a surface that is known well, where photos see it."""
    views = [target.view for target in targets]
    coarse = 0.5 * COARSER * config.init_pixels
    finest = min(16, cube.outside_level + (config.init_n_level or config.max_level))
    for levels in range(config.init_level, 0, -1):
        octree, sdf = allocate(
            cube,
            field,
            lambda points: coarse * smallest_footprint(points, views),
            start_level=cube.outside_level + levels,
            max_level=finest,
            max_voxels=int(START_BUDGET * max_voxels),
            band=config.init_band,
            device=device,
        )
        if len(octree.path) <= max_voxels:  # a level at least is there whatever the budget
            break
    _check_room(octree, levels, config.init_level, max_voxels, config)
    return divide_seen(
        octree,
        sdf,
        field,
        lambda octree, sdf: _gray(octree, sdf, config, targets),
        targets,
        pixels=config.init_pixels,
        max_level=finest,
        max_voxels=int(START_BUDGET * max_voxels),
    )


def _dense(
    field: InitialField, cube: Cube, config: VoxelConfig, device: torch.device, max_voxels: int
) -> tuple[Octree, Tensor]:
    """Coarse voxels wherever the surface may move to, for a start that is only a guess.

    In a band around a surface that is far off, the surface would soon be at the band's end.
    """
    wanted = levels = config.init_n_level or config.init_level
    if 8**levels > max(config.max_voxels, 8**LEVELS_ALWAYS):
        raise UsageError(
            f"A start with {levels} levels inside the bound has {8**levels:,} voxels, more than "
            f"the {config.max_voxels:,} there may be.",
            where="--init_n_level" if config.init_n_level else "--init_level",
            next_step="Give fewer levels (6 is usual: later splits make more), or --max_voxels.",
        )
    while max_voxels < min(config.max_voxels, 8**levels) and levels > 1:  # memory has no room
        levels -= 1
    octree = _dense_octree(field, cube, levels, device)
    while len(octree.path) > max_voxels and levels > 1:
        levels -= 1
        octree = _dense_octree(field, cube, levels, device)
    _check_room(octree, levels, wanted, max_voxels, config)
    return octree, field(corner_positions(octree))


def _dense_octree(field: InitialField, cube: Cube, levels: int, device: torch.device) -> Octree:
    """All of the main bound in cells of one level, and what the surface crosses outside."""
    path, level = graded(cube, levels, min(levels, SHELL), device)
    octree = make_octree(cube, path, level)
    inside, sdf = inside_main(octree), field(corner_positions(octree))
    use = inside | crossing(octree, sdf)
    if field.report.evidence == "masks":  # nothing can be outside of the visual hull
        lowest = sdf[octree.corner_index.long()].amin(1)
        use &= lowest < 2.0 * octree.lo_size[:, 3]
    return keep(octree, use)[0]


def _check_room(
    octree: Octree, levels: int, wanted: int, max_voxels: int, config: VoxelConfig
) -> None:
    """Tell of a start that is coarser than it should be, for there to be room for its voxels.

    Raises:
        UsageError: it has more voxels than `config` allows all the same.
        MemoryError: it has more than memory allows.
    """
    if len(octree.path) > max_voxels and max_voxels < config.max_voxels:
        raise MemoryError(
            f"the coarsest start has {len(octree.path):,} voxels, and {max_voxels:,} fit"
        )
    if len(octree.path) > max_voxels:
        raise UsageError(
            f"The coarsest start has {len(octree.path):,} voxels, more than the {max_voxels:,} "
            "there may be.",
            where="--max_voxels",
            next_step="Allow more of them; thousands make a shape, millions a likeness.",
        )
    if levels < wanted:
        logger.warning(
            "The start has %d levels inside the bound instead of %d. More would be over the %d "
            "voxels there may be (--max_voxels).", levels, wanted, max_voxels,
        )  # fmt: skip


@torch.no_grad()
def seed_colors(voxels: Voxels, targets: tuple[Target, ...]) -> None:
    """Mean colour of the images at each voxel where a view's surface is near it, in place."""
    octree = voxels.octree
    edge = octree.lo_size[:, 3]
    center = octree.lo_size[:, :3] + 0.5 * edge[:, None]
    total = torch.zeros(len(voxels), 4, device=voxels.device)
    for target in targets:
        pixels = rasterize(voxels, target.kernel)[3].pixels
        row, column, depth, seen = pixels_of(center, target)
        near = (pixels[row, column, layout.P_MEDIAN] - depth).abs() < COLOR_TOLERANCE * edge
        color = target.color
        at = scaled(row, column, target, color)
        use = seen & near
        if target.ignored is not None:
            use &= ~target.ignored.to(use.device)[at]
        use = use.float()[:, None]
        total[:, :3] += use * color[at]
        total[:, 3:] += use
    known = total[:, 3] > 0
    mean = total[:, :3] / total[:, 3:].clamp_min(1.0)
    overall = mean[known].mean(0) if bool(known.any()) else torch.full((3,), 0.5).to(mean)
    mean = torch.where(known[:, None], mean, overall)
    voxels.sh0.copy_((mean - 0.5) / SH_C0)


def _gray(octree: Octree, sdf: Tensor, config: VoxelConfig, targets: tuple[Target, ...]) -> Voxels:
    n, device = len(octree.path), sdf.device
    coefficients = (config.sh_degree + 1) ** 2
    voxels = Voxels(
        octree,
        sdf.float().contiguous(),
        torch.zeros(n, 3, device=device),
        torch.zeros(n, coefficients - 1, 3, device=device),
        torch.ones(LEVELS, device=device),
        _background(config, targets, device),
    )
    set_sharpness(voxels, config.sharpness)
    return voxels


def _background(config: VoxelConfig, targets: tuple[Target, ...], device: torch.device) -> Tensor:
    """White, black, or the mean colour of the images' borders."""
    if config.white_background or config.black_background:
        return torch.full((3,), float(config.white_background), device=device)
    means = [_border(t) for t in targets]
    known = [mean for mean in means if mean is not None]
    if not known:  # all borders are ignored
        return torch.full((3,), 0.5, device=device)
    return (torch.stack(known).mean(0) / 255.0).to(device)


def _border(target: Target) -> Tensor | None:
    """(3,) mean colour of an image's border, of what is not ignored; None: all of it is."""

    def border(image: Tensor) -> Tensor:
        return torch.cat([image[0], image[-1], image[:, 0], image[:, -1]])

    colors = border(target.rgb).float()
    if target.ignored is not None:
        colors = colors[~border(target.ignored)]
    return colors.mean(0) if len(colors) else None


def _levels(octree: Octree) -> tuple[int, int]:
    inside = octree.level - octree.cube.outside_level
    return int(inside.min()), int(inside.max())
