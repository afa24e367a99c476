from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from voxterra.adjust.config import AdjustConfig
from voxterra.adjust.positions import position_priors, positions_m
from voxterra.core.photos import Gps, Photo
from voxterra.errors import UsageError
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.pairs import (
    capture_order,
    choose_pairs,
    exhaustive_pairs,
    sequential_pairs,
    spatial_pairs,
)

Build = Callable[..., Photo]


def grid(photo: Build, rows: int, columns: int, step_deg: float = 1e-4) -> tuple[Photo, ...]:
    """Photos about 11 m apart, flown in lines that alternate in direction."""
    out = []
    for row in range(rows):
        for column in range(columns):
            x = column if row % 2 == 0 else columns - 1 - column
            index = row * columns + column
            captured = f"2026-01-01T00:{index // 60:02d}:{index % 60:02d}"
            lonlat = (10.0 + x * step_deg, row * step_deg)
            out.append(photo(index, lonlat=lonlat, captured_at=captured))
    return tuple(out)


def test_small_sets_are_matched_exhaustively(photo: Build) -> None:
    choice = choose_pairs(grid(photo, 6, 10), SfmConfig())
    assert choice.method == "exhaustive"
    assert len(choice.pairs) == 60 * 59 // 2
    assert (choice.pairs[:, 0] < choice.pairs[:, 1]).all()


def test_large_sets_with_gps_are_matched_with_neighbours(photo: Build) -> None:
    photos = grid(photo, 10, 20)
    choice = choose_pairs(photos, SfmConfig(spatial_neighbours=8, sequential_overlap=2))
    assert choice.method == "spatial"
    assert len(choice.pairs) < 200 * 15
    pairs = set(map(tuple, choice.pairs.tolist()))
    position = {(p.gps.lon, p.gps.lat): i for i, p in enumerate(photos) if p.gps}
    for (lon, lat), i in position.items():  # the neighbour in the next flight line is a pair
        for (lon2, lat2), j in position.items():
            if lon == lon2 and abs(lat2 - lat - 1e-4) < 1e-9:
                assert (min(i, j), max(i, j)) in pairs


def test_photos_without_gps_are_matched_too(photo: Build) -> None:
    photos = (*grid(photo, 10, 10), photo(100), photo(101))
    choice = choose_pairs(photos, SfmConfig(spatial_neighbours=5, sequential_overlap=1))
    assert choice.method == "spatial"
    for index in (100, 101):
        assert (choice.pairs == index).any(axis=1).sum() >= 30


def test_large_sets_without_gps_follow_capture_time(photo: Build) -> None:
    times = [
        f"2026-01-01T00:{(i * 37) % 100 // 60:02d}:{(i * 37) % 100 % 60:02d}" for i in range(100)
    ]
    photos = tuple(photo(i, captured_at=times[i]) for i in range(100))
    choice = choose_pairs(photos, SfmConfig(sequential_overlap=1))
    assert choice.method == "sequential"
    order = capture_order(photos)
    assert [times[i] for i in order] == sorted(times)
    gaps = {
        abs(int(np.flatnonzero(order == a)[0] - np.flatnonzero(order == b)[0]))
        for a, b in choice.pairs
    }
    assert gaps == {1, 2, 4, 8, 16}


def test_cameras_that_walk_together_are_matched_along_the_way(photo: Build) -> None:
    def walk(missing: int | None = None) -> list[list[int]]:
        photos = tuple(
            photo(
                i,
                camera_key=f"phone {i % 2}",
                captured_at=None if i == missing else f"2026-01-01T00:{i // 60:02d}:{i % 60:02d}",
            )
            for i in range(100)
        )
        return choose_pairs(photos, SfmConfig(sequential_overlap=1)).pairs.tolist()

    pairs = walk()
    assert all([i, i + 1] in pairs for i in range(99))  # other phone
    assert all([i, i + 2] in pairs for i in range(98))  # same phone
    across = [b - a for a, b in walk(missing=50) if (a + b) % 2]
    assert len(across) <= 1 + 2 + 4 + 8 + 16  # the times of one photo say nothing: only the seam


def test_spatial_without_gps_is_a_usage_error(photo: Build) -> None:
    with pytest.raises(UsageError, match="0 of 3"):
        choose_pairs(tuple(photo(i) for i in range(3)), SfmConfig(matcher="spatial"))


def test_pairs_are_unique_sorted_and_complete() -> None:
    np.testing.assert_array_equal(exhaustive_pairs(3), [[0, 1], [0, 2], [1, 2]])
    np.testing.assert_array_equal(
        sequential_pairs(np.array([2, 0, 1]), 1), [[0, 1], [0, 2], [1, 2]]
    )
    line = np.column_stack([np.arange(4.0), np.zeros(4), np.zeros(4)])
    np.testing.assert_array_equal(spatial_pairs(line, 1), [[0, 1], [1, 2], [2, 3]])
    line[1] = np.nan
    np.testing.assert_array_equal(spatial_pairs(line, 1), [[0, 2], [2, 3]])
    assert spatial_pairs(np.full((3, 3), np.nan), 4).shape == (0, 2)
    assert spatial_pairs(np.zeros((3, 3)), 4).tolist() == [[0, 1], [0, 2], [1, 2]]


def test_positions_are_metres(photo: Build) -> None:
    photos = (photo(0, lonlat=(10.0, 0.0)), photo(1), photo(2, lonlat=(10.001, 0.0)))
    positions = positions_m(photos)
    assert np.isnan(positions[1]).all()
    np.testing.assert_allclose(positions[2] - positions[0], [111.32, 0, 0], atol=0.02)


def rtk(photo: Build, index: int, sigma: float | None, **kind: object) -> Photo:
    gps = Gps(10 + index * 1e-4, 0.0, 50.0, sigma_horizontal_m=sigma, **kind)  # type: ignore[arg-type]
    return photo(index, gps=gps)


def test_priors_come_from_accurate_gps_only(photo: Build) -> None:
    consumer = tuple(rtk(photo, i, None) for i in range(6))
    assert position_priors(consumer, AdjustConfig()) is None
    mixed = (*(rtk(photo, i, 0.03) for i in range(4)), rtk(photo, 4, 5.0), rtk(photo, 5, None))
    priors = position_priors(mixed, AdjustConfig())
    assert priors is not None
    assert np.isfinite(priors[0]).all(axis=1).tolist() == [True] * 4 + [False] * 2
    np.testing.assert_allclose(priors[1][0], [0.03, 0.03, 0.06])
    assert position_priors(mixed, AdjustConfig(position_priors="never")) is None
    always = position_priors(consumer, AdjustConfig(position_priors="always"))
    assert always is not None and np.isfinite(always[0]).all()
    assert position_priors(mixed[:2], AdjustConfig()) is None


def test_height_from_another_zero_counts_as_unknown(photo: Build) -> None:
    photos = [rtk(photo, i, 0.02) for i in range(4)]
    photos.append(rtk(photo, 4, 0.02, height_reference="ellipsoidal"))
    priors = position_priors(tuple(photos), AdjustConfig())
    assert priors is not None
    assert priors[1][4, 2] >= 100 and priors[1][3, 2] < 1
