"""Depth maps of every registered photo: undistort, measure, fill.

Which depth source measures, and which one fills, is an option; `voxterra.depth.source` is the door
they come in by. Here is what any of them needs, and what becomes of what they yield.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.depth import DepthMap
from voxterra.core.photos import PhotoSet
from voxterra.core.progress import Progress, no_progress, part
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.surface_source import SurfaceSource
from voxterra.core.wording import listed
from voxterra.depth.choice import NO_OPTIONS, Chosen, ChosenSources, chosen_sources
from voxterra.depth.config import DepthConfig
from voxterra.depth.resume import resume_or_clear
from voxterra.depth.source import FILLED_CONFIDENCE, DepthInputs, DepthTask
from voxterra.depth.tasks import plan
from voxterra.depth.undistort import undistort_photos, usable
from voxterra.io.depth_store import (
    DepthStore,
    depth_path,
    read_depth,
    write_depth,
    write_views,
)

log = logging.getLogger(__name__)

# Shares of the time; of `_STARTING`, of that of measuring.
_UNDISTORTING, _STARTING, _FILLING = 0.06, 0.1, 0.1
_LEAST = np.float32(1 / 255)  # the least confidence that is kept, of what is known


def estimate_depth(
    components: tuple[Reconstruction, ...],
    photos: PhotoSet,
    config: DepthConfig = DepthConfig(),
    *,
    plugins: Mapping[str, Any] = NO_OPTIONS,
    metric: bool = False,
    out_dir: Path,
    progress: Progress = no_progress,
) -> DepthStore:
    """Depth maps of all registered photos, by multi-view stereo unless `config` names another one.

    Work that an earlier, interrupted call with the same arguments left in `out_dir` is resumed;
    what another question left there is removed.

    Args:
        components: reconstructions in the world frame; photos of different components are never
            matched against each other.
        photos: where the pixels and masks are.
        plugins: options of depth sources that are not built in, by their names.
        metric: whether world units are known to be metres.
        out_dir: folder of the resulting `DepthStore`.

    Raises:
        ReconstructionError: no photo has another one to be matched against, or a depth source
            that is not built in fails.
        voxterra.errors.FormatError: a photo cannot be read any more.
        voxterra.errors.UsageError, voxterra.errors.MissingPartError: there is no such depth source,
            a GPU is asked for and there is none, or what it needs is not installed.
    """
    sources = chosen_sources(config, plugins)
    sources.require()
    tasks = plan(components, config)
    resume_or_clear(out_dir, tasks, photos, config, sources.counting())
    if not _finished(out_dir, len(tasks), sources):
        _make(sources, tasks, photos, config, metric, out_dir, progress)
    shutil.rmtree(out_dir / "work", ignore_errors=True)
    progress(1.0, f"{len(tasks)} depth maps")
    return DepthStore(out_dir)


def _finished(out_dir: Path, count: int, sources: ChosenSources) -> bool:
    whole = all(depth_path(out_dir, i).exists() for i in range(count))
    return whole and (sources.fill is None or bool(DepthStore(out_dir).shares))


def _make(
    sources: ChosenSources,
    tasks: tuple[DepthTask, ...],
    photos: PhotoSet,
    config: DepthConfig,
    metric: bool,
    out_dir: Path,
    progress: Progress,
) -> None:
    """Undistort, measure and fill what is not there yet."""
    views = tuple(task.view for task in tasks)
    undistort_photos(views, photos, out_dir, part(progress, 0.0, _UNDISTORTING))
    names = tuple(c.name for c in (sources.estimate, sources.fill) if c is not None)
    write_views(views, out_dir, source_names=names, metric=metric)

    work, store = out_dir / "work", DepthStore(out_dir)
    inputs = DepthInputs(tasks, store, (), work, config.device, config.seed)
    if sources.fill is None:
        _measure(sources, inputs, out_dir, part(progress, _UNDISTORTING, 1.0))
    else:
        until = 1.0 - _FILLING
        measured = DepthStore(out_dir, maps=work / "measured")
        _measure(sources, inputs, measured.maps, part(progress, _UNDISTORTING, until))
        counts = _fill(sources.fill, inputs, measured, out_dir, part(progress, until, 1.0))
        shares = tuple((counts / max(counts.sum(), 1)).tolist()[: len(names)])
        write_views(views, out_dir, source_names=names, shares=shares, metric=metric)


def _measure(sources: ChosenSources, inputs: DepthInputs, folder: Path, progress: Progress) -> None:
    """Write the maps of the source that measures into a folder."""
    inputs = replace(inputs, todo=_missing(inputs, folder))
    if sources.start is not None:
        inputs = _with_proposals(sources.start, inputs, part(progress, 0.0, _STARTING))
        progress = part(progress, _STARTING, 1.0)
    for index, found in sources.estimate.maps(inputs, progress):
        write_depth(_masked(inputs, index, found), depth_path(folder, index))
    none = _missing(inputs, folder)
    if none:
        names = [inputs.tasks[index].view.name for index in none]
        name = sources.estimate.name
        log.warning("the depth source '%s' made no depth maps of: %s", name, listed(names))
    for index in none:
        view = inputs.tasks[index].map_view
        depth = np.zeros((view.height, view.width), np.float32)
        empty = DepthMap(view, depth, np.zeros((*depth.shape, 3), np.float32), depth)
        write_depth(empty, depth_path(folder, index))


def _with_proposals(chosen: Chosen, inputs: DepthInputs, progress: Progress) -> DepthInputs:
    """The inputs with what a source proposes stereo to start from."""
    folder = inputs.work_dir / "proposed"
    theirs = replace(inputs, todo=_missing(inputs, folder), work_dir=inputs.work_dir / "start")
    for index, found in chosen.maps(theirs, progress):
        write_depth(found, depth_path(folder, index))

    def proposal(index: int) -> DepthMap | None:
        path = depth_path(folder, index)
        return read_depth(path, inputs.tasks[index].view) if path.exists() else None

    return replace(inputs, proposals=proposal)


def _fill(
    chosen: Chosen, inputs: DepthInputs, measured: DepthStore, folder: Path, progress: Progress
) -> NDArray[np.int64]:
    """Write the maps of `measured` with their holes filled into a folder.

    Returns:
        (3,) number of pixels that were measured, that were filled, and that stay unknown.
    """
    theirs = replace(inputs, todo=_missing(inputs, folder), work_dir=inputs.work_dir / "fill")
    for index, found in chosen.maps(theirs, measured, progress):
        filled = with_holes_filled(measured.load(index), _masked(inputs, index, found))
        write_depth(filled, depth_path(folder, index))
    for index in _missing(inputs, folder):
        write_depth(measured.load(index), depth_path(folder, index))
    counts = np.zeros(3, np.int64)
    for index, task in enumerate(inputs.tasks):
        found = read_depth(depth_path(folder, index), task.view)
        made = np.where(found.depth > 0, found.source, 2)
        counts += np.bincount(made.ravel(), minlength=3)
    return counts


def with_holes_filled(measured: DepthMap, found: DepthMap) -> DepthMap:
    """`measured` with the depths of `found` where it has none.

    They are marked 1 in `DepthMap.source`, and FILLED in `DepthMap.support` unless the source says
    COARSE.
    """
    hole = (measured.depth == 0) & (found.depth > 0)
    return replace(
        measured,
        depth=np.where(hole, found.depth, measured.depth),
        normal=np.where(hole[..., None], found.normal, measured.normal),
        confidence=np.where(
            hole, np.clip(found.confidence, _LEAST, FILLED_CONFIDENCE), measured.confidence
        ),
        source=hole.astype(np.uint8),
        support=np.where(hole, _support_of_filled(found), measured.support),
    )


def _support_of_filled(found: DepthMap) -> NDArray[np.uint8]:
    coarse = found.support == SurfaceSource.COARSE
    return np.where(coarse, SurfaceSource.COARSE, SurfaceSource.FILLED).astype(np.uint8)


def _missing(inputs: DepthInputs, folder: Path) -> tuple[int, ...]:
    """Indices of the photos that have no map in a folder yet."""
    return tuple(i for i in range(len(inputs.tasks)) if not depth_path(folder, i).exists())


def _masked(inputs: DepthInputs, index: int, found: DepthMap) -> DepthMap:
    """The map without what the photo's mask leaves out."""
    mask = usable(inputs.photos, index, found.view)
    if mask is None:
        return found
    return found.kept(mask)
