"""The table of scale bars: what it gives, and every way it can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxterra.core.scale_bars import ScaleBar
from voxterra.errors import FormatError, InputError
from voxterra.io.scale_bars import read_scale_bars

HEAD = "bar,length_m,photo,x1,y1,x2,y2\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "bars.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_bars(tmp_path: Path) -> None:
    text = (
        "# measured by tape\nphoto;bar;length_m;x1;y1;x2;y2\na b.jpg;door;2.01;10;20;30;40\n\n"
        "sub\\c.jpg;door;2.01;11;21;31;41\n"
    )
    (bar,) = read_scale_bars(written(tmp_path, text))
    assert bar == ScaleBar(
        "door", 2.01,
        (("a b.jpg", (10, 20), (30, 40)), ("sub/c.jpg", (11, 21), (31, 41))),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no column bar"),
        ("bar,photo\nx,y\n", "no column length_m"),
        (HEAD, "it is empty"),
        (HEAD + "d,2,a.jpg,1,2,3,x\n", "line 2: y2 'x' is not a number"),
        (HEAD + "d,2,a.jpg,1,2,3\n", "line 2: y2 '' is not a number"),
        (HEAD + "d,2,a.jpg,1,2,3,inf\n", "not finite"),
        (HEAD + "d,-2,a.jpg,1,2,3,4\n", "a length of -2 m"),
        (HEAD + ",2,a.jpg,1,2,3,4\n", "no bar"),
        (HEAD + "d,2,,1,2,3,4\n", "no photo"),
        (HEAD + "d,2,a.jpg,1,2,3,4\nd,3,b.jpg,1,2,3,4\n", "two lengths"),
        (HEAD + "d,2,a.jpg,1,2,3,4\nd,2,a.jpg,1,2,3,4\n", "one photo only"),
    ],
)
def test_wrong_tables(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(FormatError, match=problem) as caught:
        read_scale_bars(written(tmp_path, text))
    assert caught.value.next_step


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_scale_bars(tmp_path / "missing.csv")
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(FormatError):
        read_scale_bars(tmp_path / "x.csv")
