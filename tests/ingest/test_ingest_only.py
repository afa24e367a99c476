"""Some of the photos, named in a text file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from voxterra.errors import FormatError, InputError
from voxterra.ingest.config import IngestConfig
from voxterra.ingest.ingest import ingest_photos

Ingest = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.jpg", "east/c.jpg", "east/d.jpg"):
        path = photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (200, 300, 3), np.uint8)).save(path)
    rows = [f"{n},51.5,9.{i},100" for i, n in enumerate(("a.jpg", "b.jpg", "c.jpg", "d.jpg"))]
    (photos / "meta.csv").write_text("\n".join(["filename,lat,lon,alt", *rows]))
    return photos


def listed(folder: Path, tmp_path: Path, text: str) -> Any:
    path = tmp_path / "component_2.txt"
    path.write_text(text)
    return ingest_photos(folder, IngestConfig(only=path), work_dir=tmp_path / "work")


def test_only_the_photos_of_the_list_with_their_table(folder: Path, tmp_path: Path) -> None:
    found = listed(folder, tmp_path, "east/d.jpg\n\neast/c.jpg\neast/c.jpg\n")
    assert [p.id for p in found.photos] == ["east/c.jpg", "east/d.jpg"]
    assert [p.gps.lon for p in found.photos] == [9.2, 9.3]
    assert not any("a.jpg" in w for w in found.warnings) and found.rejected == ()


def test_a_name_that_is_not_there_is_told_with_the_nearest(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"not there: east/x.jpg and 1 more; did you mean"):
        listed(folder, tmp_path, "a.jpg\neast/x.jpg\ny.jpg\n")


def test_lists_that_are_none(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="names no photo"):
        listed(folder, tmp_path, "\n \n")
    config = IngestConfig(only=tmp_path / "none.txt")
    with pytest.raises(InputError, match="cannot be read"):
        ingest_photos(folder, config, work_dir=tmp_path / "work")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xd8\xff\xe0\x00")
    with pytest.raises(FormatError, match="no text"):
        ingest_photos(folder, IngestConfig(only=tmp_path / "binary.txt"), work_dir=tmp_path / "w")
