"""From matches to models to deliver: the usual way, then others where its result is doubtful."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap

from voxterra.core.photos import Photo
from voxterra.core.progress import Progress, part
from voxterra.sfm.attempts import Attempt, first_attempt, further_attempts
from voxterra.sfm.calibrate import calibrate
from voxterra.sfm.cameras import CameraGroup, calibrated_ids, known_focals
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.database import write_focal_lengths
from voxterra.sfm.mapping import map_photos
from voxterra.sfm.positions import USUAL_SIGMA_M, positions_m
from voxterra.sfm.refine import has_weak_focal_length
from voxterra.sfm.shape import Shape, judge
from voxterra.sfm.staging import StagedPhotos

_log = logging.getLogger(__name__)

# A held focal length is contradicted when the photos fit so much worse with it, or so many fewer
# observations do, than with a free one.
_WORSE_ERROR, _FEWER_OBSERVATIONS = 1.25, 0.75

# More photos than this take so long to map that only the likeliest other ways are tried.
_MANY_PHOTOS = 150


@dataclass(frozen=True)
class Solved:
    """Models to deliver, largest first.

    Attributes:
        models: may be none.
        focal_refined: whether their focal lengths were estimated rather than taken from metadata.
        warnings: what speaks against their shape.
    """

    models: tuple[pycolmap.Reconstruction, ...]
    focal_refined: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Tried:
    attempt: Attempt
    models: tuple[pycolmap.Reconstruction, ...]
    focal_refined: bool
    shape: Shape


@dataclass(frozen=True)
class _Task:
    """What all attempts share."""

    database: Path
    photos: tuple[Photo, ...]
    staged: StagedPhotos
    groups: tuple[CameraGroup, ...]
    config: SfmConfig
    use_position_priors: bool

    @property
    def known_focal_px(self) -> dict[int, float]:
        return known_focals(self.groups)

    @property
    def calibrated(self) -> frozenset[int]:
        return calibrated_ids(self.groups)

    @property
    def focal_known(self) -> bool:
        """Whether metadata states the focal length of most photos."""
        known = sum(len(group.members) for group in self.groups if group.focal_known)
        return 2 * known > len(self.photos)


def solve(
    database: Path,
    photos: tuple[Photo, ...],
    staged: StagedPhotos,
    groups: tuple[CameraGroup, ...],
    config: SfmConfig,
    *,
    use_position_priors: bool,
    progress: Progress,
) -> Solved:
    """Map the photos; when too few find a place or the shape is doubtful, map them in other ways.

    The first result that is complete and beyond doubt is taken, else the one with most photos and
    least against it.
    """
    task = _Task(database, photos, staged, groups, config, use_position_priors)
    tried = [_try(task, first_attempt(config), part(progress, 0.0, 0.5))]
    further = _further(task, tried[0])
    for index, attempt in enumerate(further):
        if _settled(tried):
            break
        share = part(
            progress, 0.5 + 0.4 * index / len(further), 0.5 + 0.4 * (index + 1) / len(further)
        )
        tried.append(_try(task, attempt, share))
    best = max(tried, key=lambda t: _merit(t, tried))
    if len(tried) > 1:
        _log.info("Taken: %s.", best.attempt)
    weak = _is_weak(task, best, part(progress, 0.9, 0.92))
    if weak and all(group.focal_known for group in groups):
        best = _with_known_focal(task, best, part(progress, 0.92, 1.0))
    wrong_metadata = any(_contradicted(t, tried) for t in tried if t is not best)
    warnings = _warnings(task, best, wrong_metadata=wrong_metadata, weak_focal=weak)
    return Solved(best.models, best.focal_refined, tuple(warnings))


def _further(task: _Task, first: _Tried) -> tuple[Attempt, ...]:
    if task.config.mapper == "global":
        return ()
    further = further_attempts(task.config, focal_known=task.focal_known)
    if len(task.photos) > _MANY_PHOTOS:
        further = further[:2]
    if first.shape.doubts == {"focal"} and task.config.refine_focal_length == "auto":
        return (Attempt(free_focal=False), *further)
    return further


def _try(task: _Task, attempt: Attempt, progress: Progress) -> _Tried:
    write_focal_lengths(task.database, task.groups, attempt.focal_factor)
    models = map_photos(
        task.database,
        task.staged.image_dir,
        len(task.photos),
        task.config,
        use_position_priors=task.use_position_priors,
        attempt=attempt,
        calibrated=task.calibrated,
        priors=tuple((photo.id, photo.gps) for photo in task.photos),
        progress=part(progress, 0.0, 0.9),
    )
    focal_refined = attempt.free_focal
    # Position priors hold the model in place; an adjustment without them would let go of it.
    if attempt.held and not task.use_position_priors:
        share = part(progress, 0.9, 1.0)
        known = task.known_focal_px
        found = [
            calibrate(
                model, task.config, known_focal_px=known, fixed=task.calibrated, progress=share
            )
            for model in models
        ]
        models = [model for model, _ in found]
        focal_refined = all(free for _, free in found)
    shape = judge(
        models,
        task.database,
        known_focal_px=task.known_focal_px,
        positions_m=positions_m(task.photos),
        gps_sigma_m=_gps_sigma_m(task.photos),
    )
    _log.info(
        "%s: %d of %d related photos placed, %.2f px, %d observations, against it: %s.",
        attempt, shape.placed, shape.tied, shape.error_px, shape.observations,
        ", ".join(sorted(shape.doubts)) or "nothing",
    )  # fmt: skip
    return _Tried(attempt, tuple(models), focal_refined, shape)


def _gps_sigma_m(photos: Sequence[Photo]) -> float:
    stated = [p.gps.sigma_horizontal_m or USUAL_SIGMA_M for p in photos if p.gps is not None]
    return max(float(np.median(stated)), USUAL_SIGMA_M) if stated else USUAL_SIGMA_M


def _settled(tried: Sequence[_Tried]) -> bool:
    """Whether the last result is complete and beyond doubt, or others came to the same."""
    last, first = tried[-1], tried[0]
    if not last.shape.complete:
        return False
    if _contradicted(last, tried):
        return first.shape.complete and first.shape.doubts == {"focal"}  # the metadata is wrong
    before = [t.shape.doubts for t in tried[:-1] if t.shape.complete]
    # What two ways of mapping agree on is not the models' fault: GPS may be wrong, too.
    return not last.shape.doubts or last.shape.doubts in before


def _contradicted(one: _Tried, tried: Sequence[_Tried]) -> bool:
    """Whether the photos fit clearly worse with the held focal length than with a free one."""
    return not one.focal_refined and any(
        other.focal_refined
        and other.shape.placed >= one.shape.placed
        and "lens" not in other.shape.doubts
        and (
            one.shape.error_px > _WORSE_ERROR * other.shape.error_px
            or one.shape.observations < _FEWER_OBSERVATIONS * other.shape.observations
        )
        for other in tried
    )


def _merit(one: _Tried, tried: Sequence[_Tried]) -> tuple[float, ...]:
    """Larger is better: photos placed (coarsely), little against it, photos, fit."""
    shape = one.shape
    share = round(10 * shape.placed / max(shape.tied, 1))
    against = len(shape.doubts) + int(_contradicted(one, tried))
    fit = shape.observations / max(shape.error_px, 1e-3)
    return share, -against, shape.placed, fit


def _is_weak(task: _Task, best: _Tried, progress: Progress) -> bool:
    """Whether the photos determine the focal lengths badly that were estimated of them."""
    auto = task.config.refine_focal_length == "auto" and not task.use_position_priors
    auto = auto and not task.calibrated
    if not best.models or not auto:
        return False
    if not best.focal_refined:
        return not task.known_focal_px
    return has_weak_focal_length(best.models[0], task.config, progress=progress)


def _with_known_focal(task: _Task, best: _Tried, progress: Progress) -> _Tried:
    """The same with focal lengths of the metadata, unless fewer photos fit with them."""
    if not best.focal_refined:
        return best
    _log.info("The photos do not determine the focal length; using that of the metadata.")
    fixed = _try(task, Attempt(free_focal=False), progress)
    placed, before = (sum(m.num_reg_images() for m in t.models) for t in (fixed, best))
    # A wrong focal length in the metadata shows in photos that no longer fit.
    return fixed if placed >= before and not _contradicted(fixed, [best]) else best


def _warnings(task: _Task, best: _Tried, *, wrong_metadata: bool, weak_focal: bool) -> list[str]:
    """What a user should know about the shape of the models."""
    shape, found = best.shape, []
    if "focal" in shape.doubts:
        off = f"{100 * np.expm1(shape.focal_drift):.0f} %"
        found.append(
            f"the metadata states a focal length that is {off} off: the photos fit clearly better "
            "with another, which is used; they may be cropped"
            if wrong_metadata
            else f"the focal length came out {off} off the one in the metadata: the photos are "
            "cropped, or the model is stretched along the viewing direction; measure a known "
            "distance in each direction before you trust it"
        )
    if "lens" in shape.doubts:
        found.append(
            f"the photos led to {' and '.join(shape.lens_doubts)}: the model may be bent; photos "
            "of the same things from more directions and distances would determine the lens"
        )
    if "gps" in shape.doubts:
        found.append(
            f"the model and the photos' GPS differ by {shape.gps_misfit_m:.0f} m RMS on the "
            f"ground, more than the {shape.gps_limit_m:.0f} m that GPS explains: one of them has "
            "a wrong shape; check that the positions belong to these photos, or add oblique photos"
        )
    if shape.misplaced:
        names = ", ".join(task.photos[i].id for i in shape.misplaced[:5])
        more = len(shape.misplaced) - 5
        found.append(
            f"the place of {names}{f' and {more} more' if more > 0 else ''} contradicts the photo "
            "that shows most of the same; what only they show may lie wrong; photos between "
            "them would tie them"
        )
    if weak_focal and not task.known_focal_px:
        found.append(
            "neither the photos nor their metadata determine the focal length: lengths along the "
            "viewing direction may be wrong by a third; use photos with EXIF, or turn and tilt "
            "the camera more while taking them"
        )
    return found
