"""`voxterra train` for real: stopped, gone on with, with a damaged file, quantised, diverging."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import voxel_training
from PIL import Image as PilImage

pytest.importorskip("torch")

from voxterra.cli.main import main
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.errors import Cancelled
from voxterra.io.colmap.model import write_colmap
from voxterra.io.voxels import read_voxels
from voxterra.surface.voxels import train as training

OPTIONS = [
    "--device", "cpu", "--init", "sphere", "--init_level", "4", "--max_level", "5", "--ss", "1",
    "--outside_level", "3", "--n_iter", "20", "--save_every", "5", "--adapt_every", "2000",
    "--sh_degree", "1", "--bound", "-1", "-1", "-0.6", "1", "1", "1", "--exposure",
]  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A COLMAP folder of photos of the block, without points."""
    folder, views = tmp_path_factory.mktemp("block"), voxel_training.views(5)
    none = SparsePoints(
        np.empty((0, 3)), np.empty((0, 3), np.uint8), np.empty(0), np.zeros(1, np.int64),
        np.empty(0, np.int32), np.empty((0, 2)),
    )  # fmt: skip
    images = tuple(Image(view.name, 1, view.cam_from_world) for view in views)
    write_colmap(Reconstruction({1: views[0].camera}, images, none), folder / "sparse" / "0")
    (folder / "images").mkdir()
    for view in views:
        shot = voxel_training.photographed(view, prior=False)
        PilImage.fromarray(shot.rgb).save(folder / "images" / view.name)
    return folder


def go(source: Path, out: Path, *more: str) -> int:
    return main(["train", "--source_path", str(source), "--model_path", str(out), *OPTIONS, *more])


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("models") / "whole"
    assert go(source, out) == 0
    return out


def test_a_stopped_training_goes_on_bit_for_bit(source, whole, tmp_path, monkeypatch, capfd):
    out, real = tmp_path / "out", training.step

    def stops(state, *args):
        if state.iteration == 13:
            raise Cancelled("The training was stopped.", next_step="--resume")
        return real(state, *args)

    monkeypatch.setattr(training, "step", stops)
    assert go(source, out) == 130
    assert not (out / "model.npz").exists() and (out / "checkpoints" / "last.pt").exists()
    monkeypatch.setattr(training, "step", real)
    assert main(["mesh", str(out)]) == 3
    assert "--resume" in capfd.readouterr().err
    assert main(["train", "--model_path", str(out), "--resume"]) == 0
    ours, theirs = read_voxels(out / "model.npz"), read_voxels(whole / "model.npz")
    assert voxel_training.same(ours, theirs)
    for name in ("test_stat/train.json", "config.yaml"):
        assert (out / name).read_text() == (whole / name).read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_training_that_is_stopped_says_how_to_resume(source, tmp_path, number):
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "voxterra", "train", "--source_path", source, "--model_path", out,
        *OPTIONS, "--n_iter", "100000", "--save_every", "20",
    ]  # fmt: skip
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not (out / "checkpoints" / "last.pt").exists() and time.monotonic() < until:
        time.sleep(0.1)
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "stopping" in err and f"voxterra train --model_path {out} --resume" in err
    assert main(["train", "--model_path", str(out), "--resume", "--n_iter", "10"]) == 0


def test_a_damaged_checkpoint(source, whole, tmp_path, capfd):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    last = out / "checkpoints" / "last.pt"
    last.write_bytes(last.read_bytes()[:5000])
    assert main(["train", "--model_path", str(out), "--resume"]) == 0
    assert voxel_training.same(read_voxels(out / "model.npz"), read_voxels(whole / "model.npz"))
    for file in (out / "checkpoints").iterdir():
        file.write_bytes(b"PK")
    capfd.readouterr()
    assert main(["train", "--model_path", str(out), "--resume"]) == 6
    err = capfd.readouterr().err
    assert "cannot be used" in err and "Delete it" in err and ".pt" in err


def test_more_iterations_saved_with_8_bits(whole, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    more = ["--resume", "--n_iter", "30", "--save_quantized"]
    assert main(["train", "--model_path", str(out), *more]) == 0
    exact, small = read_voxels(whole / "model.npz"), read_voxels(out / "model.npz")
    assert small.metadata["iterations"] == 30 and small.why_invalid() is None
    size = {p: (p / "model.npz").stat().st_size for p in (whole, out)}
    per_voxel = [size[whole] / exact.n_voxels, size[out] / small.n_voxels]
    assert per_voxel[1] < 0.5 * per_voxel[0]
    assert main(["eval", "views", str(out), "--train"]) == 0
    quantised = json.loads((out / "test_stat" / "views.json").read_text())["train"]["psnr"]
    assert main(["train", "--model_path", str(out), *more[:3], "--no_save_quantized"]) == 0
    assert main(["eval", "views", str(out), "--train"]) == 0
    plain = json.loads((out / "test_stat" / "views.json").read_text())["train"]["psnr"]
    assert plain > 10 and abs(quantised - plain) < 0.2


def test_what_is_scored_is_what_was_saved(source, tmp_path, monkeypatch):
    scored = []

    def score(model, *_, **__):
        scored.append(model)
        return {"held_out": {"views": 1, "psnr": 20.0, "ssim": 0.5}, "lpips_missing": "no weights"}

    monkeypatch.setattr("voxterra.surface.voxels.evaluate.score_views", score)
    assert go(source, tmp_path / "out", "--eval", "--save_quantized") == 0
    assert voxel_training.same(scored[0], read_voxels(tmp_path / "out" / "model.npz"))


def test_a_diverging_training_and_other_photos(source, whole, tmp_path, capfd):
    assert go(source, tmp_path / "out", "--geo_lr", "1e6") == 10
    err = capfd.readouterr().err
    assert "iteration 5:" in err and ".png" in err and "--geo_lr" in err
    assert not (tmp_path / "out" / "model.npz").exists()
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    assert main(["train", "--model_path", str(out), "--resume", "--eval"]) == 3
    err = capfd.readouterr().err
    assert "other photos: 1 are gone (0.png)" in err and "--overwrite" in err
    assert main(["train", "--model_path", str(out), "--resume", "--sh_degree", "2"]) == 2
    assert "--sh_degree 1" in capfd.readouterr().err
    # What could not be is forgotten: without it the training goes on.
    assert main(["train", "--model_path", str(out), "--resume"]) == 0
    assert (out / "config.yaml").read_text() == (whole / "config.yaml").read_text()


@pytest.mark.parametrize(
    "changed", [("--seed", "5"), ("--white_background",), ("--outside_level", "2")]
)
def test_what_a_training_has_taken_up_cannot_change_on_resume(source, whole, capfd, changed):
    before = (whole / "config.yaml").read_text()
    assert go(source, whole, "--resume", *changed) == 2
    assert "--overwrite" in capfd.readouterr().err
    assert (whole / "config.yaml").read_text() == before
