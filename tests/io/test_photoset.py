from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxterra.core.photos import Attitude, Gps, Photo, PhotoSet, RejectedFile
from voxterra.errors import FormatError, InputError
from voxterra.io.photoset import read_photoset, write_photoset


def example(root: Path) -> PhotoSet:
    full = Photo(
        id='sub/写真 "1".jpg',
        path=root / 'sub/写真 "1".jpg',
        width=4000,
        height=3000,
        sha256="0" * 64,
        gps=Gps(151.2151, -33.8571, -12.5, "ellipsoidal", 0.01, 0.02, "xmp"),
        attitude=Attitude(-120.5, -90.0, 0.1, 1.0),
        orientation=6,
        make="DJI",
        model="FC6310",
        focal_mm=8.8,
        focal_35mm=24.0,
        focal_px=3648.0,
        camera_key="DJI FC6310",
        captured_at="2024-06-12T11:04:05.25+02:00",
        mask_path=root.parent / "masks" / "1.png",
        sharpness=123.456,
        brightness=0.4,
        exposure_ev=-11.5,
        warnings=("blurred", "dark"),
    )
    bare = Photo(id="z.jpg", path=root / "z.jpg", width=1, height=1, sha256="f")
    return PhotoSet(root, (full, bare), (RejectedFile("a.cr2", "RAW"),), ("no GPS",))


def test_round_trip(tmp_path: Path) -> None:
    root = tmp_path / "in" / "images"
    write_photoset(example(root), tmp_path / "out" / "photos.json")
    assert read_photoset(tmp_path / "out" / "photos.json", root) == example(root)


def test_no_absolute_path_and_so_it_moves(tmp_path: Path) -> None:
    path = tmp_path / "photos.json"
    write_photoset(example(tmp_path / "here" / "images"), path)
    assert str(tmp_path) not in path.read_text(encoding="utf-8")
    moved = tmp_path / "there" / "images"
    assert read_photoset(path, moved) == example(moved)


def test_files_elsewhere_keep_their_place(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b" / "images"
    far = tmp_path / "far" / "mask.png"
    photos = example(root)
    photos = replace(photos, photos=(replace(photos.photos[0], mask_path=far),))
    write_photoset(photos, tmp_path / "photos.json")
    assert read_photoset(tmp_path / "photos.json", tmp_path / "moved").photos[0].mask_path == far


def test_writing_twice_gives_the_same_bytes_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_photoset(example(tmp_path), tmp_path / "a.json")
    write_photoset(example(tmp_path), tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "b.json"]


def test_errors(tmp_path: Path) -> None:
    path = tmp_path / "photos.json"
    with pytest.raises(InputError):
        read_photoset(path, tmp_path)
    path.write_text("{")
    with pytest.raises(FormatError, match="not JSON"):
        read_photoset(path, tmp_path)
    path.write_text("[]")
    with pytest.raises(FormatError, match="not a list of photos"):
        read_photoset(path, tmp_path)
    write_photoset(example(tmp_path), path)
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**data, "version": 99}))
    with pytest.raises(FormatError, match="version 99"):
        read_photoset(path, tmp_path)
    path.write_text(json.dumps({**data, "photos": [{**data["photos"][0], "surprise": 1}]}))
    with pytest.raises(FormatError, match="surprise"):
        read_photoset(path, tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([None, 3, "x", [], {}]))
def test_damaged_entries_are_format_errors(
    tmp_path_factory: pytest.TempPathFactory, which: int, value: object
) -> None:
    folder = tmp_path_factory.getbasetemp() / "photoset"
    shutil.rmtree(folder, ignore_errors=True)
    write_photoset(example(folder), folder / "photos.json")
    data = json.loads((folder / "photos.json").read_text(encoding="utf-8"))
    keys = sorted(data["photos"][0])
    target = data["photos"][0] if which % 2 else data
    key = keys[which % len(keys)] if which % 2 else sorted(data)[which % len(data)]
    target[key] = value
    (folder / "photos.json").write_text(json.dumps(data))
    with suppress(FormatError):
        assert isinstance(read_photoset(folder / "photos.json", folder), PhotoSet)
