"""From verified matches to models: camera poses and points of every connected set of photos.

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
    finish,
    finished,
    folder_for,
    largest_snapshot,
    prune_snapshots,
    snapshots,
)

_log = logging.getLogger(__name__)

# Smaller models are accidents, except when there are no more photos than that.
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
    """All models that the matches in `database` support, largest first; may be none.

    They are kept beside the database: the same question is answered from there, and a call that
    was broken off goes on from the last snapshot of its largest model. With `config.deterministic`
    it begins anew instead, since a model that goes on is adjusted in another order.

    With position priors the models are metric and in the priors' frame. The global mapper takes
    no priors, stops only after it has finished, and heeds of `attempt` only whether focal lengths
    are estimated. Cameras with the ids `calibrated` keep their parameters, except by the global
    mapper. `priors` are what the database has as position priors, in any form.
    """
    found = pair_counts(database)
    matches = (found.pairs.tobytes(), found.inliers.tobytes())
    question = (config, attempt, sorted(calibrated), use_position_priors, priors, matches)
    kept = folder_for(database, *question)
    models = finished(kept)
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
            growing = None if config.deterministic else kept
            models = _incremental(
                database, image_dir, work_dir, photo_count, options, growing, progress
            )
        shutil.rmtree(work_dir, ignore_errors=True)
        models = finish(models, kept)
    return select_models(models, min_size(photo_count))


def min_size(photo_count: int) -> int:
    """Fewest photos in a model that is kept."""
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
    # RTK positions without a fix are metres off without saying so.
    options.use_robust_loss_on_prior_position = use_position_priors
    # Two photos have nothing but points that two photos see, and three have few others.
    options.triangulation.ignore_two_view_tracks = photo_count > MIN_MODEL_SIZE
    if config.camera_model == "auto":
        # A wild lens model in an early, weak model spoils all that follows.
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
    """`growing` is what snapshots are kept for, None for none."""
    start = None if growing is None else largest_snapshot(growing)
    registered = start[1] if start else 0
    fraction = 0.0
    if growing is not None:
        snapshots(growing).mkdir(exist_ok=True)
        options.snapshot_path = snapshots(growing)
        options.snapshot_frames_freq = SNAPSHOT_PHOTOS
    if start:
        _log.info("Going on from a model of %d photos.", registered)

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
        # A second component starts to count anew; progress never steps back.
        fraction = max(fraction, min(registered / photo_count, 1.0))
        progress(fraction, f"placed {min(registered, photo_count)}/{photo_count} photos")

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
    # Calibration rewrites focal lengths and pair geometries: on a copy, so that a later run of
    # the incremental mapper finds the database as matching left it.
    copy = work_dir / "global.db"
    shutil.copyfile(database, copy)

    def work(_: pycolmap.CancellationToken) -> dict[int, pycolmap.Reconstruction]:
        if refine_focal_length:
            pycolmap.calibrate_view_graph(copy, calibration)
        return pycolmap.global_mapping(copy, image_dir, work_dir, options)

    def report() -> None:
        progress(0.5, f"placing {photo_count} photos at once")

    return list(run_cancellable(work, report, folder=work_dir).values())
