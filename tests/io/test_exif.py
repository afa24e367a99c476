from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import exifread
import piexif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from piexif import GPSIFD, ExifIFD, ImageIFD
from PIL import Image

from voxterra.io.exif import Exif, read_exif

SITES = {
    "uav_brighton_beach/images/DJI_0026.JPG": 1,
    "synthetic_uav/images/DJI_0001.jpg": 1,
    "synthetic_street/images/IMG_0001.jpg": 1,
    "street_lund/images/03.jpg": 1,
    "smoke_berlin/images/01.jpg": 1,
    "msp_garfield/msp/IMG_161122_164537_0123_GRE.TIF": 1,
    "msp_garfield/rgb/IMG_161122_164537_0123_RGB.JPG": 1,
}


def photo_bytes(exif: dict[str, Any] | bytes) -> bytes:
    buffer = io.BytesIO()
    block = exif if isinstance(exif, bytes) else piexif.dump(exif)
    Image.new("RGB", (40, 30), (90, 120, 60)).save(buffer, "JPEG", exif=block)
    return buffer.getvalue()


def read_back(exif: dict[str, Any] | bytes) -> Exif:
    with Image.open(io.BytesIO(photo_bytes(exif))) as image:
        return read_exif(image)


def gps(lat: float, lon: float, height: float = 0.0, ref: int | None = 0, **more: Any) -> dict:
    def dms(value: float) -> tuple:
        value = abs(value)
        minutes = value % 1 * 60
        return ((int(value), 1), (int(minutes), 1), (round(minutes % 1 * 60 * 1e6), 10**6))

    tags = {
        GPSIFD.GPSLatitudeRef: "S" if lat < 0 else "N",
        GPSIFD.GPSLatitude: dms(lat),
        GPSIFD.GPSLongitudeRef: "W" if lon < 0 else "E",
        GPSIFD.GPSLongitude: dms(lon),
        GPSIFD.GPSAltitude: (round(abs(height) * 1000), 1000),
    }
    if ref is not None:
        tags[GPSIFD.GPSAltitudeRef] = ref
    return {"GPS": {**tags, **{getattr(GPSIFD, key): value for key, value in more.items()}}}


@pytest.mark.parametrize("lat", [51.5413, -33.8571])
@pytest.mark.parametrize("lon", [9.9158, -91.994])
def test_hemispheres(lat: float, lon: float) -> None:
    exif = read_back(gps(lat, lon))
    assert exif.lat == pytest.approx(lat, abs=1e-9)
    assert exif.lon == pytest.approx(lon, abs=1e-9)


@pytest.mark.parametrize(
    ("ref", "height", "ellipsoidal"),
    [
        (0, 431.0, False),
        (1, -431.0, False),
        (2, 431.0, True),
        (3, -431.0, True),
        (None, 431.0, False),
    ],
)
def test_height_reference(ref: int | None, height: float, ellipsoidal: bool) -> None:
    exif = read_back(gps(31.5, 35.5, height, ref))
    assert exif.height_m == height
    assert exif.height_is_ellipsoidal is ellipsoidal


def test_accuracy_prefers_the_stated_error_over_dop() -> None:
    assert (
        read_back(gps(1, 2, GPSHPositioningError=(47, 10), GPSDOP=(2, 1))).sigma_horizontal_m == 4.7
    )
    assert read_back(gps(1, 2, GPSDOP=(2, 1))).sigma_horizontal_m == 3.0
    assert read_back(gps(1, 2)).sigma_horizontal_m is None


def test_decimal_degrees_and_decimal_minutes() -> None:
    tags = gps(0.0, 0.0)
    tags["GPS"][GPSIFD.GPSLatitude] = ((515413, 10000), (0, 1), (0, 1))
    tags["GPS"][GPSIFD.GPSLongitude] = ((9, 1), (54948, 1000), (0, 0))
    exif = read_back(tags)
    assert exif.lat == pytest.approx(51.5413)
    assert exif.lon == pytest.approx(9.9158)


@pytest.mark.parametrize("bad", [((91, 1), (0, 1), (0, 1)), ((1, 0), (0, 1), (0, 1))])
def test_impossible_latitude_means_no_position(bad: tuple) -> None:
    tags = gps(10.0, 20.0)
    tags["GPS"][GPSIFD.GPSLatitude] = bad
    exif = read_back(tags)
    assert exif.lat is None and exif.lon is None and not exif.damaged


def test_capture_time_with_fraction_and_offset() -> None:
    tags = {
        ExifIFD.DateTimeOriginal: "2024:06:12 11:04:05",
        ExifIFD.SubSecTimeOriginal: "25",
        ExifIFD.OffsetTimeOriginal: "+02:00",
    }
    assert read_back({"Exif": tags}).captured_at == "2024-06-12T11:04:05.25+02:00"
    invalid = {ExifIFD.DateTimeOriginal: "0000:00:00 00:00:00"}
    assert read_back({"Exif": invalid}).captured_at is None
    fallback = {"Exif": invalid, "0th": {ImageIFD.DateTime: "2020:02:29 23:59:59"}}
    assert read_back(fallback).captured_at == "2020-02-29T23:59:59"


def test_camera_tags() -> None:
    exif = read_back(
        {
            "0th": {ImageIFD.Make: "DJI \0\0", ImageIFD.Model: "FC6310", ImageIFD.Orientation: 8},
            "Exif": {
                ExifIFD.FocalLength: (88, 10),
                ExifIFD.FocalLengthIn35mmFilm: 24,
                ExifIFD.BodySerialNumber: "0K8T",
                ExifIFD.ExposureTime: (1, 800),
                ExifIFD.FNumber: (28, 10),
                ExifIFD.ISOSpeedRatings: 100,
                ExifIFD.PixelXDimension: 5472,
                ExifIFD.PixelYDimension: 3648,
            },
        }
    )
    assert (exif.make, exif.model, exif.serial, exif.orientation) == ("DJI", "FC6310", "0K8T", 8)
    assert (exif.focal_mm, exif.focal_35mm, exif.iso) == (8.8, 24.0, 100.0)
    assert (exif.exposure_s, exif.f_number) == (1 / 800, 2.8)


def test_focal_plane_resolution_in_each_unit() -> None:
    for unit, per_unit in ((2, 25.4), (3, 10.0), (4, 1.0)):
        resolution = (round(5472 / 13.2 * per_unit * 1000), 1000)
        tags = {
            ExifIFD.PixelXDimension: 3648,
            ExifIFD.PixelYDimension: 5472,
            ExifIFD.FocalPlaneXResolution: resolution,
            ExifIFD.FocalPlaneResolutionUnit: unit,
        }
        assert read_back({"Exif": tags}).sensor_width_mm == pytest.approx(13.2, rel=1e-4)


def test_no_exif_is_not_damaged_exif() -> None:
    with Image.new("RGB", (4, 4)) as image:
        assert read_exif(image) == Exif()


@pytest.mark.parametrize("name", sorted(SITES))
def test_real_photos_agree_with_an_independent_reader(
    name: str, shared_data: Callable[[str], Path]
) -> None:
    site, _, rest = name.partition("/")
    path = shared_data(site) / rest
    with Image.open(path) as image:
        exif = read_exif(image)
    with path.open("rb") as file:
        tags = exifread.process_file(file)
    lat, lon = exifread.utils.get_gps_coords(tags)
    assert exif.lat == pytest.approx(lat, abs=1e-9)
    assert exif.lon == pytest.approx(lon, abs=1e-9)
    assert exif.height_m == pytest.approx(float(tags["GPS GPSAltitude"].values[0]))
    assert exif.focal_35mm == tags["EXIF FocalLengthIn35mmFilm"].values[0]
    assert exif.focal_mm == pytest.approx(float(tags["EXIF FocalLength"].values[0]))
    assert exif.exposure_s == pytest.approx(float(tags["EXIF ExposureTime"].values[0]))
    assert exif.iso == tags["EXIF ISOSpeedRatings"].values[0]
    if "EXIF DateTimeOriginal" in tags:
        date, time = str(tags["EXIF DateTimeOriginal"]).split()
        assert exif.captured_at is not None
        assert exif.captured_at.startswith(f"{date.replace(':', '-')}T{time}")


def test_real_16_bit_tiff(shared_data: Callable[[str], Path]) -> None:
    path = shared_data("msp_garfield") / "msp" / "IMG_161122_164537_0123_GRE.TIF"
    with Image.open(path) as image:
        exif = read_exif(image)
    assert exif.captured_at == "2016-11-22T16:45:37.625729"
    assert exif.serial == "PI040378AA6C000032"
    assert exif.sensor_width_mm == pytest.approx(4.8, abs=0.01)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=12),
    st.integers(0, 600),
)
def test_mutated_exif_never_raises(edits: list[tuple[int, int]], cut: int) -> None:
    tags = {
        **gps(-51.5, 9.9, -12.5, 1, GPSHPositioningError=(1, 2)),
        "0th": {ImageIFD.Make: "Maker", ImageIFD.Model: "Model"},
        "Exif": {
            ExifIFD.DateTimeOriginal: "2024:06:12 11:04:05",
            ExifIFD.FocalLength: (88, 10),
            ExifIFD.ISOSpeedRatings: 100,
        },
    }
    block = bytearray(piexif.dump(tags))
    for position, value in edits:
        block[6 + position % (len(block) - 6)] = value  # after the "Exif" signature
    block = block[: max(len(block) - cut % 80, 8)]
    exif = read_back(bytes(block))
    assert exif.lat is None or -90 <= exif.lat <= 90
    assert exif.lon is None or -180 <= exif.lon <= 180
    assert exif.orientation in range(1, 9)
    assert exif.focal_mm is None or exif.focal_mm > 0
