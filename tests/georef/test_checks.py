"""Bowls, late positions, mirrored and repeated ones: told where they are, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from voxterra.core.bend import bend_m
from voxterra.core.georeference import Georeference
from voxterra.core.photos import Photo
from voxterra.georef.georeference import georeference

MakeSurvey = Callable[..., Any]


def said(found: Georeference, text: str) -> bool:
    return any(text in warning for warning in found.all_warnings)


def moved_gps(survey: Any, photo: Photo, shift: np.ndarray) -> Photo:
    """The photo with its recorded position moved by east, north, up [m]."""
    assert photo.gps is not None and photo.gps.height_m is not None
    gps = photo.gps
    place = survey.frame.from_lonlat(np.array([[gps.lon, gps.lat, 0.0]]))
    lon, lat, _ = survey.frame.to_lonlat(place + np.array([*shift[:2], 0.0]))[0]
    return replace(photo, gps=replace(gps, lon=lon, lat=lat, height_m=gps.height_m + shift[2]))


def serpentine(n: int = 30) -> np.ndarray:
    """Cameras along lines there and back, six photos each, 10 m apart."""
    line, k = np.divmod(np.arange(n), 6)
    x = np.where(line % 2 == 0, k, 5 - k) * 10.0
    return np.column_stack([x, line * 12.0, np.full(n, 50.0)])


@pytest.mark.parametrize("seed", range(5))
def test_bends_are_measured_and_noise_is_none(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centers = serpentine()
    gps = centers + rng.normal(0, 0.3, centers.shape)
    assert bend_m(centers, gps) is None
    radius2 = ((centers - centers.mean(0))[:, :2] ** 2).sum(1)
    bent = centers + np.outer(radius2 / radius2.max(), [0, 0, -3.0])
    assert bend_m(bent, gps) == pytest.approx(-3.0, abs=0.8)
    line = np.column_stack([np.arange(30) * 3.0, np.zeros(30), np.zeros(30)])
    assert bend_m(line, line + rng.normal(0, 0.3, line.shape)) is None


def test_a_bowl_is_told(survey: MakeSurvey) -> None:
    s = survey(n=36, gps_sigma=(0.5, 0.3))
    assert not said(georeference([s.model], s.photos), "bends by")
    truth = np.array([i.center_in_world for i in s.truth.images])
    radius2 = ((truth - truth.mean(0))[:, :2] ** 2).sum(1)
    bend = 4.0 * radius2 / radius2.max()
    bent = s.with_photos(lambda i, p: moved_gps(s, p, np.array([0, 0, bend[i]])))
    assert said(georeference([bent.model], bent.photos), "like a dome")


def test_mirrored_positions_place_nothing(survey: MakeSurvey) -> None:
    """West of Greenwich without its W: the photos fit only upside down."""
    s = survey(n=36, attitude_sigma=None)
    mirrored = s.with_photos(lambda _, p: replace(p, gps=replace(p.gps, lon=-p.gps.lon)))
    found = georeference([mirrored.model], mirrored.photos)
    assert found.frame.is_local and not found.placements[0].placed
    assert said(found, "mirrored") and said(found, "W or S is missing")
    # Cameras look down in the frame that is delivered all the same.
    down = np.array([i.cam_from_world[2, 2] for i in found.components[0].images])
    assert np.median(down) < -0.9


@pytest.mark.parametrize("attitude_sigma", [1.0, None])
@pytest.mark.parametrize("extent_m", [60.0, 1000.0, 100_000.0])
@pytest.mark.parametrize("seed", range(3))
def test_positions_of_other_photos_place_nothing(
    survey: MakeSurvey, seed: int, extent_m: float, attitude_sigma: float | None
) -> None:
    """Rows of a table that were mixed up: neither mirrored nor late, they fit in no way."""
    s, rng = survey(n=24, attitude_sigma=attitude_sigma), np.random.default_rng(seed)
    shift = rng.uniform(-extent_m, extent_m, (24, 3)) * [1.0, 1.0, 0.0]
    mixed = s.with_photos(lambda i, p: moved_gps(s, p, shift[i]))
    found = georeference([mixed.model], mixed.photos)
    assert found.frame.is_local and not found.placements[0].placed
    assert said(found, "do not fit its camera positions") and said(found, "of 24 are")
    assert not said(found, "mirrored") and not said(found, "behind the cameras")


def test_many_wrong_positions_are_set_aside_while_most_fit(survey: MakeSurvey) -> None:
    s, rng = survey(n=24), np.random.default_rng(0)
    shift = rng.uniform(-1e4, 1e4, (24, 3)) * [1.0, 1.0, 0.0]
    wrong = s.with_photos(lambda i, p: moved_gps(s, p, shift[i]) if i % 3 == 0 else p)
    found = georeference([wrong.model], wrong.photos)
    assert found.placements[0].placed and len(found.placements[0].outliers) == 8
    assert abs(s.error(found.components[0], found.frame).scale_ratio - 1) < 0.05


def test_one_height_for_all_says_little_of_up(survey: MakeSurvey) -> None:
    s = survey(n=24, gps_sigma=(0.5, 0.3), attitude_sigma=None)
    before = georeference([s.model], s.photos).placements[0]
    same = s.with_photos(lambda _, p: replace(p, gps=replace(p.gps, height_m=187.0)))
    after = georeference([same.model], same.photos).placements[0]
    assert before.tilt_sigma_deg is not None and after.tilt_sigma_deg is not None
    assert after.position_sigma_vertical_m > 2 * before.position_sigma_vertical_m
    assert after.placed


def test_heights_of_nought_are_none(survey: MakeSurvey) -> None:
    s = survey(n=24)
    flat = s.with_photos(lambda _, p: replace(p, gps=replace(p.gps, height_m=0.0)))
    found = georeference([flat.model], flat.photos)
    assert found.placements[0].placed and said(found, "no photo has a recorded height")
    assert found.placements[0].position_sigma_vertical_m is None
    assert s.error(found.components[0], found.frame).tilt_deg < 1.0
