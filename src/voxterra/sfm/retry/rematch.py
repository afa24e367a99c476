"""Match unregistered photos again with stronger methods; everything else stays as it was.

Guided: search pairs that match again along their epipolar lines, where look-alikes elsewhere in a
photo do not compete; repetitive facades gain most. Hardened: find fainter features that match over
wide baselines, in these photos and their likeliest partners. New matches are added to the existing
features, so that points of registered photos stay the same points.

Each method works in a database of its own, beside the first and named by what is matched again, so
a stopped run resumes with it.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from voxterra.core.progress import Progress, part
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.database import derived, drop_damaged
from voxterra.sfm.features.features import extract_features
from voxterra.sfm.features.matching import match_pairs
from voxterra.sfm.features.staging import StagedPhotos
from voxterra.sfm.retry.cost import MOST_GUIDED, MOST_HARDENED
from voxterra.sfm.retry.pair_choice import Method, Pairs

# Largest distance between positions of one feature as two descriptors find it, at the size at which
# features are found [px].
_SAME_PLACE_PX = 1.0


def rematch(
    method: Method,
    database: Path,
    pairs: Pairs,
    staged: StagedPhotos,
    config: SfmConfig,
    *,
    progress: Progress,
) -> Path:
    """Make a database with the stronger matches of these pairs, where there are more.

    Args:
        method: guided or hardened.
        database: with features and matches; it stays as it is.
        pairs: (N, 2) photo indices, first < second, sorted.
        staged: the photos.
        config: sizes, threads, seed.
        progress: called often.
    """
    name = hashlib.sha256(pairs.tobytes()).hexdigest()[:12]
    target = database.with_name(f"{database.name}.{method}-{name}.db")
    source = target.with_name(f"{target.name}.features.db")
    for path in (target, source):
        drop_damaged(path)
    if target.exists():
        source.unlink(missing_ok=True)
        return target
    photos = np.unique(pairs)
    if not source.exists():
        _start(database, source, photos if method == "guided" else np.empty(0, np.int64))
    matching = progress
    if method == "hardened":
        fewer = replace(config, max_features=min(config.max_features, MOST_HARDENED))
        names = frozenset(staged.names[i] for i in photos)
        share = part(progress, 0.0, 0.5)
        extract_features(source, staged, fewer, only=names, hardened=True, progress=share)
        matching = part(progress, 0.5, 1.0)
    match_pairs(source, staged, pairs, config, guided=True, progress=matching)
    _merge(method, source, database, target, pairs, config.max_image_size)
    source.unlink()
    return target


def _start(database: Path, target: Path, photos: NDArray[np.int64]) -> None:
    """Copy the database without matches, with only the largest features of these photos."""
    with closing(pycolmap.Database.open(database)) as whole, derived(database, target) as opened:
        opened.clear_matches()
        opened.clear_two_view_geometries()
        opened.clear_descriptors()
        opened.clear_keypoints()
        for image_id in (photos + 1).tolist():
            keypoints, found = whole.read_keypoints(image_id), whole.read_descriptors(image_id)
            rows = largest(keypoints)
            opened.write_keypoints(image_id, keypoints[rows])
            fewer = pycolmap.FeatureDescriptors(found.type, found.data[rows])
            opened.write_descriptors(image_id, fewer)


def largest(keypoints: NDArray[np.float32], most: int = MOST_GUIDED) -> NDArray[np.int64]:
    """Rows of the `most` keypoints of largest scale, in their order.

    Args:
        keypoints: (N, 4) x, y, scale, angle, or (N, 6) x, y and the 2 x 2 shape.
        most: largest number of rows.
    """
    scale = keypoints[:, 2]
    if keypoints.shape[1] >= 6:
        scale = np.abs(keypoints[:, 2] * keypoints[:, 5] - keypoints[:, 3] * keypoints[:, 4])
    return np.sort(np.argsort(-scale, kind="stable")[:most])


def _merge(
    method: Method, source: Path, database: Path, target: Path, pairs: Pairs, max_image_size: int
) -> None:
    """Copy `database`, with the matches of `source` in those `pairs` where it has more."""
    with closing(pycolmap.Database.open(source)) as other, derived(database, target) as opened:
        row: dict[int, NDArray[np.int64]] = {}
        for image_id in (np.unique(pairs) + 1).tolist():
            new, old = (d.read_keypoints(image_id) for d in (other, opened))
            if method == "guided":
                row[image_id] = largest(old)
                continue
            camera = opened.read_camera(opened.read_image(image_id).camera_id)
            scale = max(1.0, max(camera.width, camera.height) / max_image_size)
            row[image_id], table = joined(old, new, _SAME_PLACE_PX * scale)
            opened.update_keypoints(image_id, table)
        for a, b in (pairs + 1).tolist():
            geometry = other.read_two_view_geometry(a, b)
            rows = np.asarray(geometry.inlier_matches, np.int64).reshape(-1, 2)
            rows = _one_to_one(np.column_stack([row[a][rows[:, 0]], row[b][rows[:, 1]]]))
            before = opened.exists_two_view_geometry(a, b)
            if before and len(opened.read_two_view_geometry(a, b).inlier_matches) >= len(rows):
                continue
            geometry.inlier_matches = rows.astype(np.uint32)
            if before:
                opened.update_two_view_geometry(a, b, geometry)
            else:
                opened.write_two_view_geometry(a, b, geometry)


def joined(
    old: NDArray[np.float32], new: NDArray[np.float32], same_px: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Join new keypoints to the old: (M,) row of each new one in the table, and the (K, C) table.

    Args:
        old: (N, C) keypoints, x and y [px] first; they keep their rows.
        new: (M, C') of another kind; one within `same_px` of an old one is the same keypoint, and
            new ones at one place are one keypoint.
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
    """Drop second matches of a feature, which joining features can make."""
    for column in (0, 1):
        matches = matches[np.sort(np.unique(matches[:, column], return_index=True)[1])]
    return matches
