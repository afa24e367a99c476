"""Choose pairs of unregistered photos to match again: the most promising that are worth the work.

The photo with most matches outside its own model comes first; matches within a model connect it to
nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voxterra.sfm.features.database import PairCounts, pair_counts, raw_pair_counts
from voxterra.sfm.retry.cost import Effort
from voxterra.sfm.unregistered import MIN_INLIERS

Method = Literal["guided", "hardened"]
Pairs = NDArray[np.int64]
Pair = tuple[int, int]

# Number of partners an unregistered photo is matched with again: those with most matches so far.
_PARTNERS: dict[Method, int] = {"guided": 6, "hardened": 4}

# Pairs are at most this many times as far apart by GPS as the farthest pair that matches.
_FARTHER = 2.0


@dataclass(frozen=True)
class Choice:
    """Pairs to match again.

    Attributes:
        pairs: (N, 2), first < second, sorted.
        effort: work of matching them, in units of `Effort`.
        cut: indices of photos with pairs that were left out as too much work.
    """

    pairs: Pairs
    effort: float
    cut: frozenset[int]


@dataclass
class _Selection:
    """Chosen pairs, and their work."""

    method: Method
    effort: Effort
    limit: float
    pairs: set[Pair] = field(default_factory=set)
    photos: set[int] = field(default_factory=set)
    spent: float = 0.0

    def add(self, pairs: Iterable[Pair]) -> bool:
        """Add pairs, unless the work would exceed the limit; whether they were added."""
        fresh = set(pairs) - self.pairs
        new_photos = {i for pair in fresh for i in pair} - self.photos
        hardened = self.method == "hardened"
        cost = sum(self.effort.of_guided(a, b, hardened=hardened) for a, b in sorted(fresh))
        if hardened:
            cost += sum(self.effort.of_hardened(i) for i in sorted(new_photos))
        if self.spent + cost > self.limit:
            return False
        self.pairs |= fresh
        self.photos |= new_photos
        self.spent += cost
        return True


def choose_pairs_to_retry(
    method: Method,
    database: Path,
    left: Collection[int],
    models: Sequence[Collection[int]],
    positions_m: NDArray[np.float64],
    effort: Effort,
    limit: float,
) -> Choice:
    """Choose pairs of unregistered photos with the photos they match best.

    Matching pairs among these partners are chosen too: their points determine a photo's pose.

    Args:
        method: guided uses pairs with verified matches, hardened also those with raw matches.
        database: with features and matches.
        left: indices of unregistered photos.
        models: photos that are in one model, largest first.
        positions_m: (N, 3) by GPS in a local metric frame, NaN where unknown.
        effort: sizes of the inputs.
        limit: most work to choose, in units of `Effort`.
    """
    related = pair_counts(database)
    counts = related
    if method == "hardened":
        raw = raw_pair_counts(database)
        more = raw.inliers >= MIN_INLIERS  # fewer cannot be verified
        counts = _near(PairCounts(raw.pairs[more], raw.inliers[more]), related, positions_m)
    model_of = {photo: k for k, model in enumerate(models) for photo in model}
    found = {i: list(_partners(i, counts, model_of)) for i in left}
    # Skip photos that match none, or only photos of their own model.
    promise = {i: own[0].matches for i, own in found.items() if own and own[0].outside}
    tied = {(int(a), int(b)) for a, b in related.pairs}
    chosen, cut = _Selection(method, effort, limit), set()
    for photo in sorted(promise, key=lambda i: (-promise[i], i)):
        own = found[photo][: _PARTNERS[method]]
        for most in range(len(own), 0, -1):
            if chosen.add(_with_ties(photo, own[:most], tied, left)):
                break
            cut.add(photo)
    partners = sorted({i for pair in chosen.pairs for i in pair} - set(left))
    for pair in ((a, b) for a in partners for b in partners if (a, b) in tied):
        chosen.add([pair])
    pairs = np.array(sorted(chosen.pairs), np.int64).reshape(-1, 2)
    return Choice(pairs, chosen.spent, frozenset(cut))


@dataclass(frozen=True)
class _Partner:
    photo: int
    matches: int
    outside: bool


def _partners(photo: int, counts: PairCounts, model_of: dict[int, int]) -> Iterator[_Partner]:
    """Photos that match, those outside its model first, by their number of matches."""
    mine = (counts.pairs == photo).any(axis=1) & (counts.inliers > 0)
    others = (counts.pairs[mine].sum(axis=1) - photo).tolist()
    own = model_of.get(photo, -1)
    outside = np.array([own < 0 or model_of.get(other, -1) != own for other in others], bool)
    matches = counts.inliers[mine]
    for k in np.lexsort((-matches, ~outside)):
        yield _Partner(others[k], int(matches[k]), bool(outside[k]))


def _with_ties(
    photo: int, own: Sequence[_Partner], tied: set[Pair], left: Collection[int]
) -> list[Pair]:
    """The photo's pairs, and matching pairs among its registered partners."""
    partners = sorted(partner.photo for partner in own)
    registered = [i for i in partners if i not in left]
    among = [(a, b) for a in registered for b in registered if (a, b) in tied]
    return [(min(photo, i), max(photo, i)) for i in partners] + among


def _near(tried: PairCounts, related: PairCounts, positions_m: NDArray[np.float64]) -> PairCounts:
    """Drop pairs that are much farther apart by GPS than any that match."""

    def apart(pairs: Pairs) -> NDArray[np.float64]:
        steps = positions_m[pairs[:, 0], :2] - positions_m[pairs[:, 1], :2]
        return np.asarray(np.linalg.norm(steps, axis=1))

    known = apart(related.pairs)
    if not np.isfinite(known).any():
        return tried
    near = ~(apart(tried.pairs) > _FARTHER * np.nanmax(known))  # unknown distances stay
    return PairCounts(tried.pairs[near], tried.inliers[near])
