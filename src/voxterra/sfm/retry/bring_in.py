"""Photos left out of the largest model: matched again, mapped again, and judged against before."""

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
from voxterra.sfm.ambiguity.split import laid_over
from voxterra.sfm.features.database import pair_counts
from voxterra.sfm.mapping.attempts import MANY_PHOTOS, Attempt, first_attempt, further_attempts
from voxterra.sfm.mapping.candidates import Task, Tried, try_attempt
from voxterra.sfm.mapping.plausibility import misplaced_images, pair_fits
from voxterra.sfm.retry.cost import count_effort
from voxterra.sfm.retry.pair_choice import Way, choose_again
from voxterra.sfm.retry.rematch import rematch
from voxterra.sfm.unregistered import MIN_INLIERS

_log = logging.getLogger(__name__)

_WAYS: tuple[Way, ...] = ("guided", "hardened")
_TOLD: dict[Way, str] = {
    "guided": "a second search for matches along the lines where they can be",
    "hardened": "fainter features that bear wider baselines",
}

# Share of a newcomer's matches, by pairs, that must agree with the place it got.
_AGREEING = 0.75

# Most work, as a multiple of all before; and what is always worth it, in features of megapixels
# (see `effort`): about a minute.
_TIMES, _ALWAYS = 1.0, 60.0


def bring_in(task: Task, best: Tried, progress: Progress) -> tuple[Task, Tried, tuple[str, ...]]:
    """The same with photos that were left out, where stronger matching gives them a place.

    A result is taken only if more photos are in and nothing more speaks against it, by the matches
    before and those now. Unless `config.rematch` is "always", it is about as much work as all
    before at most; the most promising photos come first.

    Returns:
        The task with the matches that the result is of, the result, and lines for the user: about
        each way that brought something, and what was not tried.
    """
    told: list[str] = []
    cut: set[int] = set()
    rest = _limit(task, best)
    for index, way in enumerate(_WAYS):
        left = left_out(best, len(task.photos))
        if not left or task.config.rematch == "never":
            break
        effort = count_effort(task.database, task.photos, task.config)
        mapping = effort.of_mapping(len(_attempts(task, best)))
        share = (rest / (len(_WAYS) - index)) - mapping
        if _not_worth_it(left, task):
            share = -np.inf
        models = [{i - 1 for i in model.reg_image_ids()} for model in best.models]
        choice = choose_again(
            way, task.database, left, models, positions_m(task.photos), effort, share
        )
        cut |= choice.cut
        if not len(choice.pairs):
            continue
        rest -= choice.effort
        both = part(progress, index / len(_WAYS), (index + 1) / len(_WAYS))
        database = rematch(
            way, task.database, choice.pairs, task.staged, task.config,
            progress=part(both, 0.0, 0.5),
        )  # fmt: skip
        _log.info(
            "Photos out of the largest model: %d; %d pairs matched again (%s).",
            len(left), len(choice.pairs), way,
        )  # fmt: skip
        if not _matches_more(task.database, database):
            continue
        rest -= mapping
        found = _map_again(replace(task, database=database), task, best, part(both, 0.5, 1.0))
        if found is not None:
            told.append(_gain(task, way, best, found))
            task, best = replace(task, database=database), found
    still = sorted(cut & left_out(best, len(task.photos)))
    return task, best, (*told, *_not_tried(task, still))


def left_out(best: Tried, photo_count: int) -> frozenset[int]:
    """Indices of photos that are not in the largest model; all where there is none."""
    return frozenset(range(photo_count)) - _largest(best)


def _limit(task: Task, best: Tried) -> float:
    """Most work that matching again may be, in units of `Effort`."""
    if task.config.rematch == "always":
        return np.inf
    effort = count_effort(task.database, task.photos, task.config)
    # As many ways of mapping were tried before at least.
    return max(_TIMES * effort.of_all_before(len(_attempts(task, best))), _ALWAYS)


def _not_worth_it(left: Collection[int], task: Task) -> bool:
    """Mapping many photos anew is too long a time for a few of them."""
    many = len(task.photos) > MANY_PHOTOS and task.config.rematch == "auto"
    return many and len(left) < 0.1 * len(task.photos)


def _matches_more(before: Path, after: Path) -> bool:
    old, new = pair_counts(before), pair_counts(after)
    return not (np.array_equal(old.pairs, new.pairs) and np.array_equal(old.inliers, new.inliers))


def _attempts(task: Task, best: Tried) -> tuple[Attempt, ...]:
    """The usual attempt and that which went best before (all, where none did)."""
    attempts = dict.fromkeys((first_attempt(task.config), best.attempt))
    if not best.models and task.config.mapper != "global":
        further = further_attempts(task.config, focal_known=task.focal_known)
        attempts |= dict.fromkeys(further)
    return tuple(attempts)


def _map_again(task: Task, old: Task, best: Tried, progress: Progress) -> Tried | None:
    """The best of the attempts; None where none is better than before."""
    attempts = _attempts(task, best)
    found: Tried | None = None
    for index, attempt in enumerate(attempts):
        share = part(progress, index / len(attempts), (index + 1) / len(attempts))
        one = try_attempt(task, attempt, part(share, 0.0, 0.8))
        before = best if found is None else found
        if not _brings_photos(before, one):
            continue
        against = _against(best, one, old.database, task.database)
        if laid_over(task, one, part(share, 0.8, 1.0)):
            against.append("two places that look alike would be one")
        if against:
            _log.info("Not taken, though more photos are in: %s.", "; ".join(against))
            continue
        found = one
        if not left_out(one, len(task.photos)):
            break
    return found


def _largest(one: Tried) -> set[int]:
    return {i - 1 for i in one.models[0].reg_image_ids()} if one.models else set()


def _all(one: Tried) -> set[int]:
    return {i - 1 for model in one.models for i in model.reg_image_ids()}


def _brings_photos(before: Tried, after: Tried) -> bool:
    """Whether more photos are in the largest model, or as many in it and more in all."""
    sizes = [(len(_largest(one)), len(_all(one))) for one in (before, after)]
    return sizes[1] > sizes[0] and sizes[1][1] >= sizes[0][1]


def _against(before: Tried, after: Tried, old: Path, new: Path) -> list[str]:
    """What speaks against a result that did not speak against the one before, in words."""
    found: list[str] = sorted(after.shape.doubts - before.shape.doubts)
    known = set(before.shape.misplaced)
    for database in (old, new):
        off = {i - 1 for model in after.models for i in misplaced_images(model, database)} - known
        if off:
            found.append(f"matches contradict the places of {len(off)} photos")
        strays = _contradicted(after.models[0], database, _largest(after) - _largest(before))
        if strays:
            found.append(f"{strays} new photos do not agree with most that they match")
    return found


def _contradicted(model: pycolmap.Reconstruction, database: Path, newcomers: set[int]) -> int:
    """Newcomers of whose matches too many are with photos that contradict their place.

    Where a pattern repeats, a photo may agree with its best pair and be a period off for others.
    """
    fits = pair_fits(model, database, MIN_INLIERS)
    count = 0
    for index in newcomers:
        mine = [(matches, fit) for a, b, matches, fit in fits if index + 1 in (a, b)]
        all_matches = sum(matches for matches, _ in mine)
        count += sum(matches for matches, fit in mine if fit) < _AGREEING * all_matches
    return count


def _gain(task: Task, way: Way, before: Tried, after: Tried) -> str:
    """Such as "2 photos (a.jpg, b.jpg) came to the others only by ...; look at them"."""
    new = sorted(_largest(after) - _largest(before))
    names: Sequence[str] = [task.photos[i].id for i in new or sorted(_all(after) - _all(before))]
    plural = "s" * (len(names) != 1)
    came = "came to the others" if before.models and new else "found a place"
    return (
        f"{len(names)} photo{plural} ({listed(names)}) {came} only by {_TOLD[way]}; "
        "their places agree with most of their matches, but rest on fewer clear ones: photos in "
        "between would make them surer"
    )


def _not_tried(task: Task, photos: Sequence[int]) -> list[str]:
    """What the user may have done in addition, where photos are still out."""
    if not photos:
        return []
    plural = "s" * (len(photos) != 1)
    return [
        f"{len(photos)} photo{plural} ({listed([task.photos[i].id for i in photos])}) found no "
        "place among most others and could be matched again more thoroughly, which would take "
        "longer than all before: --sfm.rematch always does it"
    ]
