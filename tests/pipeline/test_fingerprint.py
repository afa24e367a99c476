"""What enters a fingerprint, and what does not."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from voxterra.errors import NoPhotosError
from voxterra.pipeline.folder.fingerprint import canonical, fingerprint, paths_in
from voxterra.pipeline.folder.workspace import Workspace
from voxterra.pipeline.recipe.config import RunConfig
from voxterra.pipeline.recipe.listing import hashes_of


@dataclass(frozen=True)
class Options:
    size: int = 1
    table: Path | None = None
    threads: int = field(default=1, metadata={"affects_result": False})


NO_RUN = Workspace(Path("no such run"))


def of_path(path: Path) -> object:
    return hashes_of(NO_RUN).of_option(path)


def of_source(*source: Path) -> str:
    return hashes_of(NO_RUN).of_source(source)


def of(options: Options, version: int = 1, **inputs: str) -> str:
    return fingerprint("stage", version, {"options": options}, inputs, of_path)


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
    assert str(tmp_path) not in str(canonical(Options(table=tmp_path / "missing.csv"), of_path))


def test_a_source_counts_by_names_and_contents_not_by_its_place(tmp_path):
    folder = tmp_path / "a/photos"
    (folder / "flight 1").mkdir(parents=True)
    (folder / "flight 1/x.jpg").write_bytes(b"1")
    (folder / ".hidden").write_bytes(b"2")
    first = of_source(folder)
    shutil.copytree(folder, tmp_path / "b")
    assert of_source(tmp_path / "b") == first
    (folder / "flight 1/x.jpg").write_bytes(b"22")
    assert of_source(folder) != first
    with pytest.raises(NoPhotosError, match="no such file"):
        of_source(tmp_path / "nowhere")


def test_what_cannot_be_hashed_is_a_mistake_of_the_programmer():
    with pytest.raises(TypeError):
        canonical({"f": object()}, of_path)


def test_options_that_cannot_change_a_result_do_not_count():
    assert of(Options(threads=1)) == of(Options(threads=8)) != of(Options(size=8))
    config = RunConfig()
    more = replace(config, ingest=replace(config.ingest, workers=3))
    assert canonical(more, of_path) == canonical(config, of_path)


def test_equal_names_in_several_folders_stay_apart(tmp_path):
    one, two = tmp_path / "f1", tmp_path / "f2"
    for folder in (one, two):
        folder.mkdir()
        (folder / "DJI_0.jpg").write_bytes(folder.name.encode())
    before = of_source(one, two)
    for folder in (one, two):
        (folder / "DJI_0.jpg").write_bytes(b"changed")
        after = of_source(one, two)
        assert after != before
        before = after
    files = (one / "DJI_0.jpg", two / "DJI_0.jpg")
    assert of_source(*files) == of_source(one, two)


def test_only_what_ingest_reads_counts(tmp_path):
    folder = tmp_path / "in"
    for name in ("images/a.jpg", "masks/a.png", "meta.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"1")
    before = of_source(folder)
    for name in ("notes.txt", "truth/dsm.tif", "images/a.mp4", "images/__MACOSX/a.jpg", "masks/b"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"2")
    assert of_source(folder) == before
    for name in ("images/a.jpg", "masks/a.png", "meta.csv"):
        (folder / name).write_bytes(b"22")
        after = of_source(folder)
        assert after != before, name
        before = after


def test_linked_folders_count_as_ingest_reads_them(tmp_path):
    (tmp_path / "card").mkdir()
    (tmp_path / "card/a.jpg").write_bytes(b"1")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/flight").symlink_to(tmp_path / "card")
    before = of_source(tmp_path / "in")
    (tmp_path / "card/a.jpg").write_bytes(b"22")
    assert of_source(tmp_path / "in") != before


def test_only_paths_that_count_are_read(tmp_path):
    @dataclass(frozen=True)
    class Logs:
        log: Path = field(default=tmp_path / "log", metadata={"affects_result": False})

    options = {"options": Options(table=tmp_path / "meta.csv"), "logs": Logs()}
    assert list(paths_in({"all": [options]})) == [tmp_path / "meta.csv"]
