"""The surface stage with voxels: what it leaves, and how a stopped training goes on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import voxel_run

from voxterra.io.arrays import read_cloud, read_mesh
from voxterra.io.voxels import read_voxels
from voxterra.pipeline import events as ev
from voxterra.pipeline.folder.workspace import Workspace
from voxterra.pipeline.recipe.summaries import run_info
from voxterra.pipeline.run import run

torch = pytest.importorskip("torch")


def go(source: Path, out: Path, config, names=("surface",), **options) -> list:
    return list(run(source, out, config, stages=voxel_run.stages(names), **options))


def done(events: list) -> list[str]:
    return [e.stage for e in events if isinstance(e, ev.StageFinished)]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "a.jpg").write_text("a")
    return folder


@pytest.fixture(scope="module")
def first(source, tmp_path_factory) -> tuple[Path, list]:
    """A run with voxels up to its cleaned, textured mesh, and its events."""
    out = tmp_path_factory.mktemp("run") / "out"
    return out, go(source, out, voxel_run.config(), ("surface", "mesh"))


@pytest.fixture
def steps(monkeypatch) -> list[int]:
    """Iterations that were trained since."""
    from voxterra.surface.voxels import train

    counted: list[int] = []
    real = train.step

    def step(state, *args):
        counted.append(state.iteration)
        return real(state, *args)

    monkeypatch.setattr(train, "step", step)
    return counted


def test_the_trained_surface_is_where_the_photos_show_it(first):
    stage = first[0] / "stages/surface"
    mesh = read_mesh(stage / "mesh.npz")
    inner = np.abs(mesh.vertices[:, :2]).max(1) < 2.0
    x, y, z = mesh.vertices[inner].T
    step = np.maximum(np.abs(x), np.abs(y))
    ground, top = z[(step > 1.3)], z[(step < 0.7)]
    assert len(ground) > 100 and len(top) > 50
    assert abs(np.median(ground)) < 0.05 and abs(np.median(top) - 0.8) < 0.05
    assert len(read_cloud(stage / "cloud.npz")) > 500
    textured = read_mesh(first[0] / "stages/mesh/mesh.npz")
    assert textured.texture is not None and textured.texture.image.std() > 15


def test_the_run_tells_backend_iterations_psnr_and_voxels(first):
    out, events = first
    summary = next(e.summary for e in events if isinstance(e, ev.StageFinished) and
                   e.stage == "surface")  # fmt: skip
    model = read_voxels(out / "stages/surface/model.npz")
    made_by = f"{model.n_voxels:,} voxels trained on the photos in 40 iterations, PSNR "
    assert summary.startswith(made_by)
    info = run_info(voxel_run.config(), Workspace(out), ["depth", "surface", "products"])
    how = {"backend": "voxels", "made_by": summary.split(";")[0]}
    assert info["surface"] == how | model.metadata
    assert model.metadata == {
        "iterations": 40, "voxels": model.n_voxels,
        "training_psnr_db": pytest.approx(info["surface"]["training_psnr_db"]),
    }  # fmt: skip
    assert info["surface"]["training_psnr_db"] > 20
    assert info["config"]["voxels"]["n_iter"] == 40
    json.dumps(info)
    assert str(out) not in json.dumps(info)


def test_the_folder_of_the_stage_is_one_of_a_trained_model(first):
    from voxterra.io.depth_store import DepthStore
    from voxterra.surface.voxels.model.folder import is_model_folder, read_training

    stage = first[0] / "stages/surface"
    assert is_model_folder(stage) and read_training(stage).config == voxel_run.TINY
    assert len(DepthStore(stage).views) == 5
    assert (stage / "test_stat/train.json").is_file() and not (stage / "work").exists()


def test_the_sparse_points_of_the_run_take_part_in_the_training(
    first, source, tmp_path, monkeypatch
):
    from voxterra.surface.voxels import train

    scenes, real = [], train.train

    def kept(scene, *args, **options):
        scenes.append(scene)
        return real(scene, *args, **options)

    monkeypatch.setattr(train, "train", kept)
    go(source, tmp_path / "out", voxel_run.config(n_iter=2))
    (scene,) = scenes
    assert len(scene.points) > 100
    for index, shot in enumerate(scene.views):
        xy, depth = shot.view.project(scene.points.positions[scene.points.seen_by(index)])
        assert len(xy) > 20 and (depth > 5).all()
        assert ((xy >= 0) & (xy < [voxel_run.WIDTH, voxel_run.HEIGHT])).all()
    curves = json.loads((first[0] / "stages/surface/test_stat/train.json").read_text())
    losses = [value for _, value in curves["sparse_depth"]]
    assert len(losses) > 5 and max(losses) < 0.05  # relative depth: the points lie on the surface
    assert np.mean(losses[-3:]) < losses[0]


def test_a_run_without_sparse_points_has_none_to_train_with(first):
    from voxterra.io.depth_store import DepthStore
    from voxterra.surface.voxels.scene.photo_files import points_of

    assert points_of((), DepthStore(first[0] / "stages/depth")) is None


def test_a_second_run_does_nothing_on_another_device_neither(first, source, steps):
    moved = voxel_run.config(device="auto", data_device="cpu", save_every=7)
    events = go(source, first[0], moved, ("surface", "mesh"))
    assert done(events) == [] and steps == []


def test_a_stopped_training_goes_on_from_its_checkpoint(first, source, tmp_path, steps):
    from voxterra.surface.voxels import train

    out, counting = tmp_path / "out", train.step

    def dies(state, *args):
        if state.iteration == 25:
            raise OSError("the power went")
        return counting(state, *args)

    train.step = dies
    with pytest.raises(Exception, match="the power went"):
        go(source, out, voxel_run.config())
    train.step = counting
    assert steps == list(range(25))
    events = go(source, out, voxel_run.config())
    assert steps[25:] == list(range(20, 40))
    started = [e for e in events if isinstance(e, ev.StageStarted)]
    assert started == [ev.StageStarted("surface", resumed=True)]
    same_model(out, first[0])


@pytest.mark.slow
def test_another_option_of_training_starts_anew(first, source, tmp_path, steps):
    out = tmp_path / "out"
    shutil.copytree(first[0], out)
    events = go(source, out, voxel_run.config(n_iter=10))
    assert done(events) == ["surface"] and steps == list(range(10))


def test_a_run_is_prepared_here_trained_there_and_comes_back(first, source, tmp_path, steps):
    photos, here, there = (tmp_path / name for name in ("photos", "here", "there"))
    shutil.copytree(source, photos)
    go(photos, here, voxel_run.config(device="auto"), until="depth")
    shutil.copytree(here, there)
    photos.rename(tmp_path / "not on that machine")
    assert done(go(None, there, voxel_run.config(device="cpu"))) == ["surface"]
    assert len(steps) == 40
    (tmp_path / "not on that machine").rename(photos)
    shutil.rmtree(here)
    there.rename(here)
    assert done(go(photos, here, voxel_run.config(device="auto"))) == [] and len(steps) == 40
    same_model(here, first[0])


def test_fusion_and_back_makes_each_surface_anew(first, source, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(first[0], out)
    fusion = replace(voxel_run.config(n_iter=7), backend="fusion")
    assert done(go(source, out, fusion, ("surface", "mesh"))) == ["surface", "mesh"]
    assert not (out / "stages/surface/model.npz").exists()
    assert done(go(source, out, replace(fusion, voxels=voxel_run.TINY))) == []


@pytest.mark.slow
def test_a_killed_program_goes_on_bit_by_bit(source, tmp_path, steps):
    out, whole = tmp_path / "out", tmp_path / "whole"
    command = [sys.executable, voxel_run.__file__, str(source), str(out), "120"]
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = out / "stages/.surface.partial/work/checkpoints/last.pt"
    deadline = time.monotonic() + 300  # kernels may have to be compiled
    while not (checkpoint.exists() and iteration_of(checkpoint) >= 30):
        assert program.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    program.send_signal(signal.SIGKILL)
    program.wait()
    at = iteration_of(checkpoint)
    config = voxel_run.config(n_iter=120)
    go(source, out, config)
    assert steps[0] == at and len(steps) == 120 - at < 120
    go(source, whole, config)
    same_model(out, whole)


def iteration_of(checkpoint: Path) -> int:
    return int(torch.load(checkpoint, weights_only=True)["iteration"])


def same_model(one: Path, other: Path) -> None:
    a, b = (read_voxels(out / "stages/surface/model.npz") for out in (one, other))
    for name in ("path", "level", "sdf", "sh0", "shs", "background"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
