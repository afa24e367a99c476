"""Stereo on a GPU, as on the CPU; without a GPU its kernels' source runs emulated."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import full_gpu
import numpy as np
import pytest

from voxterra.core.progress import no_progress
from voxterra.depth.config import DepthConfig
from voxterra.depth.estimate import estimate_depth
from voxterra.depth.resume import resume_or_clear
from voxterra.depth.source import DepthInputs
from voxterra.depth.stereo import device as where
from voxterra.depth.stereo.cpu import OnCpu
from voxterra.depth.stereo.level import Level, LevelImages
from voxterra.depth.stereo.pyramid import solve_view
from voxterra.depth.tasks import plan
from voxterra.depth.undistort import undistort_photos
from voxterra.errors import MissingPartError, UsageError, VoxterraError
from voxterra.io.depth_store import DepthStore, depth_path, write_views

CONFIG = DepthConfig(levels=2, coarse_iterations=4, fill=None)


@pytest.fixture(scope="session")
def gpu() -> None:
    full_gpu.skip_without_gpu()


@pytest.fixture(scope="module")
def store(gpu, survey, tmp_path_factory) -> DepthStore:
    out = tmp_path_factory.mktemp("cpu")
    config = replace(CONFIG, device="cpu")
    return estimate_depth((survey.component,), survey.photos, config, out_dir=out)


@pytest.mark.gpu
def test_depth_on_a_gpu_is_as_good(survey, store, tmp_path):
    config = replace(CONFIG, device="cuda")
    on_gpu = estimate_depth((survey.component,), survey.photos, config, out_dir=tmp_path / "a")
    again = estimate_depth((survey.component,), survey.photos, config, out_dir=tmp_path / "b")
    right = {"cpu": 0, "gpu": 0}
    for i, truth in enumerate(survey.truth.depths):
        for name, maps in (("cpu", store), ("gpu", on_gpu)):
            right[name] += (np.abs(maps.load(i).depth - truth) < 0.01 * truth).sum()
        assert np.array_equal(on_gpu.load(i).depth, again.load(i).depth)
    assert right["cpu"] > 0.8 * sum(t.size for t in survey.truth.depths)
    assert right["gpu"] > 0.99 * right["cpu"]


@pytest.mark.gpu
def test_the_cpu_takes_over_where_a_gpu_is_full(survey, store, tmp_path, caplog):
    estimate_depth((survey.component,), survey.photos, CONFIG, out_dir=tmp_path / "loads kernels")
    asked = (survey.component,), survey.photos
    with full_gpu.leaving(0):
        maps = estimate_depth(*asked, replace(CONFIG, device="auto"), out_dir=tmp_path / "auto")
        with pytest.raises(VoxterraError, match="GPU's memory does not hold") as caught:
            estimate_depth(*asked, replace(CONFIG, device="cuda"), out_dir=tmp_path / "cuda")
    assert "--depth.device auto" in caught.value.next_step
    told = [r.message for r in caplog.records if "The CPU takes over" in r.message]
    assert 1 <= len(told) <= 3, "once a level, not once a photo"
    for i in range(len(survey.photos.photos)):  # what is small may have been checked on the GPU
        found, wanted = maps.load(i).depth, store.load(i).depth
        assert np.isclose(found, wanted, rtol=1e-3).mean() > 0.99


def test_levels_on_a_gpu_are_as_on_the_cpu(survey, tmp_path, monkeypatch, caplog):
    """Both levels and the check of one small view, with what is kept of its sources."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("numba_cuda")
    from emulated_cuda import emulate

    from voxterra.depth.stereo.gpu import OnGpu
    from voxterra.kernels.stereo import patchmatch_cuda

    emulate(monkeypatch, patchmatch_cuda)
    config = replace(CONFIG, coarse_iterations=2, refine_iterations=1, sources=3)
    tasks = plan((survey.component,), config)
    full = tuple(task.view for task in tasks)
    undistort_photos(full, survey.photos, tmp_path, no_progress)
    write_views(full, tmp_path)
    photos = DepthStore(tmp_path)
    inputs = DepthInputs(tasks, photos, tuple(range(len(tasks))), tmp_path)
    results, coarse = {}, ()
    for kind, options in ((OnCpu, {}), (OnGpu, {"device": "cpu"})):
        previous = None
        for k, size in enumerate([(48, 36), (96, 72)]):
            views = tuple(task.view.resized(*size) for task in tasks)
            level = Level(tmp_path / f"{kind.__name__}{k}", views)
            level.folder.mkdir()
            images = LevelImages(photos, [level], 0)
            stereo = kind(level, images, previous, **options)
            for i in range(len(tasks)):
                level.write(i, *solve_view(i, inputs, level, stereo, config, k == 0))
            previous, coarse = level, views if k == 0 else coarse
        checker = kind(level, None, None, **options)
        checked = checker.check(0, tasks[0].neighbours, level.planes(0), 1.5, 0.01)
        results[kind] = (level.planes(0), level.costs(0), *checked)
    planes, costs, agree, look, mean_w = results[OnGpu]
    expected = results[OnCpu]
    assert np.isclose(planes[..., 0], expected[0][..., 0], rtol=1e-3).mean() > 0.9
    assert abs(np.median(costs) - np.median(expected[1])) < 5e-3
    for found, wanted in ((agree, expected[2]), (look, expected[3])):
        assert wanted.any() and (found == wanted).mean() > 0.9
    both = (agree > 0) & (expected[2] > 0)
    assert np.median(np.abs(mean_w / expected[4] - 1)[both]) < 1e-4
    # Each photo went over once.
    stereo._keep("quads", 0, lambda: pytest.fail("read again"))
    # And those used longest ago make room.
    stereo._most = 0
    stereo._keep("new", 0, lambda: np.zeros(3, np.float32))
    assert list(stereo._kept) == [("new", 0)] and stereo._bytes == 12

    full = [
        torch.OutOfMemoryError("full"),
        RuntimeError("CUDA error: out of memory\nSearch for ..."),  # torch's AcceleratorError
    ]
    for error in full:

        def solve(*args, error=error):
            raise error

        stereo._otherwise = None
        monkeypatch.setattr(stereo, "_solve", solve)
        with pytest.raises(VoxterraError, match="memory") as caught:
            solve_view(0, inputs, level, stereo, config, False)
        assert "--depth.max-size" in caught.value.next_step
        stereo._otherwise = OnCpu(level, images, Level(tmp_path / "OnCpu0", coarse))
        found, _ = solve_view(0, inputs, level, stereo, config, False)
        assert found.shape == planes.shape
    told = [r.message for r in caplog.records if "The CPU takes over" in r.message]
    assert len(told) == 1, "as often as photos"
    asked = []

    def too_old(*args):
        asked.append(args)
        raise VoxterraError("The driver is too old.")

    monkeypatch.setattr(stereo, "_solve", too_old)
    for _ in range(2):
        solve_view(0, inputs, level, stereo, config, False)
    assert len(asked) == 1  # then it is not asked again


def test_a_gpu_that_is_asked_for_and_missing_is_told(survey, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = replace(CONFIG, device="cuda")
    with pytest.raises(UsageError, match="GPU") as caught:
        estimate_depth((survey.component,), survey.photos, config, out_dir=tmp_path / "out")
    assert "--depth.device cpu" in caught.value.next_step
    assert not (tmp_path / "out").exists()
    assert not where.uses_gpu(replace(CONFIG, device="auto"))
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "torch" else real(n))
    with pytest.raises(MissingPartError, match="PyTorch"):
        where.uses_gpu(config)
    monkeypatch.setattr("voxterra.kernels.cuda.device.shows_gpu", lambda: True)
    assert not where.uses_gpu(replace(CONFIG, device="auto"))


def test_kernels_that_cannot_be_loaded_are_told_or_done_without(monkeypatch, caplog):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("voxterra.kernels.cuda.device.shows_gpu", lambda: True)

    def missing(name):
        raise MissingPartError("numba-cuda cannot be used")

    monkeypatch.setattr("voxterra.kernels.cuda.device.importlib.import_module", missing)
    with pytest.raises(MissingPartError, match="numba-cuda"):
        where.uses_gpu(replace(CONFIG, device="cuda"))
    assert not where.uses_gpu(CONFIG)
    assert "numba-cuda" in caplog.text


def test_work_goes_on_on_another_machine(survey, tmp_path):
    out, config = tmp_path / "depth", replace(CONFIG, max_size=80, device="cpu")
    estimate_depth((survey.component,), survey.photos, config, out_dir=out)
    tasks = plan((survey.component,), config)
    resume_or_clear(out, tasks, survey.photos, replace(config, device="cuda"), {})
    assert depth_path(out, 0).exists()
    resume_or_clear(out, tasks, survey.photos, replace(config, device="cuda", seed=1), {})
    assert not depth_path(out, 0).exists()
