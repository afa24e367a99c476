"""Explain why photos were not registered, and what to shoot so that they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxterra.core.photos import Photo
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.registration import UnregisteredKind, UnregisteredPhoto
from voxterra.sfm.features.database import PairCounts, feature_counts, pair_counts, raw_pair_counts

# A photo with fewer features shows nothing that other photos could match.
MIN_FEATURES = 30

# COLMAP relates two photos from this number of verified matches on; any two photos have twice as
# many raw ones by chance.
MIN_INLIERS = 15
_BY_CHANCE = 2 * MIN_INLIERS

_ADVICE: dict[UnregisteredKind, str] = {
    "few_features": "Take it again in focus and well lit, with textured surfaces rather than sky, "
    "water or plain walls filling the picture; check its mask if it has one.",
    "no_matches": "Take photos that lead from it to its neighbours: each should show 60 % or more "
    "of the one before and turn by less than 20 degrees.",
    "few_inliers": "Take photos in between, in smaller steps and turns: the views differ too much, "
    "or a pattern repeats; include something that occurs only once.",
    "small_group": "Take photos that lead from these to the others, each showing 60 % or more of "
    "the one before.",
    "weak_ties": "Take two or three photos beside it, a step aside and not only turned, that show "
    "70 % or more of what it shows and of what its neighbours show.",
    "unknown": "Take photos that lead from it to its neighbours, overlapping by 60 % or more.",
}


@dataclass(frozen=True)
class _Ties:
    """Pairs of one photo: the other photos, raw matches, and verified matches."""

    others: NDArray[np.int64]
    raw: NDArray[np.int64]
    agreeing: NDArray[np.int64]

    def best(self, counts: NDArray[np.int64], photos: Sequence[Photo]) -> tuple[str, int]:
        """Id of the photo with most matches, and how many."""
        i = int(np.argmax(counts))
        return photos[self.others[i]].id, int(counts[i])


def explain_unregistered(
    photos: Sequence[Photo], components: Sequence[Reconstruction], database: Path
) -> tuple[UnregisteredPhoto, ...]:
    """Reason and advice for every photo that is in no component, sorted by name.

    Args:
        photos: in the order of the database's images.
        components: with photo ids as names.
        database: with features and matches.
    """
    placed = {image.name for component in components for image in component.images}
    missing = [i for i, photo in enumerate(photos) if photo.id not in placed]
    if not missing:
        return ()
    features = feature_counts(database, len(photos))
    raw, verified = raw_pair_counts(database), pair_counts(database)
    is_placed = np.array([photo.id in placed for photo in photos])
    found = []
    for i in missing:
        ties = _ties_of(i, raw, verified)
        kind, reason = _reason(int(features[i]), ties, is_placed, photos)
        found.append(UnregisteredPhoto(photos[i].id, kind, reason, _ADVICE[kind]))
    return tuple(sorted(found, key=lambda photo: photo.name))


def _ties_of(index: int, raw: PairCounts, verified: PairCounts) -> _Ties:
    def of(counts: PairCounts) -> dict[int, int]:
        mine = (counts.pairs == index).any(axis=1)
        others = counts.pairs[mine].sum(axis=1) - index
        return dict(zip(others.tolist(), counts.inliers[mine].tolist(), strict=True))

    raw_of, agreeing_of = of(raw), of(verified)
    others = sorted({*raw_of, *agreeing_of})
    return _Ties(
        np.array(others, np.int64),
        np.array([raw_of.get(o, 0) for o in others], np.int64),
        np.array([agreeing_of.get(o, 0) for o in others], np.int64),
    )


def _reason(
    features: int, ties: _Ties, is_placed: NDArray[np.bool_], photos: Sequence[Photo]
) -> tuple[UnregisteredKind, str]:
    if features < MIN_FEATURES:
        return "few_features", (
            f"it shows too little detail: {features} features, {MIN_FEATURES} are needed"
        )
    if not ties.raw.any():
        return "no_matches", f"none of its {features} features matches another photo"
    name, raw = ties.best(ties.raw, photos)
    related = ties.agreeing >= MIN_INLIERS
    if raw < _BY_CHANCE and not related.any():
        return "no_matches", (
            f"it has hardly any overlap: at best {raw} features match (in {name}), no more than by "
            "chance"
        )
    if not related.any():
        agree = int(ties.agreeing[np.argmax(ties.raw)])
        return "few_inliers", (
            f"its matches with {name} do not fit together: {agree} of {raw} agree on one view, "
            f"{MIN_INLIERS} are needed"
        )
    with_placed = related & is_placed[ties.others]
    if not with_placed.any():
        names = [photos[o].id for o in ties.others[related][:3]]
        more = int(related.sum()) - len(names)
        listed = ", ".join(names) + (f" and {more} more" if more > 0 else "")
        return "small_group", f"it matches only {listed}, not registered either"
    name, agree = ties.best(np.where(with_placed, ties.agreeing, 0), photos)
    return "weak_ties", (
        f"it matches {name} ({agree} matches), but too few of these are points of the model to "
        "determine its pose"
    )
