"""Multi-view stereo: depth, normals and confidence for every registered photo.

Coarse to fine over an image pyramid. At the coarsest level PatchMatch starts from the sparse
points and random planes; finer levels start from the level below and also ask that depth maps
agree with each other (geometric consistency). What agrees with no other photo is removed last.

Sources: Gipuma (Galliani 2015), COLMAP's multi-view stereo (Schoenberger 2016), ACMM (Xu & Tao
2019); see `kernels.hypotheses`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.photos import PhotoSet
from voxterra.core.progress import Progress, no_progress, part
from voxterra.core.reconstruction import Reconstruction
from voxterra.depth.config import DepthConfig
from voxterra.depth.resume import take_up
from voxterra.depth.stereo.cpu import OnCpu
from voxterra.depth.stereo.device import stereo_on, uses_gpu
from voxterra.depth.stereo.filtering import filter_depth_maps
from voxterra.depth.stereo.geometry import inverse_depth_per_pixel, maps_between, pinhole_of
from voxterra.depth.stereo.level import Level, LevelImages
from voxterra.depth.stereo.neighbours import Prior, choose_sources, sparse_prior
from voxterra.depth.stereo.start import planes_from_points
from voxterra.depth.undistort import write_undistorted
from voxterra.errors import ReconstructionError
from voxterra.imaging.undistort import pinhole_view
from voxterra.io.depth_store import DepthStore, color_path, depth_path, mask_path, write_views
from voxterra.kernels.stereo.hypotheses import Matching, Search, patch_offsets

if TYPE_CHECKING:
    from voxterra.depth.stereo.gpu import OnGpu

_BILATERAL_SIGMA = np.float32(14.0)


@dataclass(frozen=True)
class Task:
    """One photo's part of the problem.

    Attributes:
        view: its undistorted view at the size of the colour image.
        sources: indices of the tasks it is matched against.
        prior: what the sparse points say.
    """

    view: PinholeView
    sources: tuple[int, ...]
    prior: Prior


def estimate_depth(
    components: tuple[Reconstruction, ...],
    photos: PhotoSet,
    config: DepthConfig = DepthConfig(),
    *,
    out_dir: Path,
    progress: Progress = no_progress,
) -> DepthStore:
    """Depth maps of all registered photos by multi-view stereo.

    Work that an earlier, interrupted call with the same arguments left in `out_dir` is taken up
    where it stopped; what another question left there is removed.

    Args:
        components: reconstructions in the world frame; photos of different components are never
            matched against each other.
        photos: where the pixels and masks are.
        out_dir: folder of the resulting `DepthStore`.

    Raises:
        ReconstructionError: no photo has another one to be matched against.
        voxterra.errors.FormatError: a photo cannot be read any more.
        voxterra.errors.UsageError, voxterra.errors.MissingPartError: a GPU is asked for and there
            is none, or what it needs is not installed.
    """
    uses_gpu(config)  # so that it is told now if a GPU is asked for and cannot be used
    tasks = plan(components, config)
    if not any(task.sources for task in tasks):
        raise ReconstructionError(
            "No two photos share enough points to compute depth.",
            next_step="Take photos that overlap by 60 % or more, from places some metres apart.",
        )
    views = tuple(task.view for task in tasks)
    sources = [task.sources for task in tasks]
    take_up(out_dir, views, sources, photos, config)
    if all(depth_path(out_dir, i).exists() for i in range(len(views))):
        progress(1.0, f"{len(tasks)} depth maps")
        return DepthStore(out_dir)
    _undistort_all(views, photos, out_dir, part(progress, 0.0, 0.06))
    write_views(views, out_dir)

    work = out_dir / "work"
    sizes = level_sizes(views, config)
    shares = np.cumsum([0.0] + [4.0**k for k in range(len(sizes))])
    shares = 0.06 + 0.88 * shares / shares[-1]
    previous: Level | None = None
    for k, size in enumerate(sizes):
        level = Level(work / f"level_{k}", tuple(v.resized(*s) for v, s in zip(views, size)))
        report = part(progress, float(shares[k]), float(shares[k + 1]))
        _solve_level(tasks, level, previous, out_dir, config, report)
        previous = level
    assert previous is not None  # level_sizes gives at least one
    filter_depth_maps(previous, sources, out_dir, config, part(progress, 0.94, 1.0))
    shutil.rmtree(work, ignore_errors=True)
    progress(1.0, f"{len(tasks)} depth maps")
    return DepthStore(out_dir)


def plan(components: tuple[Reconstruction, ...], config: DepthConfig) -> list[Task]:
    """Views, source photos and depth ranges of all images of all components."""
    tasks: list[Task] = []
    for index, component in enumerate(components):
        first = len(tasks)
        views = [
            pinhole_view(image, component.camera_of(image), index, config.color_max_size)
            for image in component.images
        ]
        priors = [sparse_prior(component, i, view) for i, view in enumerate(views)]
        sources = choose_sources(component, views, priors, config.sources)
        for view, prior, chosen in zip(views, priors, sources):
            tasks.append(Task(view, tuple(first + j for j in chosen), prior))
    return tasks


def level_sizes(views: tuple[PinholeView, ...], config: DepthConfig) -> list[list[tuple[int, int]]]:
    """(width, height) of every view at every level, coarsest first."""
    out: list[list[tuple[int, int]]] = []
    for k in reversed(range(max(config.levels, 1))):
        level = []
        for view in views:
            longest = max(view.width, view.height)
            finest = min(config.max_size, longest) if config.max_size > 0 else longest
            shrink = max(finest / 2**k, min(160.0, finest)) / longest
            level.append(
                (max(16, round(view.width * shrink)), max(16, round(view.height * shrink)))
            )
        if not out or level != out[-1]:
            out.append(level)
    return out


def _undistort_all(
    views: tuple[PinholeView, ...], photos: PhotoSet, out_dir: Path, progress: Progress
) -> None:
    by_id = photos.by_id()
    for i, view in enumerate(views):
        progress(i / len(views), f"undistorting {i + 1}/{len(views)}")
        color, mask = color_path(out_dir, i), mask_path(out_dir, i)
        photo = by_id[view.name]
        done = color.exists() and (photo.mask_path is None or mask.exists())
        if not done:
            write_undistorted(photo.path, photo.mask_path, view, color, mask)


def _solve_level(
    tasks: list[Task],
    level: Level,
    previous: Level | None,
    out_dir: Path,
    config: DepthConfig,
    progress: Progress,
) -> None:
    """Depth of all views at one level; views that are on disk already are skipped."""
    images = LevelImages(out_dir, level.views)
    with stereo_on(config, level, images, previous) as stereo:
        for i, task in enumerate(tasks):
            size = f"{level.views[i].width}x{level.views[i].height}"
            compiling = "" if stereo.compiled else " (compiling, on first use)"
            progress(i / len(tasks), f"stereo {size}, photo {i + 1}/{len(tasks)}{compiling}")
            if not level.path(i).exists():
                level.write(i, *_solve_view(i, task, level, stereo, config, previous is None))


def _solve_view(
    index: int,
    task: Task,
    level: Level,
    stereo: OnCpu | OnGpu,
    config: DepthConfig,
    first: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Planes (H, W, 3) and costs (H, W) of one view at one level, the `first` or a finer one."""
    view = level.views[index]
    height, width = view.height, view.width
    if not task.sources:
        return np.zeros((height, width, 3), np.float32), np.full((height, width), 2, np.float32)
    start, geo_weight = None, config.geometric_weight
    iterations, refinements, explorations = config.refine_iterations, 2, 0
    if first:
        start, geo_weight = planes_from_points(task.prior, task.view, view), 0.0
        iterations, refinements, explorations = config.coarse_iterations, 3, 2
    offsets = patch_offsets(fine=not first)
    spatial = np.exp(-(offsets**2).sum(0) / (2 * 5.0**2)).astype(np.float32)
    matching = Matching(offsets, spatial, _BILATERAL_SIGMA, np.float32(geo_weight))
    low, high = task.prior.w_range
    scale = np.array([width / task.view.width, height / task.view.height])
    _, forward, _ = maps_between(index, task.sources, level)
    step = inverse_depth_per_pixel(forward, task.prior.pixels * scale - 0.5, task.prior.depths)
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
    return stereo.solve(index, task.sources, start, matching, searches)
