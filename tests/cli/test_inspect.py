"""What `voxterra inspect` prints: for people, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from voxterra.cli.inspect import _row
from voxterra.cli.main import main
from voxterra.core.photos import Photo

DEMO = Path(__file__).resolve().parents[2] / "demo" / "photos"


def test_the_demo_flight(capsys):
    assert main(["inspect", str(DEMO)]) == 0
    text = capsys.readouterr().out
    assert "12 photos, 12 with GPS, 0 with remarks" in text
    assert "12 photos look down from 40 m" in text and "a pixel shows 4.3 cm" in text
    assert "with the next photo" in text


def test_the_folder_of_a_run_holds_no_photos(tmp_path, capsys):
    (tmp_path / "voxterra.json").write_text("{}")
    assert main(["inspect", str(tmp_path)]) == 2
    assert "of a run, not of photos" in capsys.readouterr().err


def test_json_has_every_photo_and_the_capture(capsys):
    assert main(["inspect", str(DEMO), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["photos"]) == 12 and told["rejected"] == []
    assert told["capture"]["down"] == 12 and 0.5 < told["capture"]["forward_overlap"] < 0.8
    assert told["photos"][0]["height_above_takeoff_m"] == 40.1
    assert "path" not in told["photos"][0]


def test_the_flight_height_can_be_given(capsys):
    assert main(["inspect", str(DEMO), "--json", "--above-ground", "80.2"]) == 0
    told = json.loads(capsys.readouterr().out)["capture"]
    assert told["gsd_m"] == pytest.approx(0.0857, rel=0.02) and "you say" in told["height_from"]


@pytest.mark.parametrize("height", ["0", "-3", "nan", "20000"])
def test_heights_that_are_none(capsys, height):
    assert main(["inspect", str(DEMO), f"--above-ground={height}"]) == 2
    assert "is no flight height" in capsys.readouterr().err


def test_remarks_name_turned_and_masked_photos():
    photo = Photo(
        "a.jpg", Path("a.jpg"), 800, 600, "", orientation=6, mask_path=Path("a.png"),
        warnings=("very dark",),
    )  # fmt: skip
    assert _row(photo)[-1] == "very dark; to be shown turned by 90° clockwise; masked"
