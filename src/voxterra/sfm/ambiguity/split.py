"""Split models that merge look-alike places: map again without the matches between the places."""

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
from voxterra.sfm.ambiguity.look_alikes import LookAlikes, look_alike_parts
from voxterra.sfm.features.database import derived, drop_damaged, pair_counts
from voxterra.sfm.mapping.attempts import Attempt, further_attempts
from voxterra.sfm.mapping.candidates import Candidate, MappingTask, gps_sigma_m, map_attempt

_log = logging.getLogger(__name__)

# More than two places can be merged.
_ROUNDS = 3
# Photos this many times further apart by GPS than neighbours, and this many standard deviations of
# the GPS, show two places.
_FARTHER, _SIGMAS = 2.0, 2.0


def split_look_alikes(
    task: MappingTask, best: Candidate, progress: Progress
) -> tuple[MappingTask, Candidate, tuple[str, ...]]:
    """Split models that merge look-alike places.

    Returns:
        The task with the matches the result was made from, the result, and a warning about each
        two parts that were merged.
    """
    warnings: list[str] = []
    for index in range(_ROUNDS):
        share = part(progress, index / _ROUNDS, (index + 1) / _ROUNDS)
        found = find_look_alikes(task, best, part(share, 0.0, 0.4))
        if not found:
            break
        separate = replace(task, database=_without(task.database, found))
        one = _mapped(separate, best.attempt, part(share, 0.4, 1.0))
        if 2 * _registered(one) < _registered(best):
            warnings += [_warning(task, pair, split=False) for pair in found]
            break
        warnings += [_warning(task, pair) for pair in found]
        task, best = separate, one
    return task, best, tuple(warnings)


def _mapped(task: MappingTask, usual: Attempt, progress: Progress) -> Candidate:
    """Map with the best attempt before, then others: the first complete result, or the largest."""
    attempts = [usual]
    if task.config.mapper != "global":
        attempts += further_attempts(task.config, focal_known=task.focal_known)
    candidates: list[Candidate] = []
    for index, attempt in enumerate(dict.fromkeys(attempts)):
        share = part(progress, index / len(attempts), (index + 1) / len(attempts))
        candidates.append(map_attempt(task, attempt, share))
        if candidates[-1].plausibility.complete:
            return candidates[-1]
    return max(candidates, key=_registered)


def _registered(one: Candidate) -> int:
    return len({image_id for model in one.models for image_id in model.reg_image_ids()})


def find_look_alikes(task: MappingTask, best: Candidate, progress: Progress) -> list[LookAlikes]:
    """Find parts of the models that show two look-alike places and should be split."""
    wanted = task.config.split_lookalikes
    if wanted == "never":
        return []
    related = pair_counts(task.database)
    positions, sigma_m = positions_m(task.photos), gps_sigma_m(task.photos)
    found: list[LookAlikes] = []
    for index, model in enumerate(best.models):
        share = part(progress, index / len(best.models), (index + 1) / len(best.models))
        found += look_alike_parts(
            model, task.staged, related, positions, sigma_m, task.config.random_seed, share
        )
    for pair in found:
        _log.info(
            "%d and %d photos show look-alike places: %.0f %% differs in %d pairs of views.",
            *map(len, pair.parts), 100 * pair.differing, len(pair.pairs),
        )  # fmt: skip
    if wanted == "auto":
        found = [o for o in found if not gps_says_one(o, positions, sigma_m)]
    return found


def gps_says_one(pair: LookAlikes, positions_m: NDArray[np.float64], sigma_m: float) -> bool:
    """Whether GPS has the two parts as close together as the model: one place at two times.

    Args:
        pair: two parts of a model.
        positions_m: (N, 3) by GPS in a local metric frame, NaN where unknown; photo i is image i+1.
        sigma_m: horizontal standard deviation of the positions.
    """
    steps = np.diff(positions_m[pair.pairs - 1, :2], axis=1)[:, 0]
    steps = steps[np.isfinite(steps).all(axis=1)]
    if not len(steps):
        return False
    near = [_neighbour_m(positions_m[np.array(sorted(p)) - 1, :2]) for p in pair.parts]
    # Views are on both sides of each other, so their distances cancel where the place is one.
    apart_m = float(np.linalg.norm(np.median(steps, axis=0)))
    return apart_m <= max(_SIGMAS * sigma_m, _FARTHER * max(near))


def _neighbour_m(places: NDArray[np.float64]) -> float:
    """Median distance of a photo from the nearest other one; 0 if unknown."""
    places = places[np.isfinite(places).all(axis=1)]
    if len(places) < 2:
        return 0.0
    return float(np.median(cKDTree(places).query(places, k=2)[0][:, 1]))


def _without(database: Path, found: Sequence[LookAlikes]) -> Path:
    """Copy the database without matches between the parts."""
    related = pair_counts(database)
    between = np.zeros(len(related.pairs), bool)
    for pair in found:
        inside = [np.isin(related.pairs + 1, sorted(ids)) for ids in pair.parts]
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


def _warning(task: MappingTask, pair: LookAlikes, *, split: bool = True) -> str:
    """Which photos, why, and what to do."""
    small, large = sorted(pair.parts, key=lambda ids: (len(ids), min(ids)))
    names = [listed([task.photos[i - 1].id for i in sorted(ids)]) for ids in (small, large)]
    done = (
        "the model is split into two places; photos in between would connect them, and if they "
        "are one place at two times, --sfm.split-lookalikes never keeps it whole"
        if split
        else "they may be two places merged into one, but hardly any photo can be registered "
        "without their matches, so the model is not split; do not trust what both show, and take "
        "more photos of each"
    )
    return (
        f"{len(small)} photos ({names[0]}) look like {len(large)} others ({names[1]}) and fit onto "
        f"them, but {100 * pair.differing:.0f} % of what they show there differs: {done}"
    )
