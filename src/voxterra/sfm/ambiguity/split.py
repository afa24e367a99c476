"""Two places that look alike and came out as one: mapped again without matches between them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from voxterra.adjust.positions import positions_m
from voxterra.core.progress import Progress, part
from voxterra.core.wording import listed
from voxterra.sfm.ambiguity.look_alikes import Overlaid, overlaid_parts
from voxterra.sfm.features.database import derived, drop_damaged, pair_counts
from voxterra.sfm.mapping.attempts import Attempt, further_attempts
from voxterra.sfm.mapping.candidates import Task, Tried, gps_sigma_m, try_attempt

_log = logging.getLogger(__name__)

# More than two places can lie on one another.
_ROUNDS = 3
# Photos this much further apart by GPS than neighbours are, and than its noise, are of two places.
_FARTHER, _SIGMAS = 2.0, 2.0


def pull_apart(task: Task, best: Tried, progress: Progress) -> tuple[Task, Tried, tuple[str, ...]]:
    """The same where no two places are laid over each other.

    Returns:
        The task with the matches that the result is of, the result, and a line for the user about
        each two parts that were taken for one.
    """
    told: list[str] = []
    for index in range(_ROUNDS):
        share = part(progress, index / _ROUNDS, (index + 1) / _ROUNDS)
        found = laid_over(task, best, part(share, 0.0, 0.4))
        if not found:
            break
        parted = replace(task, database=_without(task.database, found))
        one = _mapped(parted, best.attempt, part(share, 0.4, 1.0))
        if 2 * _placed(one) < _placed(best):
            told += [_line(task, overlaid, parted=False) for overlaid in found]
            break
        told += [_line(task, overlaid) for overlaid in found]
        task, best = parted, one
    return task, best, tuple(told)


def _mapped(task: Task, usual: Attempt, progress: Progress) -> Tried:
    """The first complete result, of the way that went best before and others; else the largest."""
    attempts = [usual]
    if task.config.mapper != "global":
        attempts += further_attempts(task.config, focal_known=task.focal_known)
    tried: list[Tried] = []
    for index, attempt in enumerate(dict.fromkeys(attempts)):
        share = part(progress, index / len(attempts), (index + 1) / len(attempts))
        tried.append(try_attempt(task, attempt, share))
        if tried[-1].shape.complete:
            return tried[-1]
    return max(tried, key=_placed)


def _placed(one: Tried) -> int:
    return len({image_id for model in one.models for image_id in model.reg_image_ids()})


def laid_over(task: Task, best: Tried, progress: Progress) -> list[Overlaid]:
    """Parts of the models that are two places at one, as far as they are to be parted."""
    wanted = task.config.split_lookalikes
    if wanted == "never":
        return []
    related = pair_counts(task.database)
    positions, sigma_m = positions_m(task.photos), gps_sigma_m(task.photos)
    found: list[Overlaid] = []
    for index, model in enumerate(best.models):
        share = part(progress, index / len(best.models), (index + 1) / len(best.models))
        found += overlaid_parts(
            model, task.staged, related, positions, sigma_m, task.config.random_seed, share
        )
    for overlaid in found:
        _log.info(
            "%d and %d photos lie over each other and differ in %.0f %% of %d pairs of views.",
            *map(len, overlaid.parts), 100 * overlaid.differing, len(overlaid.pairs),
        )  # fmt: skip
    if wanted == "auto":
        found = [o for o in found if not gps_says_one(o, positions, sigma_m)]
    return found


def gps_says_one(overlaid: Overlaid, positions_m: NDArray[np.float64], sigma_m: float) -> bool:
    """Whether GPS has the two parts as near to each other as the model: one place at two times.

    Args:
        overlaid: two parts.
        positions_m: (N, 3) by GPS in a local metric frame, NaN where unknown; photo i is image i+1.
        sigma_m: horizontal standard deviation of the positions.
    """
    steps = np.diff(positions_m[overlaid.pairs - 1, :2], axis=1)[:, 0]
    steps = steps[np.isfinite(steps).all(axis=1)]
    if not len(steps):
        return False
    near = [_neighbour_m(positions_m[np.array(sorted(p)) - 1, :2]) for p in overlaid.parts]
    # Views lie on both sides of each other, so their distances cancel where the place is one.
    apart_m = float(np.linalg.norm(np.median(steps, axis=0)))
    return apart_m <= max(_SIGMAS * sigma_m, _FARTHER * max(near))


def _neighbour_m(places: NDArray[np.float64]) -> float:
    """Usual distance of a photo from the nearest other one; 0 where it is not known."""
    places = places[np.isfinite(places).all(axis=1)]
    if len(places) < 2:
        return 0.0
    return float(np.median(cKDTree(places).query(places, k=2)[0][:, 1]))


def _without(database: Path, found: Sequence[Overlaid]) -> Path:
    """The database without matches between the parts."""
    related = pair_counts(database)
    between = np.zeros(len(related.pairs), bool)
    for overlaid in found:
        inside = [np.isin(related.pairs + 1, sorted(ids)) for ids in overlaid.parts]
        between |= (inside[0][:, 0] & inside[1][:, 1]) | (inside[1][:, 0] & inside[0][:, 1])
    pairs = related.pairs[between]
    name = hashlib.sha256(pairs.tobytes()).hexdigest()[:12]
    target = database.with_name(f"{database.name}.apart-{name}.db")
    drop_damaged(target)
    if not target.exists():
        with derived(database, target) as opened:
            for a, b in (pairs + 1).tolist():
                opened.delete_matches(a, b)
                opened.delete_two_view_geometry(a, b)
    return target


def _line(task: Task, overlaid: Overlaid, *, parted: bool = True) -> str:
    """For the user: which photos, why, and what to do."""
    small, large = sorted(overlaid.parts, key=lambda ids: (len(ids), min(ids)))
    names = [listed([task.photos[i - 1].id for i in sorted(ids)]) for ids in (small, large)]
    done = (
        "they are taken as two places; photos in between would tie these to each other, and if "
        "they are one place at two times, --sfm.split-lookalikes never keeps it one"
        if parted
        else "they may be two places, one laid over the other, but hardly any photo finds a place "
        "without their matches, so they are left as they are; do not trust what both show, and "
        "take more photos of each"
    )
    return (
        f"{len(small)} photos ({names[0]}) look like {len(large)} others ({names[1]}) and fit onto "
        f"them, but {100 * overlaid.differing:.0f} % of what they show there differs: {done}"
    )
