"""What a user reads where a command is wrong; `tests/data/wording.txt` has the words.

Other tests take their messages there too (the fixture `wording`). After a change of words:
`pytest -n0 --update-wording`, then read the diff as a user would.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from wording import Wording, read_wording

from voxterra.cli.main import main

TESTS = Path(__file__).parent

COMMANDS: dict[str, tuple[int, str]] = {
    "unknown verb": (2, "rnu"),
    "unknown option": (2, "run TMP --otu TMP/out"),
    "an option that is named otherwise now": (2, "run TMP --out TMP/out --anyway"),
    "unknown preset": (2, "run TMP --out TMP/out --preset fast"),
    "unknown stage": (2, "run TMP --out TMP/out --until ingst"),
    "stages in a wrong order": (2, "run TMP --out TMP/out --from mesh --until sfm"),
    "unknown backend": (2, "run TMP --out TMP/out --backend fusoin"),
    "unknown heights": (2, "run TMP --out TMP/out --heights elipsoidal"),
    "CRS that counts to the south": (12, "run TMP --out TMP/out --crs EPSG:2053"),
    "one step of no run": (2, "depth TMP"),
    "report of no run": (2, "report TMP"),
    "mesh of nothing": (2, "mesh TMP"),
    "mesh of a folder that is not there": (2, "mesh TMP/nonsuch"),
    "view of nothing": (3, "view TMP"),
    "view on no port": (2, "view TMP --port 99999"),
    "convert of nothing": (6, "convert TMP TMP/c.json"),
    "inspect of nothing": (4, "inspect TMP"),
    "training of nothing": (4, "train --source_path TMP --model_path TMP/model"),
    "training resumed that is not there": (3, "train --model_path TMP/modle --resume"),
    "score of nothing": (2, "eval mesh TMP TMP"),
    "score of no run": (3, "eval surface TMP TMP"),
    "score without truth": (2, "eval depth"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_command(name, tmp_path, capfd, wording, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    code, command = COMMANDS[name]
    try:
        found = main([word.replace("TMP", str(tmp_path)) for word in command.split()])
    except SystemExit as leaving:  # tyro's own
        found = int(leaving.code or 0)
    err = capfd.readouterr().err
    assert found == code, err
    assert "Traceback" not in err and not list(tmp_path.iterdir())
    wording(f"command: {name}", err)


def test_texts_are_replaced_by_name_and_the_rest_stays(tmp_path):
    path = tmp_path / "wording.txt"
    path.write_text("## a: b\nold\n\n## c: d\ntwo\n\nlines\n")
    Wording(path, tmp_path / "of a test", update=True)("a: b", f"{tmp_path}/of a test/x.jpg  \n")
    assert read_wording(path) == {"a: b": "TMP/x.jpg", "c: d": "two\n\nlines"}
    Wording(path, tmp_path)("c: d", "two\n\nlines\n")
    with pytest.raises(AssertionError, match="reads differently"):
        Wording(path, tmp_path)("c: d", "three")
    with pytest.raises(AssertionError, match="no wording yet"):
        Wording(path, tmp_path)("e: f", "three")


def test_no_text_is_left_of_a_test_that_is_gone():
    sources = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))
    names = read_wording(TESTS / "data" / "wording.txt")
    assert [
        n for n in names if f'{n}"' not in sources and f'"{n.split(": ", 1)[1]}"' not in sources
    ] == []
