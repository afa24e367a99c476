"""Positions that come late: found, mended, and neither where there is no lag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from voxterra.core.georeference import Georeference, Placement
from voxterra.georef.georeference import georeference
from voxterra.georef.lag import way_of

MakeSurvey = Callable[..., Any]

SPEED = 5.0  # [m/s]: photos 15 m apart are taken every 3 s


def flown(s: Any, *, lag_s: float = 0.0, timed: bool = True, photos: int = 36) -> Any:
    """The survey flown along its lines there and back, each position recorded `lag_s` late.

    The recorded place is where the aircraft was then, on the straight way from photo to photo.
    """
    side = int(np.sqrt(photos))
    row, column = np.divmod(np.arange(photos), side)
    order = np.lexsort([np.where(row % 2 == 0, column, side - 1 - column), row])
    rank = np.argsort(order)
    way = np.array([i.center_in_world for i in s.truth.images])[order]
    steps = np.linalg.norm(np.diff(way, axis=0), axis=1)
    seconds = np.concatenate([[0.0], np.cumsum(steps / SPEED)])
    late = seconds - lag_s
    ahead = way[0] - (way[1] - way[0]) / steps[0] * SPEED * lag_s
    recorded = np.column_stack([np.interp(late, seconds, way[:, k]) for k in range(3)])
    if lag_s > 0:
        recorded[0] = ahead
    shift = (recorded - way)[rank]

    def change(i: int, photo: Any) -> Any:
        gps = photo.gps
        place = s.frame.from_lonlat(np.array([[gps.lon, gps.lat, 0.0]]))
        lon, lat, _ = s.frame.to_lonlat(place + np.array([*shift[i, :2], 0.0]))[0]
        t = float(seconds[rank[i]])
        stamp = f"2026-05-01T10:{int(t // 60):02d}:{t % 60:06.3f}" if timed else None
        name = f"DJI_{rank[i]:04d}.jpg"
        return replace(photo, id=name, captured_at=stamp, gps=replace(gps, lon=lon, lat=lat))

    def rename(r: Any) -> Any:
        images = [replace(im, name=f"DJI_{rank[i]:04d}.jpg") for i, im in enumerate(r.images)]
        return replace(r, images=tuple(images))

    s = s.with_photos(change)
    return replace(s, model=rename(s.model), truth=rename(s.truth))


def placed(s: Any) -> tuple[Georeference, Placement]:
    found = georeference([s.model], s.photos)
    return found, found.placements[0]


BY_NIGHT = [
    pytest.param(seed, timed, lag_s, marks=pytest.mark.nightly)
    for seed in range(1, 4)
    for timed in (True, False)
    for lag_s in (0.6, -0.6)
]


@pytest.mark.parametrize(
    ("seed", "timed", "lag_s"),
    [(0, True, 0.6), (0, False, -0.6), (0, False, 0.6), (0, True, -0.6), *BY_NIGHT],
)
def test_a_lag_is_mended(survey: MakeSurvey, seed: int, timed: bool, lag_s: float) -> None:
    s = flown(survey(n=36, gps_sigma=(0.5, 0.8), seed=seed), lag_s=lag_s, timed=timed)
    found, placement = placed(s)
    lag = placement.lag
    assert lag is not None
    assert abs(lag.distance_m - SPEED * lag_s) < max(4 * lag.sigma_m, 0.4)
    assert lag.left_out_with_m < 0.7 * lag.left_out_without_m
    assert placement.rmse_horizontal_m < 1.2  # the GPS's own 0.5 m an axis, not the 3 m of the lag
    assert (lag.seconds is None) != timed
    if timed:
        assert lag.seconds == pytest.approx(lag_s, abs=0.1)
    side = "behind" if lag_s > 0 else "ahead of"
    assert any(f"{side} the cameras" in w and "is corrected" in w for w in found.all_warnings)


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(2, 8))]
)
def test_noise_is_no_lag(survey: MakeSurvey, seed: int) -> None:
    s = flown(survey(n=36, gps_sigma=(0.8, 2.0), seed=seed))
    found, placement = placed(s)
    assert placement.lag is None
    assert not any("along their path" in w for w in found.all_warnings)


def test_a_single_line_cannot_tell_a_lag_from_a_shift(survey: MakeSurvey) -> None:
    s = survey(n=30, layout="line", gps_sigma=(0.3, 0.3), attitude_sigma=1.0)
    timed = s.with_photos(lambda i, p: replace(p, captured_at=f"2026-05-01T10:00:{i:02d}"))
    assert placed(timed)[1].lag is None


def test_a_lag_survives_the_file(survey: MakeSurvey) -> None:
    lag = placed(flown(survey(n=36, gps_sigma=(0.4, 0.5)), lag_s=0.8))[1]
    assert lag.lag is not None
    assert Placement.from_dict(lag.to_dict()).lag == lag.lag


def test_the_way_stops_where_a_flight_ends() -> None:
    x = np.array([0.0, 10, 20, 30, 400, 410, 420])
    centers = np.column_stack([x, np.zeros(7), np.zeros(7)])
    way = way_of(centers, np.arange(7), None, before=True)
    assert np.allclose(way[:, 0], [0, 1, 1, 1, 0, 1, 1])
    seconds = np.array([0.0, 1, 2, 4, 300, 301, 302])  # slower from 20 to 30
    way = way_of(centers, np.arange(7), seconds, before=False)
    assert np.allclose(way[:, 0], [1, 1, 0.5, 0, 1, 1, 0])
