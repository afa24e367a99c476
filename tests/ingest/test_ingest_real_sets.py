"""Ingest of the real and synthetic sets beside the checkout, and of the shipped demo."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import exifread
import pytest

from voxterra.core.photos import PhotoSet
from voxterra.ingest.ingest import ingest_photos
from voxterra.io.images import read_mask, read_rgb

DEMO = Path(__file__).parent.parent.parent / "demo" / "photos"
Find = Callable[[str], Path]


def ingest(folder: Path, tmp_path: Path) -> PhotoSet:
    photos = ingest_photos(folder, work_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    return photos


def test_demo_set(tmp_path: Path) -> None:
    photos = ingest(DEMO, tmp_path)
    assert len(photos) == 12 and photos.warnings == () and photos.rejected == ()
    assert all(p.warnings == () and p.gps and p.attitude for p in photos.photos)
    assert len({p.camera_key for p in photos.photos}) == 1
    assert sum(p.path.stat().st_size for p in photos.photos) <= 4_900_000


def test_demo_keeps_the_metadata_of_its_source(shared_data: Find) -> None:
    source = shared_data("uav_brighton_beach") / "images"

    def metadata_segments(path: Path) -> list[bytes]:
        data, at, out = path.read_bytes(), 2, []
        while data[at + 1] != 0xDA:
            size = int.from_bytes(data[at + 2 : at + 4], "big")
            if data[at + 1] in (0xE0, 0xE1):
                out.append(data[at : at + 2 + size])
            at += 2 + size
        return out

    for path in sorted(DEMO.iterdir()):
        assert metadata_segments(path) == metadata_segments(source / path.name)
        with path.open("rb") as ours, (source / path.name).open("rb") as theirs:
            tags = [exifread.process_file(file, details=False) for file in (ours, theirs)]
        assert tags[0] and {k: str(v) for k, v in tags[0].items()} == {
            k: str(v) for k, v in tags[1].items()
        }


def test_brighton_beach(shared_data: Find, tmp_path: Path) -> None:
    start = time.perf_counter()
    photos = ingest(shared_data("uav_brighton_beach"), tmp_path)
    assert time.perf_counter() - start < 15.0  # about 1 s on 2 idle cores
    assert len(photos) == 18 and photos.warnings == ()
    for photo in photos.photos:
        assert photo.gps is not None and photo.attitude is not None
        assert (photo.gps.lat, photo.gps.lon) == pytest.approx((46.8428, -91.9940), abs=1e-3)
        assert photo.gps.height_m == pytest.approx(198.5, abs=0.5)
        assert photo.gps.height_reference == "egm96"
        assert photo.attitude.pitch_deg == pytest.approx(-90, abs=1)
        assert (photo.make, photo.model) == ("DJI", "FC300S")
        assert photo.focal_px == pytest.approx(3.61 / 6.17 * 1600)
    times = [photo.captured_at for photo in photos.photos]
    assert times[0] == "2016-06-23T16:31:59" and times == sorted(times)


def test_synthetic_uav_has_the_positions_of_its_table(shared_data: Find, tmp_path: Path) -> None:
    photos = ingest(shared_data("synthetic_uav"), tmp_path)
    assert len(photos) == 24 and photos.photos[0].id == "DJI_0001.jpg"
    for photo in photos.photos:
        assert photo.gps is not None and photo.gps.source == "meta.csv"
        assert photo.focal_px == pytest.approx(682.7, abs=0.1)
    # Its EXIF and XMP say the same as the table, to the digits that each writes.
    files = []
    for file in sorted((shared_data("synthetic_uav") / "images").iterdir())[::4]:
        files.append(tmp_path / file.name)  # away from the table
        shutil.copy(file, files[-1])
    for alone in ingest_photos(files, work_dir=tmp_path).photos:
        table = photos.by_id()[alone.id]
        assert table.gps and alone.gps and table.attitude and alone.attitude
        assert alone.gps.source == "xmp"
        assert table.gps.lat == pytest.approx(alone.gps.lat, abs=2e-9)
        assert table.gps.height_m == pytest.approx(alone.gps.height_m, abs=2e-3)
        assert table.attitude.pitch_deg == pytest.approx(alone.attitude.pitch_deg, abs=0.02)
        difference = table.attitude.yaw_deg - alone.attitude.yaw_deg
        assert (difference + 180) % 360 - 180 == pytest.approx(0, abs=0.02)


def test_synthetic_street_is_in_the_southern_hemisphere(shared_data: Find, tmp_path: Path) -> None:
    photos = ingest(shared_data("synthetic_street"), tmp_path)
    assert len(photos) == 20
    for photo in photos.photos:
        assert photo.gps is not None
        assert (photo.gps.lat, photo.gps.lon) == pytest.approx((-32.0569, 115.7439), abs=1e-3)
        assert photo.focal_px == pytest.approx(739.6, abs=0.1)


def test_multispectral_tiffs(shared_data: Find, tmp_path: Path) -> None:
    photos = ingest(shared_data("msp_garfield"), tmp_path)
    assert len(photos) == 15 and photos.rejected == ()
    assert any("2 cameras or camera settings" in w for w in photos.warnings)
    for photo in photos.photos:
        assert photo.gps is not None and photo.attitude is not None
        assert photo.gps.sigma_horizontal_m is not None and photo.gps.sigma_vertical_m is not None
        assert photo.attitude.pitch_deg < -80
        assert photo.focal_px is not None
        calibrated = 1676.8 / 1.5 if photo.width == 1280 else 4.812 / 6.17 * 1600
        assert photo.focal_px == pytest.approx(calibrated, rel=0.06)
    band = read_rgb(photos.photos[0].path)
    assert band.shape == (960, 1280, 3) and band.std() > 5


def test_phone_walk_without_camera_name(shared_data: Find, tmp_path: Path) -> None:
    photos = ingest(shared_data("street_lund"), tmp_path)
    assert len(photos) == 29
    for photo in photos.photos:
        assert photo.gps is not None and photo.gps.sigma_horizontal_m is not None
        assert photo.focal_px == pytest.approx(995.6, abs=0.1)
        assert photo.attitude is None and photo.captured_at is None


def test_masks_of_the_facade(shared_data: Find, tmp_path: Path) -> None:
    photos = ingest(shared_data("smoke_berlin"), tmp_path)
    assert [p.mask_path.name for p in photos.photos if p.mask_path] == [
        "01.jpg.png",
        "02.jpg.png",
        "03.jpg.png",
    ]
    for photo in photos.photos:
        assert photo.mask_path is not None
        mask = read_mask(photo.mask_path, photo.width, photo.height)
        assert mask.shape == (1200, 1600) and 0.2 < mask.mean() < 1.0


def test_set_without_gps(shared_data: Find, tmp_path: Path) -> None:
    photos = ingest(shared_data("uav_copr_gcp"), tmp_path)
    assert len(photos) == 27 and all(p.gps is None for p in photos.photos)
    assert any("not be georeferenced, and has a scale only" in w for w in photos.warnings)
    for photo in photos.photos:
        assert photo.focal_px == pytest.approx(30 / 22.2 * 1600)
        assert photo.captured_at is not None and photo.captured_at.startswith("2009-09-0")
