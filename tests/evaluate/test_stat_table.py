"""Tables of scores: rows join, means follow, unlike rows are kept apart."""

import csv
import json

import pytest

from voxterra.errors import FormatError, InputError
from voxterra.evaluate.stat_table import add_rows

SETTINGS = {"gap_mm": 0.2, "sizes": (1, 2)}


def test_rows_join_and_are_averaged(tmp_path):
    add_rows(tmp_path / "new", "dtu", SETTINGS, {"110": {"a": 3.0, "b": 1}})
    table = add_rows(tmp_path / "new", "dtu", SETTINGS, {"24": {"a": 1.0, "b": None}})
    assert list(table["scans"]) == ["24", "110"]
    assert table["mean"] == {"a": 2.0, "b": None}
    table = add_rows(tmp_path / "new", "dtu", SETTINGS, {"110": {"a": 5.0, "b": 2}})
    assert table["mean"]["a"] == 3.0 and table["scans"]["110"]["b"] == 2
    assert json.loads((tmp_path / "new/dtu.json").read_text()) == table
    with open(tmp_path / "new/dtu.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["scan", "a", "b"],
        ["24", "1.0", ""],
        ["110", "5.0", "2"],
        ["mean", "3.0", ""],
    ]


def test_rows_of_other_settings_are_not_averaged_with(tmp_path):
    add_rows(tmp_path, "tanks", SETTINGS, {"Barn": {"f1": 0.5}})
    before = (tmp_path / "tanks.json").read_bytes()
    with pytest.raises(InputError, match=r"\(gap_mm, more\)") as error:
        add_rows(tmp_path, "tanks", {**SETTINGS, "gap_mm": 1, "more": None}, {"Truck": {"f1": 1}})
    assert "--stat" in error.value.next_step
    assert (tmp_path / "tanks.json").read_bytes() == before
    assert add_rows(tmp_path, "dtu", {}, {"24": {"f1": 1.0}})["mean"] == {"f1": 1.0}


@pytest.mark.parametrize("text", ["", "[]", '{"settings": {}}', '{"settings": {}, "scans": [1]}'])
def test_a_damaged_table_is_said(tmp_path, text):
    (tmp_path / "dtu.json").write_text(text)
    with pytest.raises(FormatError) as error:
        add_rows(tmp_path, "dtu", {}, {"24": {"a": 1.0}})
    assert error.value.where == str(tmp_path / "dtu.json") and error.value.next_step
