"""Choose pairs of photos to match: all with all, neighbours by GPS, neighbours by time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from voxterra.adjust.positions import positions_m
from voxterra.core.photos import Photo
from voxterra.errors import UsageError
from voxterra.sfm.config import SfmConfig

Method = Literal["exhaustive", "spatial", "sequential"]

# Below this share of photos with GPS, positions say too little about overlap.
MIN_GPS_SHARE = 0.5


@dataclass(frozen=True)
class PairChoice:
    """Pairs to match.

    Attributes:
        method: how they were chosen.
        pairs: (N, 2) int64 indices of photos, first < second, sorted, unique.
    """

    method: Method
    pairs: NDArray[np.int64]


def choose_pairs(photos: tuple[Photo, ...], config: SfmConfig) -> PairChoice:
    """Choose pairs to match by the method of `config.matcher`.

    Raises:
        UsageError: spatial pairs are requested, but fewer than two photos have GPS.
    """
    method = _method(photos, config)
    if method == "exhaustive":
        pairs = exhaustive_pairs(len(photos))
    elif method == "spatial":
        positions = positions_m(photos)
        order = capture_order(photos)
        pairs = _unique(
            spatial_pairs(positions, config.spatial_neighbours),
            _pairs_in_time(photos, config.sequential_overlap),
            _pairs_without_position(positions, order),
        )
    else:
        # Photos of one place at different times, such as on the way back, are near in space.
        pairs = _unique(
            _pairs_in_time(photos, config.sequential_overlap),
            spatial_pairs(positions_m(photos), config.spatial_neighbours),
        )
    return PairChoice(method, pairs)


def _method(photos: tuple[Photo, ...], config: SfmConfig) -> Method:
    with_gps = sum(photo.gps is not None for photo in photos)
    if config.matcher == "spatial" and with_gps < 2:
        raise UsageError(
            f"Pairs by position need GPS, but {with_gps} of {len(photos)} photos have it.",
            where="--sfm.matcher spatial",
            next_step="Give --sfm.matcher auto, or positions in meta.csv.",
        )
    if config.matcher != "auto":
        return config.matcher
    if len(photos) <= config.max_exhaustive_photos:
        return "exhaustive"
    return "spatial" if with_gps >= MIN_GPS_SHARE * len(photos) else "sequential"


def exhaustive_pairs(count: int) -> NDArray[np.int64]:
    """All pairs of `count` photos."""
    return np.column_stack(np.triu_indices(count, 1)).astype(np.int64)


def spatial_pairs(positions: NDArray[np.float64], neighbours: int) -> NDArray[np.int64]:
    """Each photo with its `neighbours` nearest.

    Args:
        positions: (N, 3) [m]; a row of NaN is a photo without a position and gets no pair.
        neighbours: number of nearest photos.
    """
    located = np.flatnonzero(np.isfinite(positions).all(axis=1))
    count = min(neighbours + 1, len(located))
    if count < 2:
        return np.empty((0, 2), np.int64)
    _, nearest = cKDTree(positions[located]).query(positions[located], k=count)
    first = np.repeat(located, count)
    return _unique(np.column_stack([first, located[nearest.ravel()]]))


def sequential_pairs(order: NDArray[np.int64], overlap: int) -> NDArray[np.int64]:
    """Each photo with the `overlap` next ones in `order`, and those 2, 4, 8... times as far.

    The far ones connect parallel flight lines; they stop at 16 times `overlap`.
    """
    steps = [*range(1, overlap + 1), *(overlap * 2**k for k in range(1, 5))]
    parts = [np.column_stack([order[:-step], order[step:]]) for step in steps if step < len(order)]
    return _unique(*parts)


def capture_order(photos: tuple[Photo, ...]) -> NDArray[np.int64]:
    """Indices of photos by camera, then capture time (where known), then id."""
    keys = [(photo.camera_key, photo.captured_at or "", photo.id) for photo in photos]
    return np.array(sorted(range(len(photos)), key=keys.__getitem__), np.int64)


def _pairs_in_time(photos: tuple[Photo, ...], overlap: int) -> NDArray[np.int64]:
    """Photos that follow each other in one camera, and across cameras where all times are known.

    Without the latter, two cameras carried side by side would meet only where one list ends.
    """
    pairs = sequential_pairs(capture_order(photos), overlap)
    times = [photo.captured_at for photo in photos]
    if len({photo.camera_key for photo in photos}) < 2 or None in times:
        return pairs
    keys = [(photo.captured_at, photo.id) for photo in photos]
    mixed = np.array(sorted(range(len(photos)), key=keys.__getitem__), np.int64)
    return _unique(pairs, sequential_pairs(mixed, overlap))


def _pairs_without_position(
    positions: NDArray[np.float64], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Photos without a position, with up to 40 others spread evenly over the capture order."""
    missing = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    others = order[np.unique(np.linspace(0, len(order) - 1, 40).astype(int))]
    return _unique(np.array([(a, b) for a in missing for b in others], np.int64).reshape(-1, 2))


def _unique(*parts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Union of lists of pairs: smaller index first, no pair twice, none with itself."""
    if not parts:
        return np.empty((0, 2), np.int64)
    pairs = np.sort(np.concatenate(parts).reshape(-1, 2), axis=1)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    return np.unique(pairs, axis=0) if len(pairs) else pairs
