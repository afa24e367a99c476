"""Map verified matches into models: with the usual settings, then others if that looks doubtful."""

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
from voxterra.sfm.ambiguity.split import split_look_alikes
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.cameras import CameraGroup
from voxterra.sfm.features.staging import StagedPhotos
from voxterra.sfm.mapping.attempts import MANY_PHOTOS, Attempt, first_attempt, further_attempts
from voxterra.sfm.mapping.candidates import Candidate, MappingTask, map_attempt
from voxterra.sfm.mapping.plausibility import Plausibility
from voxterra.sfm.retry.left_out import register_left_out

_log = logging.getLogger(__name__)

# A fixed focal length is contradicted when the photos fit this much worse with it than with an
# estimated one, or keep this much fewer observations.
_WORSE_ERROR, _FEWER_OBSERVATIONS = 1.25, 0.75


@dataclass(frozen=True)
class Solved:
    """Solution of the photo set.

    Attributes:
        models: largest first; may be empty.
        focal_refined: whether focal lengths were estimated rather than taken from metadata.
        warnings: doubts about the shape, and what was relaxed to register photos.
        database: with the matches the models were made from.
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
    """Map the photos; if too few register or the shape is doubtful, try other settings.

    Uses the first result that is complete and without doubts, else the one with most photos and
    fewest doubts. Splits models that merge look-alike places. Then matches photos that are left
    out again, with stronger methods.
    """
    task = MappingTask(database, photos, staged, groups, config, use_position_priors)
    candidates = [map_attempt(task, first_attempt(config), part(progress, 0.0, 0.5))]
    further = _further(task, candidates[0])
    for index, attempt in enumerate(further):
        if _settled(candidates):
            break
        share = part(
            progress, 0.5 + 0.3 * index / len(further), 0.5 + 0.3 * (index + 1) / len(further)
        )
        candidates.append(map_attempt(task, attempt, share))
    best = max(candidates, key=lambda c: _merit(c, candidates))
    if len(candidates) > 1:
        _log.info("Using the result of %s.", best.attempt)
    task, best, about_splits = split_look_alikes(task, best, part(progress, 0.8, 0.85))
    task, best, about_left_out = register_left_out(task, best, part(progress, 0.85, 0.9))
    weak = _is_weak(task, best, part(progress, 0.9, 0.92))
    if weak and all(group.focal_known for group in groups):
        best = _with_known_focal(task, best, part(progress, 0.92, 1.0))
    wrong_metadata = any(_contradicted(c, candidates) for c in candidates if c is not best)
    warnings = (
        *about_splits,
        *about_left_out,
        *_warnings(task, best.plausibility, wrong_metadata=wrong_metadata, weak_focal=weak),
    )
    return Solved(best.models, best.focal_refined, warnings, task.database)


def _further(task: MappingTask, first: Candidate) -> tuple[Attempt, ...]:
    if task.config.mapper == "global":
        return ()
    further = further_attempts(task.config, focal_known=task.focal_known)
    if len(task.photos) > MANY_PHOTOS:
        further = further[:2]
    if first.plausibility.doubts == {"focal"} and task.config.refine_focal_length == "auto":
        return (Attempt(free_focal=False), *further)
    return further


def _settled(candidates: Sequence[Candidate]) -> bool:
    """Whether the last result is complete and without doubts, or earlier ones confirm it."""
    last, first = candidates[-1].plausibility, candidates[0].plausibility
    if not last.complete:
        return False
    if _contradicted(candidates[-1], candidates):
        return first.complete and first.doubts == {"focal"}  # the metadata is wrong
    before = [c.plausibility.doubts for c in candidates[:-1] if c.plausibility.complete]
    # A doubt that two attempts agree on is not the models' fault: GPS may be wrong, too.
    return not last.doubts or last.doubts in before


def _contradicted(candidate: Candidate, others: Sequence[Candidate]) -> bool:
    """Whether the photos fit clearly worse with the fixed focal length than with a free one."""
    one = candidate.plausibility
    return not candidate.focal_refined and any(
        other.focal_refined
        and (it := other.plausibility).registered >= one.registered
        and "lens" not in it.doubts
        and (
            one.error_px > _WORSE_ERROR * it.error_px
            or one.observations < _FEWER_OBSERVATIONS * it.observations
        )
        for other in others
    )


def _merit(candidate: Candidate, candidates: Sequence[Candidate]) -> tuple[float, ...]:
    """Larger is better: share of photos (coarsely), few doubts, photos, fit."""
    it = candidate.plausibility
    share = round(10 * it.registered / max(it.connected, 1))
    doubts = len(it.doubts) + int(_contradicted(candidate, candidates))
    fit = it.observations / max(it.error_px, 1e-3)
    return share, -doubts, it.registered, fit


def _is_weak(task: MappingTask, best: Candidate, progress: Progress) -> bool:
    """Whether the photos determine their estimated focal lengths badly."""
    auto = task.config.refine_focal_length == "auto" and not task.use_position_priors
    auto = auto and not task.calibrated
    if not best.models or not auto:
        return False
    if not best.focal_refined:
        return not task.known_focal_px
    return has_weak_focal_length(best.models[0], task.config.adjust, progress=progress)


def _with_known_focal(task: MappingTask, best: Candidate, progress: Progress) -> Candidate:
    """Map again with the focal lengths of the metadata, unless fewer photos fit with them."""
    if not best.focal_refined:
        return best
    _log.info("The photos do not determine the focal length; using that of the metadata.")
    fixed = map_attempt(task, Attempt(free_focal=False), progress)
    registered, before = (sum(m.num_reg_images() for m in c.models) for c in (fixed, best))
    # A wrong focal length in the metadata shows in photos that no longer fit.
    return fixed if registered >= before and not _contradicted(fixed, [best]) else best


def _warnings(
    task: MappingTask, found: Plausibility, *, wrong_metadata: bool, weak_focal: bool
) -> list[str]:
    """Warnings about the shape of the models."""
    lines = []
    if "focal" in found.doubts:
        off = f"{100 * np.expm1(found.focal_drift):.0f} %"
        lines.append(
            f"the focal length in the metadata is {off} off: the photos fit clearly better with "
            "another, which is used; they may be cropped"
            if wrong_metadata
            else f"the estimated focal length is {off} off the one in the metadata: the photos are "
            "cropped, or the model is stretched along the viewing direction; measure a known "
            "distance in each direction before you trust it"
        )
    if "lens" in found.doubts:
        lines.append(
            f"the lens came out with {' and '.join(found.lens_doubts)}: the model may be bent; "
            "photos of the same things from more directions and distances would determine the lens"
        )
    if "gps" in found.doubts:
        lines.append(
            f"the model and the photos' GPS differ by {found.gps_misfit_m:.0f} m RMS on the "
            f"ground, more than the {found.gps_limit_m:.0f} m that GPS noise explains: one of them "
            "has a wrong shape; check that the positions belong to these photos, or add oblique "
            "photos"
        )
    if found.misplaced:
        names = ", ".join(task.photos[i].id for i in found.misplaced[:5])
        more = len(found.misplaced) - 5
        lines.append(
            f"the pose of {names}{f' and {more} more' if more > 0 else ''} contradicts the photo "
            "with the largest overlap; what only they show may be misplaced; add photos between "
            "them"
        )
    if weak_focal and not task.known_focal_px:
        lines.append(
            "neither the photos nor their metadata determine the focal length: lengths along the "
            "viewing direction may be wrong by a third; use photos with EXIF, or turn and tilt "
            "the camera more while taking them"
        )
    return lines
