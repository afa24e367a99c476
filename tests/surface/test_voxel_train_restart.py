"""A training that is stopped, killed or left with a damaged file goes on as if nothing had been."""

from __future__ import annotations

import errno
import io
import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import voxel_training

torch = pytest.importorskip("torch")

from voxterra.errors import Cancelled, FormatError, InputError, OutputError, UsageError  # noqa: E402
from voxterra.surface.voxels import train as training  # noqa: E402
from voxterra.surface.voxels.training import state as states  # noqa: E402
from voxterra.surface.voxels.training.state import load_state, previous, save_state  # noqa: E402

CPU = torch.device("cpu")
# Adapts after 8, 16, 24; halves of the voxels at random; exposures; held by the start; the
# sharpness is learned from 8 on; a checkpoint every 5.
CONFIG = replace(
    voxel_training.SMALL,
    n_iter=30,
    max_level=5,
    max_voxels=8000,
    vg_from=0,
    exposure=True,
    lambda_start=0.1,
    sharpness_lr=0.01,
    sharpness_from=2000,
    save_every=5,
    view_every=15,
)


@pytest.fixture(scope="module")
def scene():
    return voxel_training.scene(6, (2,))


@pytest.fixture(scope="module")
def whole(scene, tmp_path_factory):
    """Model of a training that nothing stopped, its folder, and all checkpoints it wrote."""
    out, kept = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:

        def save(state, path):
            save_state(state, path)
            shutil.copy(path, kept / f"{state.iteration}.pt")

        def start(*args, **kwargs):
            state = real(*args, **kwargs)
            state.views = tuple(view.view.name for view in scene.training)
            save_state(state, kept / "0.pt")
            return state

        real = training.start
        patch.setattr(training, "save_state", save)
        patch.setattr(training, "start", start)
        model = training.train(scene, CONFIG, out=out)
    levels = {load_state(kept / f"{i}.pt", CPU).voxels.octree.path.shape[0] for i in (5, 10, 20)}
    assert len(levels) > 1  # it did adapt in between
    return model, out, kept


def curves(out: Path) -> dict:
    return json.loads((out / "test_stat" / "train.json").read_text())


def last(out: Path) -> Path:
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    return out / "checkpoints" / "last.pt"


@pytest.mark.parametrize(("at", "stop"), [(8, Cancelled), (19, Cancelled), (13, KeyboardInterrupt)])
def test_a_stopped_training_ends_bit_for_bit_like_one_that_was_not(
    scene, whole, tmp_path, at, stop
):
    def progress(fraction: float, message: str = "") -> None:
        if message.startswith(f"{at}/"):
            raise stop("enough")

    if stop is Cancelled:  # the start takes most of the time, once is enough
        shutil.copy(whole[2] / "0.pt", last(tmp_path))
    with pytest.raises(stop):
        training.train(scene, CONFIG, out=tmp_path, resume=stop is Cancelled, progress=progress)
    # A cancelled training keeps what it has done; a killed one goes on from its last checkpoint.
    done = load_state(last(tmp_path), CPU).iteration
    assert done == (at if stop is Cancelled else at - at % 5)
    model = training.train(scene, CONFIG, out=tmp_path, resume=True)
    assert voxel_training.same(model, whole[0])
    assert curves(tmp_path) == curves(whole[1])
    pictures = sorted(p.name for p in (tmp_path / "pg_view").iterdir())
    assert pictures == ["000015.png", "000030.png"]


@pytest.mark.parametrize("at", [5, 15, 25])
def test_any_checkpoint_leads_to_the_same_model(scene, whole, tmp_path, at):
    shutil.copy(whole[2] / f"{at}.pt", last(tmp_path))
    assert voxel_training.same(training.train(scene, CONFIG, out=tmp_path, resume=True), whole[0])


def test_a_state_is_read_as_it_was_written(whole, tmp_path):
    first = load_state(whole[2] / "10.pt", CPU)
    save_state(first, tmp_path / "a.pt")
    second = load_state(tmp_path / "a.pt", CPU)
    assert first.order == second.order and first.iteration == second.iteration == 10
    assert first.views == ("0.png", "1.png", "3.png", "4.png", "5.png")
    assert torch.equal(first.generator.get_state(), second.generator.get_state())
    assert float(first.exposure.steps.sum()) == 10
    assert first.sharpness.steps == 2 and float(first.sharpness.log) != 0
    assert first.sharpness == second.sharpness
    assert torch.equal(first.anchor.sdf, second.anchor.sdf)
    assert torch.equal(first.anchor.trust, second.anchor.trust) and first.anchor.trust.max() > 0.5
    for name, moments in first.moments.items():
        assert all(map(torch.equal, moments, second.moments[name]))
    assert int((first.moments["sdf"][1] > 0).sum()) > 100


def test_a_checkpoint_of_an_earlier_version_is_read(scene, whole, tmp_path):
    data = torch.load(whole[2] / "5.pt", weights_only=True)
    assert data.pop("sharpness") is None
    torch.save(data, last(tmp_path))
    assert load_state(last(tmp_path), CPU).sharpness is None
    assert voxel_training.same(training.train(scene, CONFIG, out=tmp_path, resume=True), whole[0])


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "bit", "other", "parts"])
def test_a_damaged_checkpoint_is_told(whole, tmp_path, damage):
    good = (whole[2] / "10.pt").read_bytes()
    path = last(tmp_path)
    rng = np.random.default_rng(0)
    if damage == "cut":
        trials = [good[:n] for n in rng.integers(1, len(good) - 1, 8)]
    elif damage == "bit":
        trials = []
        for at in rng.integers(0, len(good) - 2000, 6):
            flipped = bytearray(good)
            flipped[at : at + 40] = bytes(b ^ 0x55 for b in flipped[at : at + 40])
            trials.append(bytes(flipped))
    else:
        trials = [{"empty": b"", "text": b"no checkpoint"}.get(damage, good)]
    for trial in trials:
        path.write_bytes(trial)
        if damage == "other":
            torch.save({"version": 99}, path)
        if damage == "parts":
            data = torch.load(path, weights_only=True)
            data["parameters"]["sdf"] = data["parameters"]["sdf"][:-1].clone()
            torch.save(data, path)
        with pytest.raises(FormatError) as error:
            load_state(path, CPU)
        assert error.value.where == str(path) and "Delete it" in error.value.next_step


def test_the_checkpoint_before_a_damaged_one_is_taken(scene, whole, tmp_path, caplog):
    good = (whole[2] / "20.pt").read_bytes()
    last(tmp_path).write_bytes(good[: len(good) // 2])
    shutil.copy(whole[2] / "15.pt", previous(last(tmp_path)))
    with caplog.at_level(logging.WARNING):
        model = training.train(scene, CONFIG, out=tmp_path, resume=True)
    assert "resumes from the one before" in caplog.text
    assert voxel_training.same(model, whole[0])
    assert load_state(previous(last(tmp_path)), CPU).iteration == 25
    for path in (last(tmp_path), previous(last(tmp_path))):
        path.write_bytes(good[:1000])
    with pytest.raises(FormatError, match="cannot be used"):
        training.train(scene, CONFIG, out=tmp_path, resume=True)


def test_a_checkpoint_appears_whole_or_not_at_all(whole, tmp_path, monkeypatch):
    state = load_state(whole[2] / "10.pt", CPU)
    path = last(tmp_path)
    save_state(state, path)
    before = path.read_bytes()

    real = torch.save

    def full(data, file):
        file.write(b"half")
        with open("/dev/full", "wb") as disk:
            real(data, disk)

    monkeypatch.setattr(states.torch, "save", full)
    with pytest.raises(OutputError) as error:
        save_state(state, path)
    assert "disk is full" in error.value.what and "space" in error.value.next_step
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]

    class Refusing(io.BytesIO):
        def write(self, data):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(states.torch, "save", lambda data, file: real(data, Refusing()))
    with pytest.raises(OutputError, match="Input/output error"):
        save_state(state, path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_finished_training_goes_on_with_more_iterations(scene, whole, tmp_path, caplog):
    shutil.copytree(whole[1], tmp_path, dirs_exist_ok=True)
    assert voxel_training.same(training.train(scene, CONFIG, out=tmp_path, resume=True), whole[0])
    assert "30 iterations already" in caplog.text
    model = training.train(scene, replace(CONFIG, n_iter=60), out=tmp_path, resume=True)
    assert model.metadata["iterations"] == 60
    before, points = (curves(out)["PSNR [dB]"] for out in (whole[1], tmp_path))
    assert points[: len(before)] == before and before[-1][0] == 30 and points[-1][0] == 60
    at = [iteration for iteration, _ in points]
    assert at == sorted(set(at))
    # The same view may not have come last twice: compare what all views say.
    assert score(scene, model) > score(scene, whole[0])


def score(scene, model) -> float:
    from voxterra.surface.voxels.evaluate import evaluate_views, means
    from voxterra.surface.voxels.model.render import to_device

    return means(evaluate_views(to_device(model, "cpu"), scene, held_out=False))["psnr"]


def test_what_cannot_change_on_the_way_is_told(scene, whole, tmp_path):
    def go(scene, **changed):
        return training.train(scene, replace(CONFIG, **changed), out=tmp_path, resume=True)

    shutil.copy(whole[2] / "25.pt", last(tmp_path))
    with pytest.raises(UsageError, match="degree 1, not 2"):
        go(scene, sh_degree=2)
    fewer = replace(scene, views=scene.views[:-1])
    with pytest.raises(InputError, match=r"1 are gone \(5.png\)"):
        go(fewer)
    swapped = replace(
        scene, views=tuple(replace(v, held_out=i == 0) for i, v in enumerate(scene.views))
    )
    with pytest.raises(InputError, match=r"1 are new \(2.png\) and 1 are gone \(0.png\)"):
        go(swapped)
    go(scene, exposure=False, sharpness_lr=0.0)
    assert load_state(last(tmp_path), CPU).exposure is None
    assert load_state(last(tmp_path), CPU).sharpness.steps == 17  # not learned on, but kept
    go(scene, n_iter=32)
    assert float(load_state(last(tmp_path), CPU).exposure.steps.sum()) == 2


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import voxel_training
from dataclasses import replace
from voxterra.surface.voxels.train import train
config = replace(voxel_training.SMALL, n_iter=30, max_level=5, max_voxels=8000, vg_from=0,
                 exposure=True, lambda_start=0.1, sharpness_lr=0.01, sharpness_from=2000,
                 save_every=1, view_every=15)
train(voxel_training.scene(6, (2,)), config, out=Path(sys.argv[1]), resume=True)
"""


@pytest.mark.slow
def test_killed_again_and_again(scene, whole, tmp_path):
    rng, kills = np.random.default_rng(), 0
    command = [
        sys.executable,
        "-c",
        SCRIPT,
        str(tmp_path),
        str(Path(voxel_training.__file__).parent),
    ]
    while kills < 4:
        process = subprocess.Popen(command)
        before = last(tmp_path).stat().st_mtime_ns if last(tmp_path).exists() else 0
        while process.poll() is None and (
            not last(tmp_path).exists() or last(tmp_path).stat().st_mtime_ns == before
        ):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        kills += 1
    assert kills
    assert subprocess.run(command, check=False).returncode == 0
    end, wanted = load_state(last(tmp_path), CPU), load_state(last(whole[1]), CPU)
    assert torch.equal(end.voxels.sdf, wanted.voxels.sdf)
    assert torch.equal(end.voxels.sh0, wanted.voxels.sh0)
    assert torch.equal(end.exposure.matrix, wanted.exposure.matrix)
    assert end.sharpness == wanted.sharpness
