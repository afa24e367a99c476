"""Which backend makes the surface, what its fingerprint holds, and what is told when it cannot."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from voxterra.cli.arguments import parse
from voxterra.cli.run import RunArguments
from voxterra.core.machine import this_machine
from voxterra.core.options import plain, with_values
from voxterra.errors import MissingPartError, UsageError
from voxterra.pipeline.folder.fingerprint import fingerprint
from voxterra.pipeline.folder.record import StageRecord
from voxterra.pipeline.folder.run_file import write_run_file
from voxterra.pipeline.folder.workspace import Workspace
from voxterra.pipeline.recipe import presets
from voxterra.pipeline.recipe.config import RunConfig, check_config
from voxterra.pipeline.recipe.config_file import read_options, write_options
from voxterra.pipeline.recipe.presets import PRESETS, preset
from voxterra.pipeline.recipe.stages import STAGES
from voxterra.pipeline.run import run
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.run_presets import VOXEL_PRESETS, voxel_preset

SURFACE = next(stage for stage in STAGES if stage.name == "surface")
FUSION = replace(RunConfig(), backend="fusion")
VOXELS = replace(RunConfig(), backend="voxels")


def of(config: RunConfig) -> str:
    return fingerprint("surface", SURFACE.code_version, SURFACE.options(config), {"depth": "d"})


def having(config: RunConfig, section: str, **values: object) -> RunConfig:
    return with_values(config, {section: values}, where="test")


def on(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    """Let this be a machine with a GPU ("gpu"), or one without."""
    monkeypatch.setattr(presets, "this_machine", lambda: machine)
    monkeypatch.setattr(presets, "DEFAULT_BACKEND", {"gpu": "voxels", "cpu": "fusion"}[machine])


def voxels(name: str, machine: str) -> RunConfig:
    """Options of a preset on a kind of machine, with that backend."""
    return replace(preset(name, machine), backend="voxels")


def made(out: Path, config: RunConfig, *files: str) -> Workspace:
    """A run folder that has a surface made with `config`."""
    workspace = Workspace(out)
    folder = workspace.partial_dir("surface")
    folder.mkdir(parents=True)
    (folder / "attempt.json").write_text("{}")
    for name in files:
        (folder / name).write_text("x")
    write_run_file(out, (out,), plain(config), "1")
    workspace.commit("surface", StageRecord("f", "r", {}, "", (), 1.0, 1, ()))
    return workspace


def test_fusion_does_not_depend_on_how_voxels_would_be_trained():
    base = of(FUSION)
    assert of(having(FUSION, "voxels", n_iter=5, lambda_ssim=0.5, bound_scale=2.0)) == base
    assert of(having(FUSION, "surface", voxel_factor=2.0)) != base


def test_voxels_depend_on_their_options_and_on_those_of_the_cloud_only():
    base = of(VOXELS)
    assert base != of(FUSION)
    assert base != of(having(VOXELS, "voxels", n_iter=7))
    assert base != of(having(VOXELS, "voxels", bound=[0.0, 0, 0, 1, 1, 1]))
    assert base != of(having(VOXELS, "surface", cloud_voxel_size_m=0.3))
    for name, value in (("truncation_voxels", 9.0), ("max_voxels", 5), ("free_weight", 3.0)):
        assert base == of(having(VOXELS, "surface", **{name: value})), name


@pytest.mark.parametrize(
    "values", [{"device": "cuda"}, {"device": "cpu"}, {"data_device": "cpu"}, {"save_every": 3}]
)
def test_where_the_training_runs_does_not_count(values):
    assert of(having(VOXELS, "voxels", **values)) == of(VOXELS)


@pytest.mark.parametrize("machine", ["gpu", "cpu"])
def test_auto_is_fusion_until_voxels_are_measured_to_be_better(tmp_path, monkeypatch, machine):
    monkeypatch.setattr(presets, "this_machine", lambda: machine)
    assert presets.settled(RunConfig(), Workspace(tmp_path)).backend == "fusion"


def test_hiding_the_gpu_makes_a_machine_without(monkeypatch):
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert this_machine() == "cpu"


def test_the_options_of_a_preset_follow_the_machine(tmp_path, monkeypatch):
    on(monkeypatch, "gpu")
    for name in PRESETS:
        given = voxels(name, "cpu")
        settled = presets.settled(given, Workspace(tmp_path))
        assert settled == voxels(name, "gpu") != given
        own = {"n_iter": 77, "bound": [0, 0, 0, 1, 1, 1], "view_every": 7, "data_device": "cpu"}
        settled = presets.settled(having(given, "voxels", **own), Workspace(tmp_path))
        assert settled == having(voxels(name, "gpu"), "voxels", **own)  # by the user, stay
        for_cpu = having(given, "voxels", device="cpu")
        assert presets.settled(for_cpu, Workspace(tmp_path)) == for_cpu


@pytest.mark.parametrize("backend", ["auto", "voxels"])
def test_what_a_gpu_trained_stays_when_the_run_comes_back(tmp_path, monkeypatch, backend):
    trained = voxels("standard", "gpu")
    workspace = made(tmp_path, replace(trained, backend=backend), "model.npz")
    on(monkeypatch, "cpu")
    same_command = replace(preset("standard", "cpu"), backend=backend)
    back = presets.settled(same_command, workspace)
    assert back.backend == "voxels" and of(back) == of(trained)
    better = presets.settled(voxels("high", "cpu"), workspace)
    assert better.voxels == voxel_preset("high", "cpu")
    smaller = having(same_command, "voxels", sh_degree=0)
    assert presets.settled(smaller, workspace).voxels == smaller.voxels  # to be trained here


def test_what_was_trained_with_options_of_ones_own_stays_too(tmp_path, monkeypatch):
    own = {"max_voxels": 400_000, "sh_degree": 0}
    prepared = having(voxels("preview", "cpu"), "voxels", **own)
    on(monkeypatch, "gpu")
    trained = presets.settled(prepared, Workspace(tmp_path / "new"))
    workspace = made(tmp_path / "run", trained, "model.npz")
    on(monkeypatch, "cpu")
    assert of(presets.settled(prepared, workspace)) == of(trained) != of(prepared)
    assert of(presets.settled(trained, workspace)) == of(trained)


@pytest.mark.parametrize("machine", ["cpu", "gpu"])
@pytest.mark.parametrize("values", [{}, {"n_iter": 5000}, {"n_iter": 5000, "res_width": 1600}])
def test_options_of_no_preset_stay_on_their_kind_of_machine(tmp_path, monkeypatch, machine, values):
    own = replace(voxels("standard", machine), voxels=replace(VoxelConfig(), **values))
    on(monkeypatch, machine)
    assert presets.settled(own, Workspace(tmp_path)) == own


def test_auto_leaves_a_fused_surface(tmp_path, monkeypatch):
    workspace = made(tmp_path, RunConfig(), "mesh.npz")
    on(monkeypatch, "gpu")
    assert presets.settled(RunConfig(), workspace).backend == "fusion"
    assert presets.settled(VOXELS, workspace).backend == "voxels"


def test_torch_that_is_missing_is_told_before_anything_is_done(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "torch" else real(n))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_text("no photo at all")
    with pytest.raises(MissingPartError) as caught:
        list(run(tmp_path / "in", tmp_path / "out", VOXELS))
    assert "pip install 'voxterra[voxels]'" in str(caught.value)
    assert not list((tmp_path / "out").glob("stages/*/"))
    SURFACE.requires(FUSION)
    # A run that is only prepared here, to be trained elsewhere, gets as far as its photos.
    with pytest.raises(Exception, match="photo"):
        list(run(tmp_path / "in", tmp_path / "out2", VOXELS, until="depth"))


def test_a_gpu_that_is_asked_for_and_missing_is_told(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for option in ("device", "data_device"):
        asked = having(VOXELS, "voxels", device="cpu") if option == "data_device" else VOXELS
        with pytest.raises(UsageError, match="GPU") as error:
            SURFACE.requires(having(asked, "voxels", **{option: "cuda"}))
        flag = f"--voxels.{option.replace('_', '-')}"
        assert error.value.where == f"{flag} cuda" and f"({flag} " in str(error.value.next_step)
        SURFACE.requires(having(FUSION, "voxels", **{option: "cuda"}))


def test_a_gpu_that_is_missing_is_told_when_a_surface_is_to_be_made_anew(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = having(VOXELS, "voxels", device="cuda")
    out = tmp_path / "out"
    made(out, VOXELS, "model.npz")  # of other photos, so all is to be done again
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_text("no photo at all")
    with pytest.raises(UsageError, match="no NVIDIA GPU"):
        list(run(tmp_path / "in", out, asked))
    assert [p.name for p in out.glob("stages/*/")] == ["surface"]


def test_a_gpu_for_stereo_is_asked_for_before_anything_is_done(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_text("no photo at all")
    with pytest.raises(UsageError, match="GPU") as caught:
        list(run(tmp_path / "in", tmp_path / "out", having(FUSION, "depth", device="cuda")))
    assert caught.value.where == "--depth.device cuda"


def test_where_stereo_is_computed_makes_no_difference_to_its_result():
    depth = next(stage for stage in STAGES if stage.name == "depth")

    def of_depth(**options):
        config = depth.options(having(RunConfig(), "depth", **options))
        return fingerprint("depth", depth.code_version, config, {})

    assert of_depth(device="cuda") == of_depth(device="cpu") == of_depth()
    assert of_depth(seed=1) != of_depth()


def test_options_come_from_the_command_line_and_from_files(tmp_path):
    args = ["p", "--out", "o", "--backend", "voxels", "--voxels.n-iter", "9"]
    args += ["--voxels.lambda-R-concen", "0.5", "--voxels.bound", "0", "0", "0", "1", "1", "1"]
    given = parse(RunArguments, args, verb="run", description="", options=RunConfig()).options
    assert (given.backend, given.voxels.n_iter, given.voxels.lambda_R_concen) == ("voxels", 9, 0.5)
    assert given.voxels.bound == (0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
    write_options(given, tmp_path / "c.yaml")
    assert read_options(tmp_path / "c.yaml", preset("preview")) == given


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"n_iter": 0}, "--voxels.n-iter"),
        ({"sh_degree": 4}, "--voxels.sh-degree"),
        ({"res_downscale": 2.0, "res_width": 100}, "--voxels.res-downscale, --voxels.res-width"),
        ({"bound": [1.0, 0, 0, 0, 1, 1]}, "--voxels.bound"),
    ],
)
def test_options_of_training_out_of_range_are_named_as_in_a_run(values, flag):
    with pytest.raises(UsageError) as caught:
        check_config(having(RunConfig(), "voxels", **values))
    assert caught.value.where == flag and caught.value.next_step


def test_every_preset_trains_on_every_machine():
    assert set(VOXEL_PRESETS) == set(PRESETS)
    for name, machines in VOXEL_PRESETS.items():
        for machine in machines:
            check_config(preset(name, machine))
        assert voxel_preset(name, "cpu").n_iter < voxel_preset(name, "gpu").n_iter


def test_the_table_of_the_docs_is_that_of_the_presets():
    text = (Path(__file__).parents[2] / "docs/backends.md").read_text()
    for name in VOXEL_PRESETS:
        cpu, gpu = (voxel_preset(name, machine) for machine in ("cpu", "gpu"))
        cells = [f"{c.n_iter}, {c.res_width} px" for c in (cpu, gpu)]
        assert f"| `{name}` | {cells[0]} | {cells[1]} |" in text
