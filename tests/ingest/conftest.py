"""Small photos with metadata, made on the spot."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import piexif
import pytest
from PIL import Image

MakePhoto = Callable[..., Path]


def gps_tags(lat: float, lon: float, height: float = 0.0, ref: int = 0) -> dict[int, Any]:
    def dms(value: float) -> tuple:
        value = abs(value)
        minutes = value % 1 * 60
        return ((int(value), 1), (int(minutes), 1), (round(minutes % 1 * 60 * 1e6), 10**6))

    tag = piexif.GPSIFD
    return {
        tag.GPSLatitudeRef: "S" if lat < 0 else "N",
        tag.GPSLatitude: dms(lat),
        tag.GPSLongitudeRef: "W" if lon < 0 else "E",
        tag.GPSLongitude: dms(lon),
        tag.GPSAltitudeRef: ref,
        tag.GPSAltitude: (round(abs(height) * 1000), 1000),
    }


@pytest.fixture
def make_photo(tmp_path: Path) -> MakePhoto:
    """`make_photo(name, gps=(lat, lon, height, ref), xmp=..., pixels=...)` under tmp_path."""

    def make(
        name: str,
        *,
        gps: tuple | None = None,
        xmp: str | None = None,
        pixels: np.ndarray | None = None,
        size: tuple[int, int] = (160, 120),
        model: str | None = "Camera",
        focal: tuple[float, int] | None = (8.8, 24),
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if pixels is None:  # different for each name, with texture
            rng = np.random.default_rng(zlib.crc32(name.encode("utf-8", "surrogateescape")))
            coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8))
            pixels = np.array(coarse.resize(size, Image.Resampling.BICUBIC))
        exif: dict[str, dict] = {"0th": {}, "Exif": {}}
        if model:
            exif["0th"] = {piexif.ImageIFD.Make: "Maker", piexif.ImageIFD.Model: model}
        if focal:
            exif["Exif"] = {
                piexif.ExifIFD.FocalLength: (round(focal[0] * 100), 100),
                piexif.ExifIFD.FocalLengthIn35mmFilm: focal[1],
            }
        if gps is not None:
            exif["GPS"] = gps_tags(*gps)
        more = {"xmp": xmp.encode()} if xmp else {}
        kind = {".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF"}[path.suffix.lower()]
        Image.fromarray(pixels).save(path, kind, exif=piexif.dump(exif), **more)
        return path

    return make
