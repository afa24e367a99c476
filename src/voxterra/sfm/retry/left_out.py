"""Match and map photos left out of the largest model again, and use the result if it is better."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap

from voxterra.adjust.positions import positions_m
from voxterra.core.progress import Progress, part
from voxterra.core.wording import listed
from voxterra.sfm.ambiguity.split import find_look_alikes
from voxterra.sfm.features.database import pair_counts
from voxterra.sfm.mapping.attempts import MANY_PHOTOS, Attempt, first_attempt, further_attempts
from voxterra.sfm.mapping.candidates import Candidate, MappingTask, map_attempt
from voxterra.sfm.mapping.plausibility import misplaced_images, pair_fits
from voxterra.sfm.retry.cost import count_effort
from voxterra.sfm.retry.pair_choice import Method, choose_pairs_to_retry
from voxterra.sfm.retry.rematch import rematch
from voxterra.sfm.unregistered import MIN_INLIERS

_log = logging.getLogger(__name__)

_METHODS: tuple[Method, ...] = ("guided", "hardened")
_DESCRIPTION: dict[Method, str] = {
    "guided": "a second search for matches along epipolar lines",
    "hardened": "fainter features that match over wider baselines",
}

# Share of a newly registered photo's matches, by pairs, that must agree with its pose.
_AGREEING = 0.75

# Most work, as a multiple of all work before; and the work that is always done, in the units of
# `Effort`: about a minute.
_TIMES, _ALWAYS = 1.0, 60.0


def register_left_out(
    task: MappingTask, best: Candidate, progress: Progress
) -> tuple[MappingTask, Candidate, tuple[str, ...]]:
    """Register photos that were left out by stronger matching.

    A new result is used only if it registers more photos and raises no new doubts, by the old and
    the new matches. Unless `config.rematch` is "always", this takes at most about as much work as
    all before; the photos most likely to succeed come first.

    Returns:
        The task with the matches the result was made from, the result, and warnings: about each
        method that registered photos, and about photos not matched again.
    """
    warnings: list[str] = []
    cut: set[int] = set()
    rest = _limit(task, best)
    for index, method in enumerate(_METHODS):
        left = photos_left_out(best, len(task.photos))
        if not left or task.config.rematch == "never":
            break
        effort = count_effort(task.database, task.photos, task.config)
        mapping = effort.of_mapping(len(_attempts(task, best)))
        share = (rest / (len(_METHODS) - index)) - mapping
        if _not_worth_it(left, task):
            share = -np.inf
        models = [{i - 1 for i in model.reg_image_ids()} for model in best.models]
        choice = choose_pairs_to_retry(
            method, task.database, left, models, positions_m(task.photos), effort, share
        )
        cut |= choice.cut
        if not len(choice.pairs):
            continue
        rest -= choice.effort
        both = part(progress, index / len(_METHODS), (index + 1) / len(_METHODS))
        database = rematch(
            method, task.database, choice.pairs, task.staged, task.config,
            progress=part(both, 0.0, 0.5),
        )  # fmt: skip
        _log.info(
            "Photos out of the largest model: %d; %d pairs matched again (%s).",
            len(left), len(choice.pairs), method,
        )  # fmt: skip
        if not _matches_more(task.database, database):
            continue
        rest -= mapping
        found = _map_again(replace(task, database=database), task, best, part(both, 0.5, 1.0))
        if found is not None:
            warnings.append(_about_gain(task, method, best, found))
            task, best = replace(task, database=database), found
    still = sorted(cut & photos_left_out(best, len(task.photos)))
    return task, best, (*warnings, *_about_skipped(task, still))


def photos_left_out(best: Candidate, photo_count: int) -> frozenset[int]:
    """Indices of photos that are not in the largest model; all where there is none."""
    return frozenset(range(photo_count)) - _largest(best)


def _limit(task: MappingTask, best: Candidate) -> float:
    """Most work to spend on matching again, in units of `Effort`."""
    if task.config.rematch == "always":
        return np.inf
    effort = count_effort(task.database, task.photos, task.config)
    # At least as many attempts at mapping were made before.
    return max(_TIMES * effort.of_all_before(len(_attempts(task, best))), _ALWAYS)


def _not_worth_it(left: Collection[int], task: MappingTask) -> bool:
    """Whether mapping many photos again takes too long for the few that are left out."""
    many = len(task.photos) > MANY_PHOTOS and task.config.rematch == "auto"
    return many and len(left) < 0.1 * len(task.photos)


def _matches_more(before: Path, after: Path) -> bool:
    old, new = pair_counts(before), pair_counts(after)
    return not (np.array_equal(old.pairs, new.pairs) and np.array_equal(old.inliers, new.inliers))


def _attempts(task: MappingTask, best: Candidate) -> tuple[Attempt, ...]:
    """The usual attempt and the best one before; all attempts where none made a model."""
    attempts = dict.fromkeys((first_attempt(task.config), best.attempt))
    if not best.models and task.config.mapper != "global":
        further = further_attempts(task.config, focal_known=task.focal_known)
        attempts |= dict.fromkeys(further)
    return tuple(attempts)


def _map_again(
    task: MappingTask, old: MappingTask, best: Candidate, progress: Progress
) -> Candidate | None:
    """Map with each attempt; the best result, or None where none is better than before."""
    attempts = _attempts(task, best)
    found: Candidate | None = None
    for index, attempt in enumerate(attempts):
        share = part(progress, index / len(attempts), (index + 1) / len(attempts))
        one = map_attempt(task, attempt, part(share, 0.0, 0.8))
        before = best if found is None else found
        if not _has_more_photos(before, one):
            continue
        doubts = _new_doubts(best, one, old.database, task.database)
        if find_look_alikes(task, one, part(share, 0.8, 1.0)):
            doubts.append("it would merge two places that look alike")
        if doubts:
            _log.info("Result with more photos not used: %s.", "; ".join(doubts))
            continue
        found = one
        if not photos_left_out(one, len(task.photos)):
            break
    return found


def _largest(one: Candidate) -> set[int]:
    return {i - 1 for i in one.models[0].reg_image_ids()} if one.models else set()


def _all(one: Candidate) -> set[int]:
    return {i - 1 for model in one.models for i in model.reg_image_ids()}


def _has_more_photos(before: Candidate, after: Candidate) -> bool:
    """Whether the largest model has more photos, or as many and all models together more."""
    sizes = [(len(_largest(one)), len(_all(one))) for one in (before, after)]
    return sizes[1] > sizes[0] and sizes[1][1] >= sizes[0][1]


def _new_doubts(before: Candidate, after: Candidate, old: Path, new: Path) -> list[str]:
    """Doubts about a result that the one before did not raise, in words."""
    found: list[str] = sorted(after.plausibility.doubts - before.plausibility.doubts)
    known = set(before.plausibility.misplaced)
    for database in (old, new):
        off = {i - 1 for model in after.models for i in misplaced_images(model, database)} - known
        if off:
            found.append(f"matches contradict the poses of {len(off)} photos")
        strays = _contradicted(after.models[0], database, _largest(after) - _largest(before))
        if strays:
            found.append(f"{strays} new photos disagree with most photos they match")
    return found


def _contradicted(model: pycolmap.Reconstruction, database: Path, newcomers: set[int]) -> int:
    """Number of new photos with too many matches that contradict their pose.

    Where a pattern repeats, a photo may agree with its best pair and be a period off for others.
    """
    fits = pair_fits(model, database, MIN_INLIERS)
    count = 0
    for index in newcomers:
        mine = [(matches, fit) for a, b, matches, fit in fits if index + 1 in (a, b)]
        all_matches = sum(matches for matches, _ in mine)
        count += sum(matches for matches, fit in mine if fit) < _AGREEING * all_matches
    return count


def _about_gain(task: MappingTask, method: Method, before: Candidate, after: Candidate) -> str:
    """Warning such as "2 photos (a.jpg, b.jpg) were registered with the others only by ..."."""
    new = sorted(_largest(after) - _largest(before))
    names: Sequence[str] = [task.photos[i].id for i in new or sorted(_all(after) - _all(before))]
    plural = "s" * (len(names) != 1)
    were = "was" if len(names) == 1 else "were"
    to = " with the others" if before.models and new else ""
    return (
        f"{len(names)} photo{plural} ({listed(names)}) {were} registered{to} only by "
        f"{_DESCRIPTION[method]}; most matches confirm the poses, but few are clear: photos in "
        "between would make them more certain"
    )


def _about_skipped(task: MappingTask, photos: Sequence[int]) -> list[str]:
    """Warning about photos that are left out and were not matched again with every method."""
    if not photos:
        return []
    plural = "s" * (len(photos) != 1)
    return [
        f"{len(photos)} photo{plural} ({listed([task.photos[i].id for i in photos])}) could not be "
        "registered with most others; matching more thoroughly would take longer than all work so "
        "far: --sfm.rematch always does it"
    ]
