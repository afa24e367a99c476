"""Overlap, ground pixel and stray positions of flights whose plan is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from voxterra.core.geo import GeoFrame
from voxterra.core.photos import Attitude, Gps, Photo
from voxterra.ingest.capture import capture_of
from voxterra.ingest.checks import gps_outliers, with_warnings

FRAME = GeoFrame("geo", 9.9158, 51.5413)
HEIGHT, FOCAL, WIDTH, GROUND_W, GROUND_H = 60.0, 3000.0, 4000, 80.0, 60.0  # 4000 x 3000 px


def at(name: str, x: float, y: float, **values) -> Photo:
    lon, lat, _ = FRAME.to_lonlat(np.array([[x, y, 0.0]]))[0]
    given = {
        "gps": Gps(lon, lat, 210.0),
        "attitude": Attitude(0.0, -90.0),
        "focal_px": FOCAL,
        "captured_at": f"2026-01-01T00:00:{name[:3]}",
        "height_above_takeoff_m": HEIGHT,
        "sharpness": 500.0,
        "brightness": 0.5,
        "camera_key": "one",
    }
    return Photo(name, Path(name), WIDTH, 3000, "", **(given | values))


def flight(forward: float, side: float, **values) -> list[Photo]:
    """Five lines north and south, of seven photos each, with the given overlaps."""
    photos = []
    for line in range(5):
        rows = range(7) if line % 2 == 0 else range(6, -1, -1)
        for row in rows:
            x, y = line * GROUND_W * (1 - side), row * GROUND_H * (1 - forward)
            photos.append(at(f"{len(photos):03d}.jpg", x, y, **values))
    return photos


@pytest.mark.parametrize(("forward", "side"), [(0.8, 0.6), (0.7, 0.7), (0.6, 0.3)])
def test_overlaps_are_those_that_were_flown(forward, side):
    found = capture_of(flight(forward, side))
    assert found.forward_overlap == pytest.approx(forward, abs=0.005)
    # Of the others the best is the one beside it, or the one after next in its own line.
    assert found.side_overlap == pytest.approx(max(side, 2 * forward - 1), abs=0.02)
    assert found.gsd_m == pytest.approx(HEIGHT / FOCAL)
    assert found.footprint_m == pytest.approx((GROUND_W, GROUND_H))
    assert found.spacing_m == pytest.approx(GROUND_H * (1 - forward), rel=0.01)
    assert (found.height_m, found.down) == (HEIGHT, 35)
    expected = 1 / ((1 - forward) * (1 - side))  # photos over a place, far from the edges
    assert found.photos_per_place == pytest.approx(expected, rel=0.35)


def test_places_too_far_apart_for_one_map_are_counted():
    near, far = flight(0.7, 0.6), flight(0.7, 0.6)
    moved = [replace(p, gps=replace(p.gps, lat=p.gps.lat + 0.3)) for p in far]  # 33 km
    assert capture_of(near).places == 1
    assert capture_of([*near, *moved]).places == 2
    lost = replace(near[0], gps=replace(near[0].gps, lat=0.0, lon=0.0))
    assert capture_of([*near[1:], *moved, lost]).places == 2  # one photo alone is no place


def test_too_little_overlap_comes_with_advice():
    assert capture_of(flight(0.75, 0.6)).advice == ()
    (text,) = capture_of(flight(0.5, 0.5)).advice
    assert "overlap is 50%" in text and "closer together" in text
    (text,) = capture_of(flight(0.597, 0.6)).advice
    assert "overlap is 59.7%" in text and "for 60% or more" in text
    assert len(capture_of(flight(0.2, 0.1)).advice) == 2


def test_the_turn_of_the_camera_counts():
    """Photos turned by 90 degrees are 60 m wide and 80 m high on the ground."""
    found = capture_of(flight(0.5, 0.5, attitude=Attitude(90.0, -90.0)))
    assert found.forward_overlap == pytest.approx(1 - GROUND_H * 0.5 / GROUND_W, abs=0.005)


def test_without_attitude_the_camera_is_taken_to_look_down_along_the_flight():
    found = capture_of(flight(0.7, 0.6, attitude=None))
    assert found.forward_overlap == pytest.approx(0.7, abs=0.02)


def test_a_slanting_photo_sees_farther_than_it_stands_high():
    found = capture_of(flight(0.7, 0.6, attitude=Attitude(0.0, -45.0)))
    assert found.gsd_m == pytest.approx(HEIGHT / FOCAL * np.sqrt(2), rel=1e-6)


def test_what_is_not_known_is_not_told():
    street = flight(0.7, 0.6, height_above_takeoff_m=None)
    found = capture_of(street)
    assert found.spacing_m is not None and found.forward_overlap is found.gsd_m is None
    across = capture_of(flight(0.7, 0.6, attitude=Attitude(0.0, 0.0)))
    assert across.forward_overlap is None
    assert capture_of([replace(p, gps=None) for p in street]).spacing_m is None
    assert capture_of([]) == capture_of(street[:1])
    assert capture_of(street, above_ground_m=HEIGHT).forward_overlap == pytest.approx(0.7, abs=0.01)


def test_groups_far_apart_have_no_common_density():
    photos = flight(0.7, 0.6) + [at(f"9{i}0.jpg", 300_000.0 + i, 0.0) for i in range(3)]
    found = capture_of(photos)
    assert found.photos_per_place is None
    assert found.forward_overlap == pytest.approx(0.7, abs=0.01)


def test_a_lone_position_is_an_outlier_and_two_groups_are_not():
    photos = flight(0.7, 0.6)
    assert gps_outliers(photos) == {}
    moved = at("004.jpg", 4000.0, 0.0)
    photos[4] = moved
    (entry,) = gps_outliers(photos).items()
    assert entry[0] == "004.jpg" and "m from that of any other photo" in entry[1][0]
    group = [at(f"9{i}0.jpg", 40_000.0 + 10 * i, 0.0) for i in range(3)]
    assert set(gps_outliers(flight(0.7, 0.6) + group)) == set()
    antipode = replace(photos[0], gps=Gps(-170.0, -51.0, 0.0))
    assert "km from that of any other" in gps_outliers([antipode, *photos[1:]])["000.jpg"][0]


def test_a_jump_of_the_recorded_height_is_found():
    photos = flight(0.7, 0.6)
    gps = photos[8].gps
    assert gps is not None
    photos[8] = replace(photos[8], gps=replace(gps, height_m=410.0))
    assert gps_outliers(photos) == {
        "008.jpg": (
            "its recorded height is 200 m above the photos around it; correct it if it is wrong",
        )
    }


def test_pictures_that_differ_from_the_others_are_remarked():
    photos = flight(0.7, 0.6)
    photos[1] = replace(photos[1], brightness=0.15)
    photos[2] = replace(photos[2], blown=0.4)
    photos[3] = replace(photos[3], width=1000, height=750)
    photos[4] = replace(photos[4], width=320, height=240)
    remarks = {p.id: p.warnings for p in with_warnings(photos) if p.warnings}
    assert remarks == {
        "001.jpg": ("under-exposed: 3.3 times darker than the others of this camera",),
        "002.jpg": ("over-exposed: 40% of its pixels are white",),
        "003.jpg": ("small: 16 times fewer pixels than most; is it a reduced copy?",),
        "004.jpg": ("small: 320 x 240 pixels show little",),
    }
    sky = [replace(p, blown=0.4) for p in flight(0.7, 0.6)]  # white in all: no fault of one
    assert not any(p.warnings for p in with_warnings(sky))


def test_the_flight_of_the_demo_is_as_the_drone_recorded_it(shared_data):
    from voxterra.ingest.ingest import ingest_photos

    folder = shared_data("uav_brighton_beach") / "images"
    found = capture_of(ingest_photos(folder, work_dir=folder).photos)
    assert found.height_m == pytest.approx(40.1, abs=0.2) and found.down == 18
    assert found.gsd_m == pytest.approx(0.043, abs=0.002)
    assert found.forward_overlap is not None and 0.55 < found.forward_overlap < 0.75
