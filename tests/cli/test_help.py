"""Help and usage errors teach: real defaults, plain values, examples, the nearest choice."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voxterra.cli.display import _program
from voxterra.cli.main import BROKEN_PIPE_CODE, VERBS, main
from voxterra.cli.run import RunArguments
from voxterra.cli.view import check_address
from voxterra.core.map_config import MapConfig
from voxterra.errors import UsageError
from voxterra.ingest.config import IngestConfig


@pytest.fixture(autouse=True)
def wide_and_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words of the help stay in one piece on any terminal."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def help_of(capsys: pytest.CaptureFixture[str], *verb: str) -> str:
    """What `voxterra VERB --help` prints, without line breaks and frames."""
    with pytest.raises(SystemExit) as leaving:
        main([*verb, "--help"])
    assert leaving.value.code == 0
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_run_help_shows_the_defaults_that_hold(capsys):
    text = help_of(capsys, "run")
    heights = text.split("--heights {egm96,ellipsoidal}")[1].split("--gps-heights")[0]
    assert f"(default: {MapConfig().heights})" in heights and "--map.heights" in heights
    gps = text.split("--gps-heights {auto,egm96,ellipsoidal}")[1].split("--from")[0]
    assert f"(default: {IngestConfig().gps_heights})" in gps and "--ingest.gps-heights" in gps


EVALS = [("eval", what) for what in ("raster", "dtu", "tanks")]


@pytest.mark.parametrize("verb", [*((name,) for name in VERBS), *EVALS], ids="-".join)
def test_no_help_speaks_python(capsys, verb):
    text = help_of(capsys, *verb)
    assert "{None" not in text and "(default: )" not in text
    assert "Examples:" in text or verb in EVALS


@pytest.mark.parametrize("verb", EVALS[1:], ids="-".join)
def test_no_default_is_told_where_there_is_none(capsys, verb):
    text = help_of(capsys, *verb)
    assert "None)" not in text and "(default: " in text
    assert f"{'scans.' if 'dtu' in verb else 'scenes.'} (required)" in text


@pytest.mark.parametrize("verb", [name for name, verb in VERBS.items() if not verb.alone])
def test_a_verb_with_nothing_gives_an_example(capsys, verb):
    assert main([verb]) == 2
    assert f"voxterra {verb} {VERBS[verb].example}" in capsys.readouterr().err


def test_eval_explains_what_it_compares(capsys):
    text = help_of(capsys, "eval")
    assert "RUN is" in text and "TRUTH is" in text
    assert text.count("voxterra eval ") >= 3  # the usage line and two examples
    assert main(["eval", "depth"]) == 2
    assert "voxterra eval depth runs/site" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "flag", "meant"),
    [
        (("run", "ingst", "--out", "o", "--until", "ingst"), "--until", "ingest"),
        (("run", "x", "--out", "o", "--from=mehs"), "--from", "mesh"),
        (
            ("run", "x", "--out", "o", "--ingest.gps-heights", "elipsoidal"),
            "--ingest.gps",
            "ellips",
        ),
        (("eval", "poses", "a", "b", "--align", "camera"), "--align", "cameras"),
    ],
)
def test_a_wrong_choice_names_the_nearest(capsys, args, flag, meant):
    assert main([*args]) == 2
    told = capsys.readouterr().err
    assert f"where: {flag}" in told and f"did you mean '{meant}" in told and "next:" in told


def test_the_word_none_takes_a_value_away(tmp_path):
    from voxterra.cli.arguments import parse
    from voxterra.cli.values import value_parsers
    from voxterra.pipeline.recipe.config import RunConfig

    args = ["photos", "--out", str(tmp_path), "--crs", "None", "--config", "my.yaml"]
    with value_parsers(args):
        given = parse(RunArguments, args, verb="run", description="", options=RunConfig())
    assert given.crs is None and given.config == Path("my.yaml")


def test_json_of_a_usage_error_is_empty(capsys):
    assert main(["run", "x", "--out", "o", "--json", "--until", "ingst"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "did you mean" in captured.err


def test_addresses_that_cannot_be_listened_on(tmp_path, capsys):
    for host, port in (("127.0.0.1", 99999), ("127.0.0.1", 0), ("8.8.8.8", 8080), ("a..b", 8080)):
        with pytest.raises(UsageError) as caught:
            check_address(host, port)
        assert caught.value.next_step and "--port" in str(caught.value.where)
    assert main(["view", str(tmp_path), "--port", "99999"]) == 2
    assert "There is no port 99999" in capsys.readouterr().err


def test_a_port_in_use_is_no_obstacle():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        check_address("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("json_flag", [(), ("--json",)], ids=["plain", "json"])
def test_a_reader_that_goes_away_ends_a_run_quietly(tmp_path, json_flag):
    pixels = np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8)
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(pixels).save(tmp_path / "photos" / name)
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "voxterra", "run", str(tmp_path / "photos")]
    command += ["--out", str(tmp_path / "out"), "--until", "ingest", *json_flag]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (BROKEN_PIPE_CODE, "")


def test_what_to_type_next_is_what_was_typed(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "voxterra"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _program() == str(program)
    monkeypatch.setenv("PATH", str(program.parent))
    assert _program() == "voxterra"


def test_events_of_a_run_that_cannot_start_are_json(tmp_path, capfd):
    assert main(["run", str(tmp_path / "nowhere"), "--out", str(tmp_path / "o"), "--json"]) == 4
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["next_step"]
