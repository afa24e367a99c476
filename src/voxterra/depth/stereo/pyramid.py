"""Stereo from the coarsest level of the image pyramid to the finest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxterra.core.progress import Progress, part
from voxterra.depth.config import DepthConfig
from voxterra.depth.source import DepthInputs, DepthTask, Maps
from voxterra.depth.stereo.cpu import OnCpu
from voxterra.depth.stereo.device import stereo_on
from voxterra.depth.stereo.filtering import filter_depth_maps
from voxterra.depth.stereo.geometry import inverse_depth_per_pixel, maps_between, pinhole_of
from voxterra.depth.stereo.level import Level, LevelImages
from voxterra.depth.stereo.start import first_planes
from voxterra.depth.tasks import map_size
from voxterra.kernels.stereo.hypotheses import Matching, Search, patch_offsets

if TYPE_CHECKING:
    from voxterra.depth.stereo.gpu import OnGpu

_BILATERAL_SIGMA = np.float32(14.0)
_FILTERING = 0.06  # share of the time


def solve_pyramid(inputs: DepthInputs, config: DepthConfig, progress: Progress) -> Maps:
    """Yield the depth maps of `inputs.todo`; see `voxterra.depth.stereo.source`.

    A level's planes stay on disk until the next level is done; the finest ones until no photo is
    left whose map is checked against them.
    """
    levels = levels_of(inputs, config)
    shares = np.cumsum([0.0] + [4.0**k for k in range(len(levels))])
    shares *= (1 - _FILTERING) / shares[-1]
    needed = {j for i in inputs.todo for j in (i, *inputs.tasks[i].neighbours)}
    for k in range(_first_to_solve(levels, needed), len(levels)):
        previous = levels[k - 1] if k else None
        images = LevelImages(inputs.photos, levels, k)
        report = part(progress, float(shares[k]), float(shares[k + 1]))
        _solve_level(inputs, levels[k], previous, images, config, report)
        for coarser in levels[:k]:
            coarser.remove()
    report = part(progress, 1 - _FILTERING, 1.0)
    yield from filter_depth_maps(levels[-1], inputs, config, report)


def levels_of(inputs: DepthInputs, config: DepthConfig) -> list[Level]:
    """The levels of the pyramid, coarsest first."""
    sizes = level_sizes(inputs.tasks, config.levels)
    return [
        Level(
            inputs.work_dir / f"level_{k}",
            tuple(task.view.resized(*size) for task, size in zip(inputs.tasks, of_level)),
        )
        for k, of_level in enumerate(sizes)
    ]


def level_sizes(tasks: Sequence[DepthTask], count: int) -> list[list[tuple[int, int]]]:
    """(width, height) of every view at every level, coarsest first; at most `count` levels."""
    out: list[list[tuple[int, int]]] = []
    for halvings in reversed(range(max(count, 1))):
        level = [map_size(task.view, max(task.size), halvings) for task in tasks]
        if not out or level != out[-1]:
            out.append(level)
    return out


def _first_to_solve(levels: list[Level], needed: set[int]) -> int:
    """The level to resume from: the one behind the last that is whole."""
    if levels[-1].holds(needed):
        return len(levels)
    whole = [k for k, level in enumerate(levels) if level.holds(range(len(level.views)))]
    return max(whole, default=-1) + 1


def _solve_level(
    inputs: DepthInputs,
    level: Level,
    previous: Level | None,
    images: LevelImages,
    config: DepthConfig,
    progress: Progress,
) -> None:
    """Planes of all views at one level; views that are on disk already are skipped."""
    count = len(inputs.tasks)
    with stereo_on(config, level, images, previous) as stereo:
        for i in range(count):
            size = f"{level.views[i].width}x{level.views[i].height}"
            compiling = "" if stereo.compiled else " (compiling, on first use)"
            progress(i / count, f"stereo {size}, photo {i + 1}/{count}{compiling}")
            if not level.path(i).exists():
                level.write(i, *solve_view(i, inputs, level, stereo, config, previous is None))


def solve_view(
    index: int,
    inputs: DepthInputs,
    level: Level,
    stereo: OnCpu | OnGpu,
    config: DepthConfig,
    first: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Planes (H, W, 3) and costs (H, W) of one view at one level, the `first` or a finer one."""
    view, task = level.views[index], inputs.tasks[index]
    height, width = view.height, view.width
    if not task.neighbours:
        return np.zeros((height, width, 3), np.float32), np.full((height, width), 2, np.float32)
    start, geo_weight = None, config.geometric_weight
    iterations, refinements, explorations = config.refine_iterations, 2, 0
    if first:
        start, geo_weight = first_planes(inputs, index, view), 0.0
        iterations, refinements, explorations = config.coarse_iterations, 3, 2
    offsets = patch_offsets(fine=not first)
    spatial = np.exp(-(offsets**2).sum(0) / (2 * 5.0**2)).astype(np.float32)
    matching = Matching(offsets, spatial, _BILATERAL_SIGMA, np.float32(geo_weight))
    low, high = task.points.w_range
    scale = np.array([width / task.view.width, height / task.view.height])
    _, forward, _ = maps_between(index, task.neighbours, level)
    step = inverse_depth_per_pixel(forward, task.points.pixels * scale - 0.5, task.points.depths)
    searches = [
        Search(
            *pinhole_of(view),
            np.float32(low),
            np.float32(high),
            np.float32(step),
            salt=((config.seed * 131 + index) * 31 + iteration) * 2 + color,
            directions=8 if explorations or iteration == 0 else 4,
            refinements=refinements,
            explorations=explorations,
        )
        for iteration in range(iterations)
        for color in (0, 1)
    ]
    return stereo.solve(index, task.neighbours, start, matching, searches)
