"""Photo sets for SfM tests, without the ingest stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from voxterra.core.photos import Gps, Photo, PhotoSet


def _photo(path: Path, root: Path, **fields: object) -> Photo:
    with Image.open(path) as image:
        width, height = image.size
        focal_35mm = image.getexif().get_ifd(0x8769).get(0xA405)
    values: dict = {
        "id": path.relative_to(root).as_posix(),
        "path": path,
        "width": width,
        "height": height,
        "sha256": path.name,
        "focal_px": float(focal_35mm) / 36.0 * max(width, height) if focal_35mm else None,
        "camera_key": "camera",
    }
    return Photo(**{**values, **fields})


@pytest.fixture(scope="session")
def photo_set() -> Callable[..., PhotoSet]:
    """Function from a folder (and fields for all photos) to the PhotoSet of its photos."""

    def build(root: Path, **fields: object) -> PhotoSet:
        paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in (".jpg", ".png"))
        return PhotoSet(root, tuple(_photo(path, root, **fields) for path in paths))

    return build


@pytest.fixture(scope="session")
def photo() -> Callable[..., Photo]:
    """Function from fields to a Photo whose file need not exist."""

    def build(index: int, *, lonlat: tuple[float, float] | None = None, **fields: object) -> Photo:
        gps = None if lonlat is None else Gps(*lonlat, height_m=100.0)
        values: dict = {
            "id": f"{index:04d}.jpg",
            "path": Path(f"{index:04d}.jpg"),
            "width": 1000,
            "height": 800,
            "sha256": str(index),
            "gps": gps,
        }
        return Photo(**{**values, **fields})

    return build
