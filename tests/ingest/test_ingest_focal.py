from __future__ import annotations

import math

import pytest

from voxterra.ingest.focal import (
    _WIDTH_MM,
    camera_key,
    exposure_ev,
    focal_px,
    sensor_width_mm,
)
from voxterra.io.exif import Exif


def test_35_mm_equivalent_counts_on_the_long_side() -> None:
    exif = Exif(focal_35mm=24.0, focal_mm=8.8)
    assert focal_px(exif, 1024, 768) == pytest.approx(24 / 36 * 1024)
    assert focal_px(exif, 768, 1024) == pytest.approx(24 / 36 * 1024)


def test_listed_sensor_is_more_exact_than_a_rounded_equivalent() -> None:
    exif = Exif(make="DJI", model="FC6310", focal_mm=8.8, focal_35mm=24.0)
    assert focal_px(exif, 5472, 3648) == pytest.approx(8.8 / 13.2 * 5472)
    assert focal_px(Exif(make="DJI", model="FC300S", focal_mm=3.61), 1600, 900) == pytest.approx(
        3.61 / 6.17 * 1600
    )


def test_sensor_that_contradicts_the_equivalent_is_ignored() -> None:
    # The Sequoia's colour camera has a larger sensor than its listed bands.
    exif = Exif(make="Parrot", model="Sequoia", focal_mm=4.88, focal_35mm=28.0)
    assert focal_px(exif, 1600, 1200) == pytest.approx(28 / 36 * 1600)


def test_focal_plane_resolution_is_the_last_resort() -> None:
    exif = Exif(make="Nobody", model="Knows", focal_mm=30.0, sensor_width_mm=22.3)
    assert focal_px(exif, 1600, 1067) == pytest.approx(30 / 22.3 * 1600)


@pytest.mark.parametrize(
    "exif", [Exif(), Exif(focal_mm=5.0), Exif(focal_35mm=1.0), Exif(focal_35mm=5000.0)]
)
def test_unknown_or_impossible(exif: Exif) -> None:
    assert focal_px(exif, 4000, 3000) is None


def test_camera_key_separates_cameras_and_settings() -> None:
    base = Exif(make="Canon", model="Canon EOS 6D", focal_mm=24.0)
    assert camera_key(base, 100, 50) == "Canon EOS 6D 100x50 24.00 mm"
    others = [
        camera_key(base, 50, 100),
        camera_key(Exif(make="Canon", model="Canon EOS 6D", focal_mm=50.0), 100, 50),
        camera_key(Exif(make="Canon", model="Canon EOS 6D", focal_mm=24.0, serial="1"), 100, 50),
        camera_key(Exif(make="Nikon", model="D800", focal_mm=24.0), 100, 50),
        camera_key(Exif(), 100, 50),
    ]
    assert len({camera_key(base, 100, 50), *others}) == 6
    assert others[-1] == "unknown camera 100x50"


def test_exposure() -> None:
    half = Exif(exposure_s=1 / 400, f_number=2.8, iso=100.0)
    full = Exif(exposure_s=1 / 200, f_number=2.8, iso=100.0)
    stopped = Exif(exposure_s=1 / 200, f_number=2.8 * math.sqrt(2), iso=200.0)
    ev = [exposure_ev(e) for e in (half, full, stopped)]
    assert all(v is not None for v in ev)
    assert ev[1] - ev[0] == pytest.approx(1.0)  # type: ignore[operator]
    assert ev[1] == pytest.approx(ev[2])
    assert exposure_ev(Exif(exposure_s=1 / 200)) is None


@pytest.mark.parametrize(
    ("make", "model", "width"),
    [
        ("DJI", "FC6310", 13.2),
        ("dji ", "fc300s", 6.17),
        ("Canon", "Canon EOS DIGITAL REBEL XSi", 22.2),
        ("NIKON CORPORATION", "NIKON D800", 35.9),
        ("SONY", "ILCE-7RM2", 35.9),
        ("Hasselblad", "L1D-20c", 13.2),
        ("DJI", "SYNTH-FC6310", None),
        (None, None, None),
        ("Canon", None, None),
    ],
)
def test_sensor_by_name_as_in_exif(make: str | None, model: str | None, width: float) -> None:
    assert sensor_width_mm(make, model) == width


def test_sensor_widths_are_credible() -> None:
    assert len(_WIDTH_MM) >= 30
    for name, width in _WIDTH_MM.items():
        assert name == name.lower() and 3.0 < width < 60.0
