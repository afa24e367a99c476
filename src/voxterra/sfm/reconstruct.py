"""Structure from motion: photos to components of registered cameras and sparse points."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from voxterra.adjust.colmap_calls import quiet_colmap
from voxterra.adjust.lenses import refine
from voxterra.adjust.positions import position_priors
from voxterra.adjust.unbend import unbend
from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.progress import Progress, no_progress, part
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.registration import Registration
from voxterra.errors import NoOverlapError, TooFewPhotosError
from voxterra.io.colmap.model import from_pycolmap
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.cameras import CameraGroup, calibrated_ids, group_cameras, known_focals
from voxterra.sfm.features.copies import is_one_picture
from voxterra.sfm.features.database import (
    PairCounts,
    feature_counts,
    open_database,
    pair_counts,
    tried_pairs,
    write_position_priors,
)
from voxterra.sfm.features.features import extract_features
from voxterra.sfm.features.matching import match_pairs
from voxterra.sfm.features.pairs import choose_pairs
from voxterra.sfm.features.staging import StagedPhotos, stage_photos, with_photo_ids
from voxterra.sfm.solve import solve
from voxterra.sfm.unregistered import MIN_FEATURES, MIN_INLIERS, explain_unregistered

_log = logging.getLogger(__name__)


def reconstruct(
    photos: PhotoSet,
    config: SfmConfig = SfmConfig(),
    *,
    work_dir: Path,
    progress: Progress = no_progress,
) -> Registration:
    """Register the photos: camera poses, lenses and sparse points.

    Args:
        photos: two or more.
        config: options.
        work_dir: folder for links to the photos and COLMAP's database. A database of the same
            photos and feature options in it is used again, with its features and matches.
        progress: called often; what it raises stops the work.

    Returns:
        Every connected set of photos (component), most photos first, each in its own frame of
        unknown scale, or metric ENU if position priors were used; and, for each photo left out,
        why and what to do about it.

    Raises:
        TooFewPhotosError: fewer than two photos.
        NoOverlapError: no two photos match, all that match are one picture, or they give no model.
        FormatError: a photo or mask cannot be read.
        UsageError: pairs by position are requested without GPS, or no calibrated camera has the
            photos' size.
    """
    if len(photos) < 2:
        raise TooFewPhotosError(
            f"A model needs two photos or more; there is {len(photos)}.",
            next_step="Add photos that overlap by 60 % or more.",
        )
    work_dir.mkdir(parents=True, exist_ok=True)
    with quiet_colmap():
        staged = stage_photos(photos.photos, work_dir, progress=part(progress, 0.0, 0.02))
        groups = group_cameras(photos.photos, config)
        database = _features_and_matches(photos.photos, staged, groups, config, work_dir, progress)
        priors = position_priors(photos.photos, config.adjust)
        if priors is not None:
            write_position_priors(database, *priors)
        solved = solve(
            database, photos.photos, staged, groups, config,
            use_position_priors=priors is not None, progress=part(progress, 0.65, 0.9),
        )  # fmt: skip
        if not solved.models:
            for line in solved.warnings:
                _log.warning("%s%s.", line[0].upper(), line[1:])
            raise _no_model(database, len(photos))
        database = solved.database
        components, warnings = [], list(solved.warnings)
        for index, model in enumerate(solved.models):
            share = part(progress, 0.9 + 0.1 * index / len(solved.models), 1.0)
            # Priors hold the model in place; an adjustment without them would move it.
            if priors is None:
                free = solved.focal_refined
                fixed = calibrated_ids(groups)
                model = refine(
                    model, config.adjust, refine_focal_length=free, fixed=fixed, progress=share
                )
                model, bend_warnings = unbend(
                    model, photos.photos, config.adjust, free_focal=free, fixed=fixed,
                    known_focal_px=known_focals(groups), progress=share,
                )  # fmt: skip
                warnings += bend_warnings
            components.append(with_photo_ids(from_pycolmap(model), photos.photos, staged))
    for folder in (staged.image_dir, staged.mask_dir):
        shutil.rmtree(folder, ignore_errors=True)
    unregistered = explain_unregistered(photos.photos, components, database)
    _log_result(components)
    progress(1.0, f"registered {len(photos) - len(unregistered)} photos")
    return Registration(tuple(components), unregistered, tuple(warnings))


def _features_and_matches(
    photos: tuple[Photo, ...],
    staged: StagedPhotos,
    groups: tuple[CameraGroup, ...],
    config: SfmConfig,
    work_dir: Path,
    progress: Progress,
) -> Path:
    database = open_database(photos, staged, groups, config, work_dir)
    extract_features(database, staged, config, progress=part(progress, 0.02, 0.35))
    features = feature_counts(database, len(photos))
    if (features >= MIN_FEATURES).sum() < 2:
        raise NoOverlapError(
            f"The photos show too little detail: {int(features.max())} features in the best of "
            f"them, {MIN_FEATURES} are needed in two.",
            where=f"{len(photos)} photos",
            next_step="Use sharp photos of surfaces with texture; check exposure and masks.",
        )
    choice = choose_pairs(photos, config)
    _log.info("Matching %d pairs (%s).", len(choice.pairs), choice.method)
    match_pairs(database, staged, choice.pairs, config, progress=part(progress, 0.35, 0.65))
    counts = pair_counts(database)
    if counts.inliers.max(initial=0) < MIN_INLIERS:
        raise _no_model(database, len(photos))
    related = counts.inliers >= MIN_INLIERS
    if is_one_picture(database, photos, PairCounts(counts.pairs[related], counts.inliers[related])):
        raise NoOverlapError(
            "All photos that match are one and the same picture: copies, or the camera did not "
            "move.",
            where=f"{len(photos)} photos",
            next_step="Take photos from different places that overlap by 60 % or more.",
        )
    return database


def _no_model(database: Path, photo_count: int) -> NoOverlapError:
    counts, tried = pair_counts(database), tried_pairs(database)
    best = int(counts.inliers.max(initial=0))
    related = int((counts.inliers >= MIN_INLIERS).sum())
    if related == 0:
        what = (
            f"No two of the {photo_count} photos overlap: of {tried} pairs matched, the best has"
            f" {best} matches that agree, {MIN_INLIERS} are needed."
        )
    else:
        what = (
            f"{related} of {tried} pairs of photos match (the best with {best} matches), but they"
            " give no model: the camera moved too little, or only turned."
        )
    return NoOverlapError(
        what,
        where=f"{photo_count} photos",
        next_step="Take photos from different places that overlap by 60 % or more.",
    )


def _log_result(components: list[Reconstruction]) -> None:
    for component in components:
        errors = component.points.errors_px
        _log.info(
            "Component: %d photos, %d points, %.2f px mean reprojection error.",
            len(component.images),
            len(component.points),
            float(errors.mean()) if len(errors) else 0.0,
        )
