"""The doctor: tells what is there, and fails only where runs would."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from voxterra.cli.main import main
from voxterra.pipeline import checkup, machine
from voxterra.pipeline.checkup import REQUIRED

REPO = Path(__file__).resolve().parents[2]


def test_it_looks_at_every_required_package():
    declared = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[\[<>=;]", text)[0].lower() for text in declared}
    # lazrs is how laspy's extra brings it.
    assert {d.lower() for d in REQUIRED.values()} - {"lazrs"} == names
    homes = metadata.packages_distributions()
    for module, distribution in REQUIRED.items():
        plain = {re.sub(r"[-_.]+", "-", d).lower() for d in homes[module]}
        assert re.sub(r"[-_.]+", "-", distribution).lower() in plain


def test_on_a_sound_machine_it_is_content(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "BROKEN" not in out and "compile and run" in out and "--preset standard" in out
    assert re.search(r"memory +\d+\.\d GB, \d+\.\d GB free", out) and "numba" in out


def test_json_says_the_same(capsys, tmp_path):
    assert main(["doctor", "--json", "--out", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] and told["machine"]["cores"] >= 1 and told["machine"]["disk_free_bytes"] > 0
    states = {check["name"]: check["state"] for check in told["checks"]}
    assert states["packages"] == states["kernels"] == states["kernel cache"] == "ok"
    assert [p["preset"] for p in told["survey_of_100_photos_of_20_mp"]] == [
        "preview", "standard", "high",
    ]  # fmt: skip


def test_a_broken_package_is_an_error_with_the_way_out(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "lazrs", None)
    assert main(["doctor"]) == 30
    captured = capsys.readouterr()
    assert "BROKEN  packages           lazrs" in captured.out
    assert f"pip --python {sys.executable} install lazrs" in captured.out
    assert "Runs will fail here: packages" in captured.err and "next:" in captured.err


def test_missing_parts_are_no_error(capsys, monkeypatch):
    found = checkup.importlib.util.find_spec
    monkeypatch.setattr(
        checkup.importlib.util, "find_spec", lambda n: None if n in ("viser", "torch") else found(n)
    )
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "absent  viewer             not installed; for voxterra view" in out
    assert "absent  voxels             not installed" in out and "install torch" in out


def test_a_cache_that_cannot_be_written_is_an_error(capsys, monkeypatch, tmp_path):
    import numba

    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "file" / "kernels"))
    assert main(["doctor"]) == 30
    captured = capsys.readouterr()
    assert "VOXTERRA_CACHE" in captured.out and "kernel cache" in captured.err


def test_a_gpu_that_packages_cannot_use_is_told(monkeypatch):
    card = machine.Gpu("Card 80GB", 80 << 30, "580.1")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(checkup, "_torch_gpu", lambda: "torch sees it")

    def broken() -> str:
        raise ImportError("no libnvvm\nmore")

    monkeypatch.setattr(checkup, "_numba_gpu", broken)
    facts = machine.MachineFacts("", 2, None, None, (card,))
    gpu, torch, numba = checkup._gpu_checks(facts)
    assert (gpu.state, torch.state, numba.state) == ("ok", "ok", "missing")
    assert "86 GB" in gpu.found and numba.found == "ImportError: no libnvvm"
    assert "voxterra[voxels,gpu]" in numba.next_step
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "hides" in checkup._gpu_checks(facts)[1].found


def test_memory_that_does_not_suffice_is_told(capsys, monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: (int(6e9), int(5e9)))
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    high = next(line for line in lines if "--preset high" in line)
    preview = next(line for line in lines if "--preset preview" in line)
    assert "too much for this machine" in high and "too much" not in preview


@pytest.mark.parametrize("args", [["--jsno"], ["extra"]])
def test_unknown_words_are_refused(capsys, args):
    assert main(["doctor", *args]) == 2
    assert "voxterra doctor" in capsys.readouterr().err
