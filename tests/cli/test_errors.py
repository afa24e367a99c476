"""What a user sees when something is wrong: a message, its exit code, never a traceback.

Bad photos, tables, options and files are in `test_bad_inputs.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voxterra.cli.main import main


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def voxterra(capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The program, in this process."""

    def run(*args: object) -> Done:
        capfd.readouterr()
        try:
            code = main([str(arg) for arg in args])
        except SystemExit as leaving:  # tyro's own
            code = int(leaving.code or 0)
        done = Done(code, *capfd.readouterr())
        assert "Traceback" not in done.stderr + done.stdout
        return done

    return run


def noise_photo(path: Path, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (30, 40, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize((480, 360), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def two_photos(tmp_path: Path) -> Path:
    """Two photos of things that have nothing in common."""
    for seed in (1, 2):
        noise_photo(tmp_path / "photos" / f"{seed}.jpg", seed)
    return tmp_path / "photos"


def expect(done: Done, code: int, *texts: str) -> None:
    assert done.returncode == code, done.stderr
    for text in texts:
        assert text in done.stderr
    assert "error" in done.stderr


def test_no_verb_at_all_prints_the_help(voxterra):
    done = voxterra()
    assert done.returncode == 2 and "usage" in done.stdout


def test_unknown_verb(voxterra):
    expect(voxterra("rnu"), 2, "did you mean 'run'?")


def test_unknown_option_names_the_nearest(voxterra, tmp_path):
    expect(voxterra("run", tmp_path, "--otu", tmp_path / "o"), 2, "did you mean '--out'?")
    assert not (tmp_path / "o").exists()


def test_an_option_of_earlier_versions_is_named_by_its_new_name(voxterra, tmp_path):
    done = voxterra("run", tmp_path, "--out", tmp_path / "out", "--anyway")
    expect(done, 2, "There is no option '--anyway'; it is now --force.")


def test_missing_and_wrong_values(voxterra, tmp_path):
    done = voxterra("run", tmp_path)
    assert done.returncode == 2 and "--out" in done.stderr
    done = voxterra("run", tmp_path, "--out", tmp_path / "o", "--depth.max-size", "big")
    assert done.returncode == 2 and "max-size" in done.stderr
    expect(voxterra("run", tmp_path, "--out", tmp_path / "o", "--preset", "fast"), 2, "preview")


def test_steps_want_a_run(voxterra, tmp_path, two_photos):
    expect(voxterra("depth", two_photos), 2, "voxterra run PHOTOS --out DIR")
    expect(voxterra("view", tmp_path), 3, "nothing to look at")
    expect(voxterra("convert", tmp_path, tmp_path / "c.json"), 6, "no COLMAP model")


def test_json_holds_the_error_and_nothing_else_is_printed(voxterra, tmp_path, two_photos):
    done = voxterra("run", two_photos, "--out", tmp_path / "o", "--preset", "preview", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "RunStarted"
    assert events[-1]["event"] == "RunFailed"
    assert (events[-1]["exit_code"], events[-1]["kind"]) == (11, "NoOverlapError")
    assert done.returncode == 11
    assert "No two of the 2 photos" in (tmp_path / "o/log.txt").read_text()
    early = voxterra("run", tmp_path / "nowhere", "--out", tmp_path / "o2", "--json")
    assert json.loads(early.stdout.splitlines()[-1])["kind"] == "NoPhotosError"


def test_memory_that_does_not_suffice(monkeypatch, capsys):
    from voxterra.cli import main as program

    def too_large(args):
        return np.empty(1 << 60, np.uint8)

    monkeypatch.setattr(program, "_dispatch", too_large)
    assert main(["train"]) == 1
    err = capsys.readouterr().err
    assert "This machine has too little memory" in err and "Take smaller photos" in err
    assert "Traceback" not in err and "Internal error" not in err
