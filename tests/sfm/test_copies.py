"""One picture, however often it was saved, is no two views."""

from __future__ import annotations

from pathlib import Path

import pytest
from good_inputs import photo_bytes
from PIL import Image

from voxterra.errors import NoOverlapError
from voxterra.ingest.ingest import ingest_photos
from voxterra.sfm.reconstruct import reconstruct

COPIES = "one and the same picture"


def told(folder: Path) -> str:
    photos = ingest_photos(folder, work_dir=folder.parent)
    try:
        reconstruct(photos, work_dir=folder.parent / "work")
    except NoOverlapError as error:
        return str(error)
    return ""


@pytest.fixture
def picture(tmp_path: Path) -> Image.Image:
    (tmp_path / "large.jpg").write_bytes(photo_bytes(5, size=(520, 400)))
    (tmp_path / "in").mkdir()
    return Image.open(tmp_path / "large.jpg").convert("RGB")


def test_a_picture_saved_again_and_smaller_makes_no_model(
    picture: Image.Image, tmp_path: Path
) -> None:
    picture.save(tmp_path / "in" / "a.jpg", quality=95)
    picture.save(tmp_path / "in" / "b.jpg", quality=70)
    picture.resize((416, 320)).save(tmp_path / "in" / "c.png")
    assert COPIES in told(tmp_path / "in")


def test_a_picture_of_a_camera_that_moved_is_another(picture: Image.Image, tmp_path: Path) -> None:
    picture.crop((0, 0, 480, 360)).save(tmp_path / "in" / "a.png")
    picture.crop((9, 6, 489, 366)).save(tmp_path / "in" / "b.png")
    assert COPIES not in told(tmp_path / "in")


def test_one_true_view_among_copies_is_enough(picture: Image.Image, tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg"):
        picture.crop((0, 0, 480, 360)).save(tmp_path / "in" / name)
    picture.crop((30, 20, 510, 380)).save(tmp_path / "in" / "c.png")
    assert COPIES not in told(tmp_path / "in")
