"""A real flight whose files record wrong positions: what is mended, what is told (slow: SfM)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import piexif
import pytest

from voxterra.core.georeference import Georeference
from voxterra.core.registration import Registration
from voxterra.georef.georeference import georeference
from voxterra.ingest.ingest import ingest_photos
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.reconstruct import reconstruct

pytestmark = pytest.mark.slow
Float = np.ndarray
XMP = b"http://ns.adobe.com/xap/1.0/\0"
# Of the EXIF of these photos piexif reads, but cannot write.
UNWRITABLE = (37121, 37500, 41728, 41729, 41995)


@dataclass(frozen=True)
class Flight:
    """Photos, what each records, and their reconstruction."""

    files: tuple[Path, ...]
    exif: tuple[dict[str, Any], ...]
    lonlat_h: Float
    seconds: Float
    registration: Registration


def without_xmp(jpeg: bytes) -> bytes:
    """The JPEG without the XMP, which repeats the position."""
    out, at = [jpeg[:2]], 2
    while jpeg[at + 1] != 0xDA:
        size = 2 + struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
        if jpeg[at + 1] != 0xE1 or not jpeg[at + 4 :].startswith(XMP):
            out.append(jpeg[at : at + size])
        at += size
    return b"".join([*out, jpeg[at:]])


def degrees(of: Any) -> float:
    whole, minutes, seconds = (a / b for a, b in of)
    return float(whole + minutes / 60 + seconds / 3600)


def rationals(value: float) -> tuple[tuple[int, int], ...]:
    minutes = value % 1 * 60
    return (int(value), 1), (int(minutes), 1), (round(minutes % 1 * 60 * 100_000), 100_000)


@pytest.fixture(scope="module")
def flight(shared_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Flight:
    files = tuple(sorted((shared_data("uav_brighton_beach") / "images").glob("*.JPG")))
    exif = tuple(piexif.load(str(path)) for path in files)
    gps = [e["GPS"] for e in exif]
    lonlat_h = np.array([(-degrees(g[4]), degrees(g[2]), g[6][0] / g[6][1]) for g in gps])
    times = [datetime.strptime(e["Exif"][0x9003].decode(), "%Y:%m:%d %H:%M:%S") for e in exif]
    work = tmp_path_factory.mktemp("flight")
    photos = ingest_photos(files[0].parent, work_dir=work / "ingest")
    config = SfmConfig(max_image_size=1024, max_features=3000, threads=2)
    registration = reconstruct(photos, config, work_dir=work / "sfm")
    assert len(registration.components[0].images) == 18
    seconds = np.array([t.timestamp() for t in times])
    return Flight(files, exif, lonlat_h, seconds, registration)


def recorded_as(
    flight: Flight, folder: Path, lonlat_h: Float, *, errors_m: dict[int, float] | None = None
) -> tuple[Georeference, tuple[str, ...]]:
    """The flight georeferenced by files that record these positions; warnings of all photos.

    Args:
        lonlat_h: (18, 3); NaN heights are left out.
        errors_m: horizontal accuracy that some photos state.
    """
    for i, (path, exif) in enumerate(zip(flight.files, flight.exif, strict=True)):
        lon, lat, height = lonlat_h[i]
        gps = dict(exif["GPS"])
        gps[1], gps[2] = b"N" if lat >= 0 else b"S", rationals(abs(lat))
        gps[3], gps[4] = b"E" if lon >= 0 else b"W", rationals(abs(lon))
        if np.isfinite(height):
            gps[6] = (round(height * 1000), 1000)
        else:
            del gps[5], gps[6]
        if errors_m and i in errors_m:
            gps[31] = (round(errors_m[i] * 1000), 1000)
        kept = {k: v for k, v in exif["Exif"].items() if k not in UNWRITABLE}
        data = piexif.dump({"0th": exif["0th"], "Exif": kept, "GPS": gps})
        target = folder / path.name
        target.write_bytes(without_xmp(path.read_bytes()))
        piexif.insert(data, str(target))
    photos = ingest_photos(folder, work_dir=folder / "work")
    told = tuple(w for p in photos.photos for w in p.warnings)
    return georeference(flight.registration.components, photos), told


def said(found: Georeference, text: str) -> bool:
    return any(text in warning for warning in found.all_warnings)


def test_as_recorded_nothing_is_late(flight: Flight, tmp_path: Path) -> None:
    found, told = recorded_as(flight, tmp_path, flight.lonlat_h)
    placement = found.placements[0]
    assert placement.placed and placement.lag is None and told == ()
    assert placement.rmse_horizontal_m < 0.7


def test_late_positions_are_set_right(flight: Flight, tmp_path: Path) -> None:
    late_s, t = 1.5, flight.seconds
    late = flight.lonlat_h.copy()
    for k in range(2):
        late[:, k] = np.interp(t - late_s, t, flight.lonlat_h[:, k])
        speed = (flight.lonlat_h[1, k] - flight.lonlat_h[0, k]) / (t[1] - t[0])
        late[0, k] = flight.lonlat_h[0, k] - late_s * speed
    right, _ = recorded_as(flight, tmp_path, flight.lonlat_h)
    found, _ = recorded_as(flight, tmp_path, late)
    lag = found.placements[0].lag
    assert lag is not None and lag.seconds == pytest.approx(late_s, abs=0.3)
    assert lag.left_out_with_m < 0.3 * lag.left_out_without_m
    assert found.placements[0].rmse_horizontal_m < 0.8
    # The cameras lie where they do by the positions that are not late.
    centers = (g.frame.to_lonlat(g.components[0].centers_in_world()) for g in (right, found))
    in_m = [right.frame.from_lonlat(c)[:, :2] for c in centers]
    assert np.linalg.norm(in_m[0] - in_m[1], axis=1).max() < 1.0
    assert said(found, "behind the cameras along their path, about 1.")


def test_photos_at_nought_are_not_used(flight: Flight, tmp_path: Path) -> None:
    wrong = flight.lonlat_h.copy()
    wrong[[2, 9, 15], :2] = 0.0
    found, told = recorded_as(flight, tmp_path, wrong)
    assert found.placements[0].placed and len(found.placements[0].residuals) == 15
    assert sum("0, 0: the receiver had no fix" in w for w in told) == 3
    assert found.frame.map_crs == "EPSG:32615" and found.placements[0].rmse_horizontal_m < 0.7


def test_one_height_for_all_bends_nothing(flight: Flight, tmp_path: Path) -> None:
    same = flight.lonlat_h.copy()
    same[:, 2] = 198.6
    found, _ = recorded_as(flight, tmp_path, same)
    placement = found.placements[0]
    assert placement.placed and not said(found, "bends by")
    assert placement.position_sigma_vertical_m > 10  # one reading, not eighteen


def test_no_heights_are_told(flight: Flight, tmp_path: Path) -> None:
    flat = flight.lonlat_h.copy()
    flat[:, 2] = np.nan
    found, _ = recorded_as(flight, tmp_path, flat)
    assert found.placements[0].placed and said(found, "no photo has a recorded height")
    assert found.placements[0].position_sigma_vertical_m is None


def test_mirrored_positions_place_nothing(flight: Flight, tmp_path: Path) -> None:
    mirrored = flight.lonlat_h * [-1.0, 1.0, 1.0]
    found, _ = recorded_as(flight, tmp_path, mirrored)
    assert found.frame.is_local and said(found, "W or S is missing")


def test_a_few_good_positions_among_ordinary_ones(flight: Flight, tmp_path: Path) -> None:
    """Four by RTK, where the model has them, and the others metres off, all in one direction too.

    The place is then as sure as the few, and the others' common error moves nothing.
    """
    right, _ = recorded_as(flight, tmp_path, flight.lonlat_h)
    centers = right.components[0].centers_in_world()
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1.5, (18, 2)) + np.array([4.0, -3.0])
    good = [1, 6, 11, 16]
    noise[good] = rng.normal(0, 0.02, (4, 2))
    recorded = right.frame.to_lonlat(centers + np.column_stack([noise, np.zeros(18)]))
    recorded[:, 2] = flight.lonlat_h[:, 2]
    found, _ = recorded_as(flight, tmp_path, recorded, errors_m=dict.fromkeys(good, 0.03))
    placement = found.placements[0]
    moved = right.frame.from_lonlat(found.frame.to_lonlat(found.components[0].centers_in_world()))
    off = np.linalg.norm((moved - centers)[good, :2], axis=1)
    assert off.max() < 0.3
    assert placement.position_sigma_horizontal_m < 0.3
