"""From matches to models to deliver: the usual way, then others where its result is doubtful."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap

from voxterra.adjust.lenses import has_weak_focal_length
from voxterra.core.photos import Photo
from voxterra.core.progress import Progress, part
from voxterra.sfm.ambiguity.split import pull_apart
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.cameras import CameraGroup
from voxterra.sfm.features.staging import StagedPhotos
from voxterra.sfm.mapping.attempts import MANY_PHOTOS, Attempt, first_attempt, further_attempts
from voxterra.sfm.mapping.candidates import Task, Tried, try_attempt
from voxterra.sfm.retry.bring_in import bring_in

_log = logging.getLogger(__name__)

# A held focal length is contradicted when the photos fit so much worse with it, or so many fewer
# observations do, than with a free one.
_WORSE_ERROR, _FEWER_OBSERVATIONS = 1.25, 0.75


@dataclass(frozen=True)
class Solved:
    """Models to deliver, largest first.

    Attributes:
        models: may be none.
        focal_refined: whether their focal lengths were estimated rather than taken from metadata.
        warnings: what speaks against their shape, and what was relaxed to place photos.
        database: with the matches that they are of.
    """

    models: tuple[pycolmap.Reconstruction, ...]
    focal_refined: bool
    warnings: tuple[str, ...]
    database: Path


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
    least against it. Parts of it that only look alike are pulled apart. Photos that it leaves out
    are then matched again in stronger ways.
    """
    task = Task(database, photos, staged, groups, config, use_position_priors)
    tried = [try_attempt(task, first_attempt(config), part(progress, 0.0, 0.5))]
    further = _further(task, tried[0])
    for index, attempt in enumerate(further):
        if _settled(tried):
            break
        share = part(
            progress, 0.5 + 0.3 * index / len(further), 0.5 + 0.3 * (index + 1) / len(further)
        )
        tried.append(try_attempt(task, attempt, share))
    best = max(tried, key=lambda t: _merit(t, tried))
    if len(tried) > 1:
        _log.info("Taken: %s.", best.attempt)
    task, best, parted = pull_apart(task, best, part(progress, 0.8, 0.85))
    task, best, brought = bring_in(task, best, part(progress, 0.85, 0.9))
    weak = _is_weak(task, best, part(progress, 0.9, 0.92))
    if weak and all(group.focal_known for group in groups):
        best = _with_known_focal(task, best, part(progress, 0.92, 1.0))
    wrong_metadata = any(_contradicted(t, tried) for t in tried if t is not best)
    warnings = _warnings(task, best, wrong_metadata=wrong_metadata, weak_focal=weak)
    return Solved(best.models, best.focal_refined, (*parted, *brought, *warnings), task.database)


def _further(task: Task, first: Tried) -> tuple[Attempt, ...]:
    if task.config.mapper == "global":
        return ()
    further = further_attempts(task.config, focal_known=task.focal_known)
    if len(task.photos) > MANY_PHOTOS:
        further = further[:2]
    if first.shape.doubts == {"focal"} and task.config.refine_focal_length == "auto":
        return (Attempt(free_focal=False), *further)
    return further


def _settled(tried: Sequence[Tried]) -> bool:
    """Whether the last result is complete and beyond doubt, or others came to the same."""
    last, first = tried[-1], tried[0]
    if not last.shape.complete:
        return False
    if _contradicted(last, tried):
        return first.shape.complete and first.shape.doubts == {"focal"}  # the metadata is wrong
    before = [t.shape.doubts for t in tried[:-1] if t.shape.complete]
    # What two ways of mapping agree on is not the models' fault: GPS may be wrong, too.
    return not last.shape.doubts or last.shape.doubts in before


def _contradicted(one: Tried, tried: Sequence[Tried]) -> bool:
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


def _merit(one: Tried, tried: Sequence[Tried]) -> tuple[float, ...]:
    """Larger is better: photos placed (coarsely), little against it, photos, fit."""
    shape = one.shape
    share = round(10 * shape.placed / max(shape.tied, 1))
    against = len(shape.doubts) + int(_contradicted(one, tried))
    fit = shape.observations / max(shape.error_px, 1e-3)
    return share, -against, shape.placed, fit


def _is_weak(task: Task, best: Tried, progress: Progress) -> bool:
    """Whether the photos determine the focal lengths badly that were estimated of them."""
    auto = task.config.refine_focal_length == "auto" and not task.use_position_priors
    auto = auto and not task.calibrated
    if not best.models or not auto:
        return False
    if not best.focal_refined:
        return not task.known_focal_px
    return has_weak_focal_length(best.models[0], task.config.adjust, progress=progress)


def _with_known_focal(task: Task, best: Tried, progress: Progress) -> Tried:
    """The same with focal lengths of the metadata, unless fewer photos fit with them."""
    if not best.focal_refined:
        return best
    _log.info("The photos do not determine the focal length; using that of the metadata.")
    fixed = try_attempt(task, Attempt(free_focal=False), progress)
    placed, before = (sum(m.num_reg_images() for m in t.models) for t in (fixed, best))
    # A wrong focal length in the metadata shows in photos that no longer fit.
    return fixed if placed >= before and not _contradicted(fixed, [best]) else best


def _warnings(task: Task, best: Tried, *, wrong_metadata: bool, weak_focal: bool) -> list[str]:
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
