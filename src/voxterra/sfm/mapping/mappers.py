"""Map verified matches: camera poses and points of every connected set of photos.

Incremental: Schönberger and Frahm, Structure-from-Motion Revisited, CVPR 2016.
Global: Pan et al., Global Structure-from-Motion Revisited (GLOMAP), ECCV 2024.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Hashable
from pathlib import Path

import pycolmap

from voxterra.adjust.colmap_calls import run_cancellable
from voxterra.core.progress import Progress
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.database import pair_counts
from voxterra.sfm.mapping.attempts import Attempt
from voxterra.sfm.mapping.checkpoints import (
    SNAPSHOT_PHOTOS,
    folder_for,
    largest_snapshot,
    prune_snapshots,
    read_finished,
    snapshots,
    write_finished,
)

_log = logging.getLogger(__name__)

# Smaller models are accidental, except where there are no more photos.
MIN_MODEL_SIZE = 3


def map_photos(
    database: Path,
    image_dir: Path,
    photo_count: int,
    config: SfmConfig,
    *,
    use_position_priors: bool,
    attempt: Attempt = Attempt(),
    calibrated: frozenset[int] = frozenset(),
    priors: Hashable = None,
    progress: Progress,
) -> list[pycolmap.Reconstruction]:
    """Make all models that the matches in `database` support, largest first; may be none.

    Models are stored beside the database. A call with the same inputs reads them, and an
    interrupted call resumes from the last snapshot of its largest model. With
    `config.deterministic` it starts over instead, since a resumed model is adjusted in another
    order.

    With position priors the models are metric and in the priors' frame. The global mapper uses
    no priors, can be stopped only at its end, and uses of `attempt` only whether focal lengths are
    estimated. Cameras with the ids `calibrated` keep their parameters, except in the global
    mapper. `priors` identify the position priors in the database, in any form.
    """
    found = pair_counts(database)
    matches = (found.pairs.tobytes(), found.inliers.tobytes())
    inputs = (config, attempt, sorted(calibrated), use_position_priors, priors, matches)
    folder = folder_for(database, *inputs)
    models = read_finished(folder)
    if models is None:
        work_dir = database.with_name("models")
        shutil.rmtree(work_dir, ignore_errors=True)
        work_dir.mkdir()
        if config.mapper == "global":
            free = attempt.free_focal
            models = _global(database, image_dir, work_dir, photo_count, config, free, progress)
        else:
            options = _incremental_options(photo_count, config, use_position_priors)
            attempt.apply(options)
            options.constant_cameras = set(calibrated)
            growing = None if config.deterministic else folder
            models = _incremental(
                database, image_dir, work_dir, photo_count, options, growing, progress
            )
        shutil.rmtree(work_dir, ignore_errors=True)
        models = write_finished(models, folder)
    return select_models(models, min_size(photo_count))


def min_size(photo_count: int) -> int:
    """Smallest number of photos in a model that is not dropped."""
    return min(MIN_MODEL_SIZE, photo_count)


def select_models(
    models: list[pycolmap.Reconstruction], min_images: int
) -> list[pycolmap.Reconstruction]:
    """Models of `min_images` or more, none contained in another, largest first."""
    kept: list[pycolmap.Reconstruction] = []
    seen: list[set[int]] = []
    for model in sorted(models, key=_size, reverse=True):
        images = set(model.reg_image_ids())
        if len(images) < min_images:
            _log.info("Dropped a model of %d photos: too small.", len(images))
        elif any(images <= larger for larger in seen):
            _log.info("Dropped a model of %d photos: part of a larger one.", len(images))
        else:
            kept.append(model)
            seen.append(images)
    return kept


def _size(model: pycolmap.Reconstruction) -> tuple[int, int]:
    return model.num_reg_images(), model.num_points3D()


def _incremental_options(
    photo_count: int, config: SfmConfig, use_position_priors: bool
) -> pycolmap.IncrementalPipelineOptions:
    options = pycolmap.IncrementalPipelineOptions()
    options.min_model_size = min_size(photo_count)
    options.num_threads = config.used_threads
    options.random_seed = config.random_seed
    options.use_prior_position = use_position_priors
    # RTK positions without a fix are metres off, unmarked.
    options.use_robust_loss_on_prior_position = use_position_priors
    # Two photos have only points with two observations, and three have few others.
    options.triangulation.ignore_two_view_tracks = photo_count > MIN_MODEL_SIZE
    if config.camera_model == "auto":
        # A wrong lens in an early, weak model spoils everything after it.
        options.max_extra_param = 0.5
    return options


def _incremental(
    database: Path,
    image_dir: Path,
    work_dir: Path,
    photo_count: int,
    options: pycolmap.IncrementalPipelineOptions,
    growing: Path | None,
    progress: Progress,
) -> list[pycolmap.Reconstruction]:
    """Run the incremental mapper; `growing` is the folder to make snapshots for, or None."""
    start = None if growing is None else largest_snapshot(growing)
    registered = start[1] if start else 0
    fraction = 0.0
    if growing is not None:
        snapshots(growing).mkdir(exist_ok=True)
        options.snapshot_path = snapshots(growing)
        options.snapshot_frames_freq = SNAPSHOT_PHOTOS
    if start:
        _log.info("Resuming from a model of %d photos.", registered)

    def on_start() -> None:
        nonlocal registered
        registered = 2

    def on_next() -> None:
        nonlocal registered
        registered += 1

    def work(token: pycolmap.CancellationToken) -> dict[int, pycolmap.Reconstruction]:
        return pycolmap.incremental_mapping(
            database,
            image_dir,
            work_dir,
            options=options,
            input_path=start[0] if start else "",
            initial_image_pair_callback=on_start,
            next_image_callback=on_next,
            cancellation_token=token,
        )

    def report() -> None:
        nonlocal fraction
        if growing is not None:
            prune_snapshots(growing)
        # A second component counts from the start again; progress never goes back.
        fraction = max(fraction, min(registered / photo_count, 1.0))
        progress(fraction, f"registered {min(registered, photo_count)}/{photo_count} photos")

    return list(run_cancellable(work, report, folder=work_dir).values())


def _global(
    database: Path,
    image_dir: Path,
    work_dir: Path,
    photo_count: int,
    config: SfmConfig,
    refine_focal_length: bool,
    progress: Progress,
) -> list[pycolmap.Reconstruction]:
    calibration = pycolmap.ViewGraphCalibrationOptions()
    calibration.random_seed = config.random_seed
    options = pycolmap.GlobalPipelineOptions()
    options.min_model_size = min_size(photo_count)
    options.num_threads = config.used_threads
    options.random_seed = config.random_seed
    options.image_path = image_dir
    options.mapper.bundle_adjustment.refine_focal_length = refine_focal_length
    # Calibration rewrites focal lengths and pair geometries: done on a copy, so that a later run of
    # the incremental mapper finds the database unchanged.
    copy = work_dir / "global.db"
    shutil.copyfile(database, copy)

    def work(_: pycolmap.CancellationToken) -> dict[int, pycolmap.Reconstruction]:
        if refine_focal_length:
            pycolmap.calibrate_view_graph(copy, calibration)
        return pycolmap.global_mapping(copy, image_dir, work_dir, options)

    def report() -> None:
        progress(0.5, f"registering {photo_count} photos at once")

    return list(run_cancellable(work, report, folder=work_dir).values())
