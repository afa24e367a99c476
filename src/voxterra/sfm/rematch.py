"""Photos that found no place, matched again in stronger ways; all else stays as it was.

Two ways. Guided: pairs that match are searched once more along their epipolar lines, where what
looks alike elsewhere in a photo is no rival; repetitive facades gain most. Hardened: fainter
features that bear wide baselines, in these photos and the likeliest partners. What they match is
added to the features that are there, so the points of photos with a place stay the same points.

Each way works on a copy of the database, beside it and under a name that says what of it is matched
again: a stopped run goes on with the copy.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from voxterra.core.progress import Progress, part
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.database import PairCounts, pair_counts, raw_pair_counts, writing
from voxterra.sfm.features import extract_features
from voxterra.sfm.matching import match_pairs
from voxterra.sfm.staging import StagedPhotos
from voxterra.sfm.unregistered import MIN_INLIERS

Way = Literal["guided", "hardened"]
Pairs = NDArray[np.int64]

# Photos that one without a place is matched with again, by their matches so far.
_PARTNERS: dict[Way, int] = {"guided": 6, "hardened": 4}

# So many photos get hardened features at most: each takes seconds.
_MOST_HARDENED = 60

# Pairs lie at most this many times as far apart by GPS as the farthest pair that matches.
_FARTHER = 2.0

# Most hardened features of a photo, the largest in scale; matching takes time by their square.
_MOST_FEATURES = 4096

# Two ways to describe a feature place it within this of each other, where features are found [px].
_SAME_PLACE_PX = 1.0


def rematch(
    way: Way,
    database: Path,
    left: NDArray[np.int64],
    positions_m: NDArray[np.float64],
    staged: StagedPhotos,
    config: SfmConfig,
    *,
    progress: Progress,
) -> Path | None:
    """A database in which the photos `left` are matched again; None where there is nothing to do.

    Args:
        way: guided or hardened.
        database: with features and matches; it stays as it is.
        left: indices of photos without a place.
        positions_m: (N, 3) by GPS in a local metric frame, NaN where unknown.
        staged: the photos.
        config: sizes, threads, seed.
        progress: called often.
    """
    pairs = _pairs_again(way, database, left, positions_m)
    if not len(pairs):
        return None
    name = hashlib.sha256(pairs.tobytes()).hexdigest()[:12]
    target = database.with_name(f"{database.name}.{way}-{name}.db")
    if way == "guided":
        if not target.exists():
            _copy(database, target, without=pairs)
        match_pairs(target, staged, pairs, config, guided=True, progress=progress)
        return target
    if target.exists():
        return target
    photos = np.unique(pairs)
    if len(photos) > _MOST_HARDENED:
        return None
    source = target.with_name(f"{target.name}.features.db")
    if not source.exists():
        _copy(database, source, without=None)
    names = frozenset(staged.names[i] for i in photos)
    fewer = replace(config, max_features=min(config.max_features, _MOST_FEATURES))
    extract_features(
        source, staged, fewer, only=names, hardened=True, progress=part(progress, 0.0, 0.5)
    )
    match_pairs(source, staged, pairs, config, guided=True, progress=part(progress, 0.5, 1.0))
    _merge(source, database, target, pairs, config.max_image_size)
    source.unlink()
    return target


def _pairs_again(
    way: Way, database: Path, left: NDArray[np.int64], positions_m: NDArray[np.float64]
) -> Pairs:
    """Pairs to match again, (N, 2), first < second, sorted.

    Of a photo without a place those with most matches, which for guided have to be checked ones;
    and pairs that match among the partners: their points are what fixes a photo's place.
    """
    related = pair_counts(database)
    counts = related
    if way == "hardened":
        raw = raw_pair_counts(database)
        more = raw.inliers >= MIN_INLIERS  # what has less cannot come to agree on a view
        counts = _near(PairCounts(raw.pairs[more], raw.inliers[more]), related, positions_m)
    chosen = _best_of(left, counts, _PARTNERS[way])
    partners = np.setdiff1d(chosen, left)
    among = related.pairs[np.isin(related.pairs, partners).all(axis=1)]
    return np.unique(np.concatenate([chosen, among]), axis=0)


def _best_of(left: NDArray[np.int64], counts: PairCounts, most: int) -> Pairs:
    """Of each photo in `left`, its pairs with most matches."""
    found = [np.empty((0, 2), np.int64)]
    for index in left:
        mine = np.flatnonzero((counts.pairs == index).any(axis=1) & (counts.inliers > 0))
        order = np.argsort(-counts.inliers[mine], kind="stable")[:most]
        found.append(counts.pairs[mine[order]])
    return np.concatenate(found)


def _near(tried: PairCounts, related: PairCounts, positions_m: NDArray[np.float64]) -> PairCounts:
    """Without pairs that lie much farther apart by GPS than any that match."""

    def apart(pairs: Pairs) -> NDArray[np.float64]:
        steps = positions_m[pairs[:, 0], :2] - positions_m[pairs[:, 1], :2]
        return np.asarray(np.linalg.norm(steps, axis=1))

    known = apart(related.pairs)
    if not np.isfinite(known).any():
        return tried
    near = ~(apart(tried.pairs) > _FARTHER * np.nanmax(known))  # unknown distances stay
    return PairCounts(tried.pairs[near], tried.inliers[near])


def _copy(database: Path, target: Path, *, without: Pairs | None) -> None:
    """Copy without the matches of these pairs; None: without all features and matches."""
    partial = _partial(database, target)
    with writing(partial) as opened:
        if without is None:
            opened.clear_matches()
            opened.clear_two_view_geometries()
            opened.clear_descriptors()
            opened.clear_keypoints()
        else:
            for a, b in without + 1:
                opened.delete_matches(int(a), int(b))
                opened.delete_two_view_geometry(int(a), int(b))
    os.replace(partial, target)


def _partial(database: Path, target: Path) -> Path:
    partial = target.with_name(f"{database.name}.partial.db")
    for leftover in partial.parent.glob(f"{partial.name}*"):  # with SQLite's journals
        leftover.unlink()
    shutil.copyfile(database, partial)
    return partial


def _merge(source: Path, database: Path, target: Path, pairs: Pairs, max_image_size: int) -> None:
    """Copy of `database` with what `source` matches in `pairs` where it matches more."""
    partial = _partial(database, target)
    with closing(pycolmap.Database.open(source)) as other, writing(partial) as opened:
        added: dict[int, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}
        for image_id in np.unique(pairs) + 1:
            camera = opened.read_camera(opened.read_image(int(image_id)).camera_id)
            scale = max(1.0, max(camera.width, camera.height) / max_image_size)
            new, old = (d.read_keypoints(int(image_id)) for d in (other, opened))
            added[int(image_id)] = joined(old, new, _SAME_PLACE_PX * scale)
            opened.update_keypoints(int(image_id), added[int(image_id)][1])
        for a, b in (pairs + 1).tolist():
            geometry = other.read_two_view_geometry(a, b)
            rows = np.asarray(geometry.inlier_matches, np.int64).reshape(-1, 2)
            rows = _one_to_one(np.column_stack([added[a][0][rows[:, 0]], added[b][0][rows[:, 1]]]))
            before = opened.exists_two_view_geometry(a, b)
            if before and len(opened.read_two_view_geometry(a, b).inlier_matches) >= len(rows):
                continue
            geometry.inlier_matches = rows.astype(np.uint32)
            if before:
                opened.update_two_view_geometry(a, b, geometry)
            else:
                opened.write_two_view_geometry(a, b, geometry)
    os.replace(partial, target)


def joined(
    old: NDArray[np.float32], new: NDArray[np.float32], same_px: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """New keypoints among the old: (M,) row of each in the table, and the (K, C) table.

    Args:
        old: (N, C) keypoints, x and y [px] first; they keep their rows.
        new: (M, C') the same of another kind; one within `same_px` of an old one is that one, and
            those at one place are one.
        same_px: [px].
    """
    if not len(new):
        return np.empty(0, np.int64), old
    places, row = np.unique(new[:, :2], axis=0, return_inverse=True)
    where = np.full(len(places), -1)
    if len(old):
        distance, nearest = cKDTree(old[:, :2]).query(places)
        where = np.where(distance <= same_px, nearest, -1)
    fresh = where < 0
    where[fresh] = len(old) + np.arange(fresh.sum())
    columns = old.shape[1] if len(old) else new.shape[1]
    table = np.zeros((int(fresh.sum()), columns), np.float32)
    table[:, :2] = places[fresh]
    if columns >= 6:  # the shape, in x and y
        table[:, [2, 5]] = 1.0
    kept = old if len(old) else np.empty((0, columns), np.float32)
    return where[row.ravel()].astype(np.int64), np.concatenate([kept, table])


def _one_to_one(matches: Pairs) -> Pairs:
    """Without second matches of a feature, which joining features can make."""
    for column in (0, 1):
        matches = matches[np.sort(np.unique(matches[:, column], return_index=True)[1])]
    return matches
