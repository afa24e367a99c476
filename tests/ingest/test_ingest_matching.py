from __future__ import annotations

import unicodedata
from pathlib import Path

from voxterra.ingest.matching import match_masks, match_rows
from voxterra.io.meta_csv import MetaRow


def rows(*names: str) -> list[MetaRow]:
    return [MetaRow(name, line) for line, name in enumerate(names, start=2)]


def test_path_name_and_stem() -> None:
    ids = ["a/1.JPG", "a/2.jpg", "b/3.jpg"]
    matched, unmatched = match_rows(rows("a/1.jpg", "2.JPG", "3"), ids)
    assert {i: row.line for i, row in matched.items()} == {"a/1.JPG": 2, "a/2.jpg": 3, "b/3.jpg": 4}
    assert unmatched == []


def test_a_full_path_of_another_machine_still_names_its_photo() -> None:
    matched, _ = match_rows(rows("C:/flight 1/a.jpg"), ["a.jpg"])
    assert "a.jpg" in matched


def test_ambiguous_names_match_nothing() -> None:
    matched, unmatched = match_rows(rows("1.jpg", "b/1.jpg"), ["a/1.jpg", "b/1.jpg"])
    assert list(matched) == ["b/1.jpg"] and [r.filename for r in unmatched] == ["1.jpg"]


def test_accents_composed_either_way() -> None:
    composed = unicodedata.normalize("NFC", "Größe é.jpg")
    matched, _ = match_rows(rows(composed), [unicodedata.normalize("NFD", composed)])
    assert len(matched) == 1


def test_names_that_differ_in_case_only_match_exactly() -> None:
    matched, _ = match_rows(rows("A.jpg", "a.jpg"), ["A.jpg", "a.jpg"])
    assert {i: row.filename for i, row in matched.items()} == {"A.jpg": "A.jpg", "a.jpg": "a.jpg"}


def test_masks_by_any_of_their_names(tmp_path: Path) -> None:
    for name in ("x/1.jpg.png", "2.PNG", "sub.dir/3.tif", "unused.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    ids = ["x/1.jpg", "x/2.jpg", "sub.dir/3.jpg", "4.jpg"]
    matched, unused = match_masks(tmp_path, ids)
    assert matched == {
        "x/1.jpg": tmp_path / "x/1.jpg.png",
        "x/2.jpg": tmp_path / "2.PNG",
        "sub.dir/3.jpg": tmp_path / "sub.dir/3.tif",
    }
    assert unused == ["unused.png"]


def test_one_mask_is_not_given_to_two_photos_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "1.png").touch()
    assert match_masks(tmp_path, ["a/1.jpg", "b/1.jpg"]) == ({}, ["1.png"])
