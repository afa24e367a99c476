"""Find parts of a model that show two look-alike places merged into one.

Windows, bays and whole houses repeat. Matches between them fit one pose perfectly, and no photo
contradicts its neighbours; only what does not repeat separates the places: points that one part
sees and the other, from the same side, does not, and pictures that differ there. Grouping by what
photos do not share follows Heinly, Dunn and Frahm (Correcting for duplicate scene structure in
sparse 3D reconstruction, ECCV 2014); here pictures must differ too, so that a place seen at two
times, with few matching features, stays one. And they must differ both ways: a wall between two
rooms, or anything in front, hides things from one of two views, while the other has nothing that
the first does not show there.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from voxterra.core.progress import Progress, part
from voxterra.sfm.ambiguity.patches import Patches
from voxterra.sfm.ambiguity.shared_points import AlikeViews, Sharing, alike_views, sharing_of
from voxterra.sfm.features.database import PairCounts
from voxterra.sfm.features.staging import StagedPhotos

_log = logging.getLogger(__name__)

Ints = NDArray[np.int64]
Float = NDArray[np.float64]

# Views that share at least this part of what such views of the set usually share agree; their
# pictures are not compared.
_AGREE = 0.75
# Fewest matches between views of merged places; where nothing matches, a wall may separate what the
# two views see.
_TIED = 30
# Two views agree up to this share of differing patches, and two parts show two places from this
# median on. Measured: views of one place mostly 0.05, single pairs 0.25 with trees, or edges in
# front of far things; places alike by 80 % 0.2, by 65 % 0.3. Two places differ this much both ways;
# through a door, 0.01 of what is seen from afar differs from near, and 0.3 of what is seen from
# near is hidden from afar.
_AGREE_DIFFERING, _TWO_PLACES = 0.1, 0.15
# The smaller of both ways must exceed this part of the limit.
_BOTH_WAYS = 2 / 3
# The limit where GPS has views further apart than any that agree, and than its noise.
_TWO_PLACES_BY_GPS = 0.05
_FARTHER, _SIGMAS = 2.0, 4.0
# Most pairs whose pictures are compared, those that share most first: 0.1 s each, and 0.5 s where
# large photos must be read again.
_MOST_COMPARED = 500
# Fewest photos of a part: fewer make no model.
_MIN_PART = 3
# Fewest pairs of views between two parts for a verdict.
_MIN_PAIRS = 3


@dataclass(frozen=True)
class LookAlikes:
    """Two parts of one model that show look-alike places merged into one.

    Attributes:
        parts: image ids of each.
        pairs: (K, 2) image ids of compared views, one in each part.
        differing: median share of patches that differ, the larger of both ways.
    """

    parts: tuple[frozenset[int], frozenset[int]]
    pairs: Ints
    differing: float


def look_alike_parts(
    model: pycolmap.Reconstruction,
    staged: StagedPhotos,
    related: PairCounts,
    positions_m: Float,
    sigma_m: float,
    seed: int,
    progress: Progress,
) -> list[LookAlikes]:
    """Find parts of a model that show two places merged into one; none in nearly all models.

    Args:
        model: any model of the photos.
        staged: the photos.
        related: matches of all photos.
        positions_m: (N, 3) by GPS in a local metric frame, NaN where unknown; photo i is image i+1.
        sigma_m: horizontal standard deviation of the positions.
        seed: of random choices.
        progress: called often.
    """
    if model.num_reg_images() < 2 * _MIN_PART:
        return []
    sharing = sharing_of(model, seed)
    alike = alike_views(sharing, part(progress, 0.0, 0.3))
    agree = alike.shared >= _AGREE * _usual(sharing, alike)
    doubtful = ~agree & _tied(sharing, alike, related)
    far = _far(positions_m[(sharing.ids - 1)[alike.pairs], :2], agree, sigma_m)
    limit = np.where(far, _TWO_PLACES_BY_GPS, _AGREE_DIFFERING)
    differing = _compared(
        model, staged, sharing, alike, agree, doubtful, limit, seed, part(progress, 0.3, 1.0)
    )
    worse = differing.max(axis=1)
    if np.isfinite(worse).sum() < _MIN_PAIRS:
        return []
    part_of = _parts(sharing, alike.pairs[agree | (worse <= limit)], related)
    return _pairs_of_parts(sharing, alike, part_of, differing, far)


def _far(places_m: Float, agree: NDArray[np.bool_], sigma_m: float) -> NDArray[np.bool_]:
    """(K,) pairs of views, (K, 2, 2) on the ground, that GPS has further apart than any agree."""
    steps = np.linalg.norm(places_m[:, 0] - places_m[:, 1], axis=1)
    usual = steps[agree & np.isfinite(steps)]
    if not len(usual):
        return np.zeros(len(steps), bool)
    far: NDArray[np.bool_] = np.nan_to_num(steps) > max(
        _SIGMAS * sigma_m, _FARTHER * float(usual.max())
    )
    return far


def _pairs_of_parts(
    sharing: Sharing,
    alike: AlikeViews,
    part_of: Ints,
    differing: Float,
    far: NDArray[np.bool_],
) -> list[LookAlikes]:
    """Parts between which the compared pairs, by their median, show two places."""
    found = []
    compared = np.isfinite(differing).all(axis=1)
    parts, swapped = part_of[alike.pairs], np.diff(part_of[alike.pairs], axis=1)[:, 0] < 0
    between = np.sort(parts, axis=1)
    # Share of what the first part shows that differs in the second, and the other way round.
    ways = np.where(swapped[:, None], differing[:, ::-1], differing)
    for p, q in np.unique(between[compared], axis=0).tolist():
        mine = (between == (p, q)).all(axis=1) & compared
        if p == q or mine.sum() < _MIN_PAIRS:
            continue
        median = float(np.median(ways[mine].max(axis=1)))
        first, second = (frozenset(sharing.ids[part_of == k].tolist()) for k in (p, q))
        least = _TWO_PLACES_BY_GPS if far[mine].mean() > 0.5 else _TWO_PLACES
        one_sided = np.median(ways[mine], axis=0).min() <= _BOTH_WAYS * least
        if median < least or one_sided or min(len(first), len(second)) < _MIN_PART:
            continue
        found.append(LookAlikes((first, second), sharing.ids[alike.pairs[mine]], median))
    return found


def _usual(sharing: Sharing, alike: AlikeViews) -> float:
    """Median share of an image with the view that it shares most with."""
    best = np.zeros(len(sharing.ids))
    for column in (0, 1):
        np.maximum.at(best, alike.pairs[:, column], alike.shared)
    return float(np.median(best[best > 0])) if (best > 0).any() else 0.0


def _tied(sharing: Sharing, alike: AlikeViews, related: PairCounts) -> NDArray[np.bool_]:
    """(K,) pairs of views with enough matches to be merged by them."""
    tied = {tuple(pair) for pair in related.pairs[related.inliers >= _TIED].tolist()}
    indices = (sharing.ids - 1)[alike.pairs]
    return np.array([tuple(pair) in tied for pair in indices.tolist()], bool)


def _compared(
    model: pycolmap.Reconstruction,
    staged: StagedPhotos,
    sharing: Sharing,
    alike: AlikeViews,
    agree: NDArray[np.bool_],
    doubtful: NDArray[np.bool_],
    limit: Float,
    seed: int,
    progress: Progress,
) -> Float:
    """(K, 2) share of patches that differ, of the first view in the second and vice versa.

    For doubtful pairs that nothing else connects and that can be compared both ways; else NaN.
    Pairs up to the limit show one place, and connect.
    """
    out = np.full((len(alike.pairs), 2), np.nan)
    group = _connected(alike.pairs[agree], len(sharing.ids))
    chosen = np.flatnonzero(doubtful)
    patches, compared = Patches(model, staged, seed), 0
    for done, k in enumerate(chosen[np.argsort(-alike.shared[chosen], kind="stable")]):
        a, b = alike.pairs[k]
        if group[a] == group[b]:
            continue
        if compared == _MOST_COMPARED:
            break
        progress(done / len(chosen), f"comparing photos that look alike {done}/{len(chosen)}")
        shares = [patches.differing(sharing, i, j) for i, j in ((a, b), (b, a))]
        compared += 1
        if None in shares:
            continue
        out[k] = shares
        if out[k].max() <= limit[k]:
            group[group == group[b]] = group[a]
    return out


def _connected(pairs: Ints, count: int) -> Ints:
    """(count,) number of the part of each image that pairs connect."""
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _parts(sharing: Sharing, agree: Ints, related: PairCounts) -> Ints:
    """(N,) number of the part of each image: views of one place are connected.

    Images in groups too small for a part join the part with which they have most matches.
    """
    group = _connected(agree, len(sharing.ids))
    large = np.isin(group, [k for k, size in Counter(group.tolist()).items() if size >= _MIN_PART])
    row = {int(i) - 1: k for k, i in enumerate(sharing.ids)}
    order = np.argsort(-related.inliers, kind="stable")
    changed = True
    while changed:
        changed = False
        for a, b in related.pairs[order].tolist():
            i, j = row.get(a), row.get(b)
            if i is None or j is None or large[i] == large[j]:
                continue
            small, other = (j, i) if large[i] else (i, j)
            group[small], large[small], changed = group[other], True, True
            break
    return group
