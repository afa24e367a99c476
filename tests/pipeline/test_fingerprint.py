"""What enters a fingerprint, and what does not."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from voxterra.errors import NoPhotosError
from voxterra.pipeline.folder.fingerprint import canonical, fingerprint, fingerprint_source
from voxterra.pipeline.recipe.config import RunConfig


@dataclass(frozen=True)
class Options:
    size: int = 1
    table: Path | None = None
    threads: int = field(default=1, metadata={"affects_result": False})


def of(options: Options, version: int = 1, **inputs: str) -> str:
    return fingerprint("stage", version, {"options": options}, inputs)


def test_options_inputs_and_code_version_count():
    same = of(Options(), source="a")
    assert same == of(Options(size=1), source="a")
    others = [
        of(Options(size=2), source="a"),
        of(Options(), source="b"),
        of(Options(), 2, source="a"),
    ]
    assert len({same, *others}) == 4


def test_a_file_among_the_options_counts_by_its_content(tmp_path):
    for name, text in (("one", "x"), ("two", "x"), ("three", "y")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "meta.csv").write_text(text)
    one, two, three = (
        of(Options(table=tmp_path / n / "meta.csv")) for n in ("one", "two", "three")
    )
    assert one == two != three
    assert str(tmp_path) not in str(canonical(Options(table=tmp_path / "missing.csv")))


def test_a_source_counts_by_names_and_contents_not_by_its_place(tmp_path):
    folder = tmp_path / "a/photos"
    (folder / "flight 1").mkdir(parents=True)
    (folder / "flight 1/x.jpg").write_bytes(b"1")
    (folder / ".hidden").write_bytes(b"2")
    cache: dict = {}
    first = fingerprint_source((folder,), cache)
    assert list(cache) == ["flight 1/x.jpg"]
    shutil.copytree(folder, tmp_path / "b")
    assert fingerprint_source((tmp_path / "b",)) == first
    (folder / "flight 1/x.jpg").write_bytes(b"22")
    assert fingerprint_source((folder,), cache) != first
    with pytest.raises(NoPhotosError, match="no such file"):
        fingerprint_source((tmp_path / "nowhere",))


def test_what_cannot_be_hashed_is_a_mistake_of_the_programmer():
    with pytest.raises(TypeError):
        canonical({"f": object()})


def test_options_that_cannot_change_a_result_do_not_count():
    assert of(Options(threads=1)) == of(Options(threads=8)) != of(Options(size=8))
    config = RunConfig()
    more = replace(config, ingest=replace(config.ingest, workers=3))
    assert canonical(more) == canonical(config)


def test_equal_names_in_several_folders_stay_apart(tmp_path):
    one, two = tmp_path / "f1", tmp_path / "f2"
    for folder in (one, two):
        folder.mkdir()
        (folder / "DJI_0.jpg").write_bytes(folder.name.encode())
    cache: dict = {}
    before = fingerprint_source((one, two), cache)
    assert sorted(cache) == ["f1/DJI_0.jpg", "f2/DJI_0.jpg"]
    assert str(tmp_path) not in str(cache)
    for folder in (one, two):
        (folder / "DJI_0.jpg").write_bytes(b"changed")
        after = fingerprint_source((one, two), cache)
        assert after != before
        before = after
    files = (one / "DJI_0.jpg", two / "DJI_0.jpg")
    assert fingerprint_source(files) == fingerprint_source((one, two))


def test_only_what_ingest_reads_counts(tmp_path):
    folder = tmp_path / "in"
    for name in ("images/a.jpg", "masks/a.png", "meta.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"1")
    before = fingerprint_source((folder,))
    for name in ("notes.txt", "truth/dsm.tif", "images/a.mp4", "images/__MACOSX/a.jpg", "masks/b"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"2")
    assert fingerprint_source((folder,)) == before
    for name in ("images/a.jpg", "masks/a.png", "meta.csv"):
        (folder / name).write_bytes(b"22")
        after = fingerprint_source((folder,))
        assert after != before, name
        before = after


def test_linked_folders_count_as_ingest_reads_them(tmp_path):
    (tmp_path / "card").mkdir()
    (tmp_path / "card/a.jpg").write_bytes(b"1")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/flight").symlink_to(tmp_path / "card")
    before = fingerprint_source((tmp_path / "in",))
    (tmp_path / "card/a.jpg").write_bytes(b"22")
    assert fingerprint_source((tmp_path / "in",)) != before
