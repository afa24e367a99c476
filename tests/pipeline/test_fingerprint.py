"""What enters a fingerprint, and what does not."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from voxterra.errors import NoPhotosError
from voxterra.pipeline.fingerprint import canonical, fingerprint, fingerprint_source


@dataclass(frozen=True)
class Options:
    size: int = 1
    table: Path | None = None


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
