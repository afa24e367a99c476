from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

import voxterra.io.heic as heic
from voxterra.errors import FormatError, InputError
from voxterra.ingest.ingest import ingest_photos
from voxterra.io.images import read_rgb

TINY = Path(__file__).parent.parent / "data" / "tiny.heic"


def damaged(folder: Path) -> Path:
    """A file that makes pi_heif 1.4 end the process with a segmentation fault."""
    content = bytearray(TINY.read_bytes())
    for position in (178, 936, 1336, 1713):
        content[position] = 255
    path = folder / "damaged.heic"
    path.write_bytes(bytes(content))
    return path


def test_a_file_that_crashes_the_decoder_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    damaged(tmp_path / "in")
    shutil.copy(TINY, tmp_path / "in" / "good.heic")
    photos = ingest_photos(tmp_path / "in", work_dir=tmp_path)
    assert "good.heic" in [photo.id for photo in photos.photos]
    for file in photos.rejected:
        assert file.name == "damaged.heic" and "cannot be read" in file.reason


def test_a_crash_and_a_hang_are_format_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(TINY, tmp_path / "a.heic")
    shutil.copy(TINY, tmp_path / "b.heic")
    monkeypatch.setattr(heic, "_PROBE", "import os; os.abort()")
    with pytest.raises(FormatError, match="decoder crashes"):
        read_rgb(tmp_path / "a.heic")
    monkeypatch.setattr(heic, "_PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(heic, "_SECONDS", 0.2)
    with pytest.raises(FormatError, match="decoder crashes"):
        read_rgb(tmp_path / "b.heic")


def test_ordinary_errors_keep_their_message(tmp_path: Path) -> None:
    (tmp_path / "text.heic").write_text("not an image")
    with pytest.raises(FormatError, match="not a JPEG, PNG, TIFF or HEIC"):
        read_rgb(tmp_path / "text.heic")
    with pytest.raises(InputError, match="No such file"):
        read_rgb(tmp_path / "absent.heic")


def test_names_do_not_matter(tmp_path: Path) -> None:
    shutil.copy(TINY, tmp_path / "a.jpg")
    assert read_rgb(tmp_path / "a.jpg").shape == (128, 96, 3)
    Image.new("RGB", (20, 10)).save(tmp_path / "b.heic", "JPEG")
    assert read_rgb(tmp_path / "b.heic").shape == (10, 20, 3)
