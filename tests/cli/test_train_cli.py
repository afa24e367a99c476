"""`voxterra train`, `mesh` and `eval views` of sparse voxels, from the command line."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import voxel_models
import yaml
from PIL import Image as PilImage

from voxterra.cli.main import main
from voxterra.cli.mesh import _is_for_a_model
from voxterra.cli.train import parse
from voxterra.core.camera import Camera, PinholeView
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.core.voxels import VoxelModel
from voxterra.errors import UsageError
from voxterra.io.colmap.model import write_colmap
from voxterra.io.depth_store import depth_path, write_depth, write_views
from voxterra.io.ply import read_ply
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.model.folder import read_training, write_model, write_training
from voxterra.surface.voxels.options import Training

BASIC = ["--source_path", "data", "--model_path"]
SIZE = 64


def test_options_are_read_in_either_spelling(tmp_path):
    given = parse(
        [
            *BASIC, str(tmp_path / "out"), "--eval", "--n-iter", "20_000", "--lambda_ssim=1e-3",
            "--bound", "-1", "-2e-1", "-.5", "1", "2", "3", "--no_exposure", "--bound-mode=pcd",
            "--black_background", "true", "--image-dir-name", "images_4",
        ]
    )  # fmt: skip
    assert given.training.source_path == Path("data") and not given.resume
    assert given.training.image_dir_name == "images_4"
    assert given.training.config == VoxelConfig(
        eval=True,
        n_iter=20000,
        lambda_ssim=1e-3,
        bound=(-1.0, -0.2, -0.5, 1.0, 2.0, 3.0),
        bound_mode="pcd",
        black_background=True,
    )


def test_the_command_line_overrides_files_and_presets(tmp_path):
    for name, text in (("a", "n_iter: 1\nss: 2.0"), ("b", "model:\n  n_iter: 2\n")):
        (tmp_path / f"{name}.yaml").write_text(text)
    files = ["--cfg_files", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    given = parse([*files, "--preset", "object", *BASIC, str(tmp_path / "out"), "--sh_degree", "1"])
    config = given.training.config
    assert (config.n_iter, config.ss, config.sh_degree) == (2, 2.0, 1)
    assert config.white_background
    for off in (["--no-white-background"], ["--white_background", "false"]):
        turned_off = [*BASIC, str(tmp_path / "out"), *off, "--preset=object"]
        assert not parse(turned_off).training.config.white_background


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--lamda_ssim", "1"], "did you mean '--lambda-ssim'"),
        (["-x"], "no option '-x'"),
        (["--n_iter", "0"], "0 is no value for n_iter"),
        (["--bound_mode", "fowrard"], "did you mean 'forward'"),
        (["--preset", "uva"], "did you mean 'uav'"),
        (["--resume", "--overwrite"], "cannot both"),
    ],
)
def test_wrong_options_are_named(tmp_path, capsys, args, message):
    assert main(["train", *BASIC, str(tmp_path / "out"), *args]) == 2
    err = capsys.readouterr().err
    assert message in err and "next:" in err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "args", [["--n_iter", "1.5"], ["--n_iter"], ["--bound", "0", "0", "0"], ["stray"]]
)
def test_values_of_a_wrong_kind_are_named(tmp_path, capsys, args):
    with pytest.raises(SystemExit) as leaving:
        main(["train", *BASIC, str(tmp_path / "out"), *args])
    assert leaving.value.code == 2 and args[0].replace("_", "-") in capsys.readouterr().err


def test_a_background_of_two_colours_is_told_with_where_they_come_from(tmp_path):
    out = str(tmp_path / "out")
    args = [*BASIC, out, "--preset", "object", "--black_background"]
    with pytest.raises(UsageError, match="preset object") as error:
        parse(args)
    assert "--no_white_background" in error.value.next_step
    config = parse([*args, "--no_white_background"]).training.config
    assert config.black_background and not config.white_background
    (tmp_path / "a.yaml").write_text("black-background: true")
    with pytest.raises(UsageError, match=r"black from .*a\.yaml") as error:
        parse([*BASIC, out, "--cfg_files", str(tmp_path / "a.yaml"), "--white_background"])
    assert "--no_black_background" in error.value.next_step


def test_a_file_is_no_folder_for_a_model(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="this is a file") as error:
        parse([*BASIC, str(tmp_path / "out")])
    assert str(tmp_path / "out") in error.value.where


def test_training_needs_no_package_of_cameras_or_maps():
    """So that a run can be prepared on one machine and trained on another."""
    code = """
import sys
class Missing:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("pyproj", "rasterio", "pycolmap", "cv2", "laspy"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import voxterra.cli.eval.views, voxterra.cli.train, voxterra.pipeline.recipe.training
import voxterra.surface.voxels.evaluate, voxterra.surface.voxels.train
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_must_be_said(tmp_path, capsys):
    assert main(["train", "--source_path", "data"]) == 2
    assert "--model_path OUT" in capsys.readouterr().err
    assert main(["train", "--model_path", str(tmp_path / "out")]) == 2
    assert "--source_path DATA" in capsys.readouterr().err
    assert main(["train", *BASIC, str(tmp_path / "out"), "--cfg_files", str(tmp_path / "no")]) == 6
    assert str(tmp_path / "no") in capsys.readouterr().err
    assert main(["train", "--source_path", str(tmp_path), "--model_path", "out"]) == 4
    assert "sparse/0 (COLMAP)" in capsys.readouterr().err


def test_the_help_shows_every_option_with_the_default_that_holds(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("n_iter: 77")
    with pytest.raises(SystemExit):
        main(["train", "--cfg_files", str(tmp_path / "a.yaml"), "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert all(f"--{field.name.replace('_', '-')}" in text for field in fields(VoxelConfig))
    assert "(default: 77)" in text.split("--n-iter INT")[1][:80]


def test_a_model_is_not_overwritten_unasked(tmp_path):
    first = Training(Path("data"), "photos", VoxelConfig(n_iter=7, bound=(0, 0, 0, 1, 1, 1)))
    write_training(first, tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UsageError, match="holds a model already"):
        parse([*BASIC, str(tmp_path)])
    assert parse([*BASIC, str(tmp_path), "--overwrite"]).training.config == VoxelConfig()
    resumed = parse(["--model_path", str(tmp_path), "--resume", "--ss", "1"])
    assert resumed.resume and resumed.training.source_path == Path("data").absolute()
    assert resumed.training.image_dir_name == "photos"
    assert resumed.training.config == replace(first.config, ss=1.0)


def test_the_same_command_resumes_a_stopped_training(tmp_path):
    command = [*BASIC, str(tmp_path), "--n_iter", "7", "--bound", "0", "0", "0", "1", "1", "1"]
    assert not parse(command).resume
    write_training(parse(command).training, tmp_path)
    (tmp_path / "checkpoints").mkdir()
    assert parse(command).resume
    with pytest.raises(UsageError, match="holds a model already"):
        parse([*command, "--ss", "1"])
    (tmp_path / "model.npz").touch()  # it has come to its end
    with pytest.raises(UsageError, match="holds a model already"):
        parse(command)


# --- with a model: a sphere of known colours ---------------------------------------------------


def sphere_model() -> VoxelModel:
    def distance(points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points, axis=-1) - 0.6

    wanted = voxel_models.around_surface(distance, lambda at: np.full(len(at), 6))
    model = voxel_models.model_of(distance, *voxel_models.tree(wanted, edge=4.0))
    sharpness = np.log(99) / 2 * 2.0 ** np.arange(17) / 4.0
    return replace(model, sharpness=sharpness.astype(np.float32))


def views_around() -> tuple[PinholeView, ...]:
    K = np.array([[80.0, 0, SIZE / 2], [0, 80.0, SIZE / 2], [0, 0, 1]])
    camera = Camera("PINHOLE", SIZE, SIZE, (80.0, 80.0, SIZE / 2, SIZE / 2))
    out = []
    for i in range(6):
        angle = 2 * math.pi * i / 6
        back = np.array([math.cos(angle), math.sin(angle), 0.3])
        forward = -back / np.linalg.norm(back)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.array([right, np.cross(forward, right), forward])
        pose = np.hstack([rotation, rotation @ -(2.5 * -forward)[:, None]])
        out.append(PinholeView(f"{i}.png", K, pose, SIZE, SIZE, camera))
    return tuple(out)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> tuple[Path, VoxelModel]:
    """A COLMAP folder whose photos are renders of a sphere, and that sphere."""
    import torch

    from voxterra.surface.voxels.model.render import render_view, to_device

    folder, model, views = tmp_path_factory.mktemp("sphere"), sphere_model(), views_around()
    none = SparsePoints(
        np.empty((0, 3)), np.empty((0, 3), np.uint8), np.empty(0), np.zeros(1, np.int64),
        np.empty(0, np.int32), np.empty((0, 2)),
    )  # fmt: skip
    images = tuple(Image(view.name, 1, view.cam_from_world) for view in views)
    write_colmap(Reconstruction({1: views[0].camera}, images, none), folder / "sparse" / "0")
    (folder / "images").mkdir()
    voxels = to_device(model, "cpu")
    for view in views:
        with torch.no_grad():
            color = render_view(voxels, view, ss=VoxelConfig().ss).color.clamp(0, 1)
        pixels = np.rint(color.numpy() * 255).astype(np.uint8)
        assert len(np.unique(pixels)) > 20  # something is there
        PilImage.fromarray(pixels).save(folder / "images" / view.name)
    return folder, model


@pytest.fixture(scope="module")
def trained(scene, tmp_path_factory) -> Path:
    """The folder that `voxterra train` leaves when the training finds the very sphere."""
    source, model = scene
    out = tmp_path_factory.mktemp("models") / "out"

    def find_it(scene, config, *, out, resume, progress):
        assert len(scene.training) == 4 and config.n_iter == 3 and not resume
        progress(1.0, "found")
        return replace(model, metadata={"source": scene.source})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("voxterra.surface.voxels.train.train", find_it)
        args = ["--source_path", str(source), "--model_path", str(out), "--n_iter", "3"]
        assert main(["train", *args, "--eval", "--test_every", "3", "--device", "cpu"]) == 0
    return out


def test_train_leaves_a_model_folder(trained, scene):
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["source_path"] == str(scene[0]) and config["n_iter"] == 3 and config["eval"]
    assert read_training(trained).config.test_every == 3
    assert len(json.loads((trained / "views.json").read_text())["views"]) == 4
    assert sorted(p.name for p in (trained / "test_view").iterdir()) == ["0.png", "3.png"]
    figures = json.loads((trained / "test_stat" / "views.json").read_text())
    assert figures["held_out"]["views"] == 2 and "train" not in figures
    # Photos are renders of that model, rounded to 8 bits: 58.9 dB if the errors are uniform.
    assert figures["held_out"]["psnr"] > 50 and figures["held_out"]["ssim"] > 0.99


def test_train_yields_the_events_of_a_run(scene, tmp_path, capfd):
    """As JSON; with a warning about an option, and the folder's journal and log."""
    source, model = scene
    out = tmp_path / "out"
    args = ["--source_path", str(source), "--model_path", str(out), "--device", "cpu", "--json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("voxterra.surface.voxels.train.train", lambda *_, **__: model)
        assert main(["train", *args, "--subdivide_save_gpu"]) == 0
    printed = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert printed[0]["event"] == "RunStarted" and printed[0]["stages"] == ["photos", "train"]
    assert printed[-1]["event"] == "RunFinished"
    finished = [e["stage"] for e in printed if e["event"] == "StageFinished"]
    assert finished == ["photos", "train"]
    assert [e["path"] for e in printed if e["event"] == "ProductWritten"] == ["model.npz"]
    warning = next(e for e in printed if e["event"] == "StageWarning")
    assert "subdivide_save_gpu has no effect" in warning["message"]
    assert (out / "log.txt").is_file() and (out / "events.jsonl").is_file()


def test_eval_views_scores_training_views_too(trained, capsys):
    assert main(["eval", "views", str(trained), "--train"]) == 0
    out = capsys.readouterr().out
    assert "held out, mean" in out and "training, mean" in out and "5.png" in out
    assert "LPIPS is not measured: " in out or "LPIPS" in out.splitlines()[0]
    assert main(["eval", "views", str(trained), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in figures["each"]] == ["0.png", "3.png"]


def test_mesh_from_the_voxels(trained, capsys):
    assert main(["mesh", str(trained)]) == 0
    out = capsys.readouterr().out
    mesh, _ = read_ply(trained / "mesh.ply")
    assert str(trained / "mesh.glb") in out and (trained / "mesh.glb").read_bytes()[:4] == b"glTF"
    radius = np.linalg.norm(mesh.vertices, axis=1)
    assert len(mesh.faces) > 1000 and np.abs(radius - 0.6).max() < 0.01
    assert mesh.colors is not None


def test_mesh_of_what_stereo_measured(trained, tmp_path, scene, capsys):
    from voxterra.surface.voxels.model.depth_maps import depth_maps_of
    from voxterra.surface.voxels.model.render import to_device

    args = ["mesh", str(trained), "--measured", "--out", str(tmp_path / "part.ply")]
    assert main(args) == 2 and "--stereo" in capsys.readouterr().err
    held_out, seen = views_around()[:2]
    maps = depth_maps_of(to_device(scene[1], "cpu"), (seen,))
    stereo = trained / "stereo" / "depth"
    write_depth(maps.load(0), depth_path(stereo, 0))
    try:
        write_views((held_out,), stereo)  # of an earlier model
        assert main(args) == 2 and "belong to other cameras" in capsys.readouterr().err
        write_views(maps.views, stereo)
        assert main(args) == 0
    finally:
        shutil.rmtree(trained / "stereo")
    mesh, _ = read_ply(tmp_path / "part.ply")
    to_camera = maps.views[0].center_in_world / np.linalg.norm(maps.views[0].center_in_world)
    ahead = mesh.vertices[np.unique(mesh.faces)] @ to_camera
    assert len(mesh.faces) > 100 and ahead.min() > 0.0 and ahead.max() > 0.55


@pytest.mark.slow
def test_mesh_from_rendered_depth_within_a_box(trained, tmp_path):
    target = tmp_path / "half.ply"
    box = ["--bound", "-1", "-1", "-1", "1", "1", "0.1"]
    args = ["--method", "tsdf", "--out", str(target), "--voxel_size", "0.04", *box]
    assert main(["mesh", str(trained), *args, "--device", "cpu"]) == 0
    mesh, _ = read_ply(target)
    radius = np.linalg.norm(mesh.vertices, axis=1)
    assert len(mesh.faces) > 200 and np.abs(np.median(radius) - 0.6) < 0.02
    far = ["--method", "tsdf", "--voxel_size", "0.1", "--bound", "0.6", "0.6", "0.6", "1", "1", "1"]
    assert main(["mesh", str(trained), *far, "--device", "cpu"]) == 10
    assert 0.09 < mesh.vertices[:, 2].max() <= 0.1 + 1e-6


def test_a_gpu_that_is_missing_is_told_before_a_model_is_taken_away(trained, monkeypatch, capsys):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = {p: p.read_bytes() for p in trained.glob("*.*")}
    source = str(read_training(trained).source_path)
    for option in ("--device", "--data_device"):
        for road in (["--overwrite", "--source_path", source], ["--resume"]):
            assert main(["train", "--model_path", str(trained), *road, option, "cuda"]) == 2
            err = capsys.readouterr().err
            assert "no NVIDIA GPU" in err and f"{option} cuda" in err
    assert before == {p: p.read_bytes() for p in trained.glob("*.*")}


def test_going_on_with_what_is_not_there_is_told(trained, tmp_path, capsys):
    missing = tmp_path / "modle"
    assert main(["train", "--model_path", str(missing), "--resume"]) == 3
    err = capsys.readouterr().err
    assert "does not exist" in err and str(missing) in err and "Check the path" in err
    assert f"--source_path DATA --model_path {missing}" in err and not missing.exists()
    missing.mkdir()
    assert main(["train", "--model_path", str(missing), "--resume"]) == 3
    assert "holds no training to resume" in capsys.readouterr().err
    write_training(Training(None, "images", VoxelConfig()), missing)  # as the surface of a run
    assert main(["train", "--model_path", str(missing), "--resume"]) == 3
    err = capsys.readouterr().err
    assert "does not record which photos" in err and "--source_path DATA" in err
    # A command that may be the first or a later one resumes, or starts.
    given = parse([*BASIC, str(tmp_path / "new"), "--resume"])
    assert given.resume and given.training.source_path == Path("data")


def test_no_method_writes_over_the_mesh_of_the_other(trained, capsys):
    assert main(["mesh", str(trained), "--method", "sdf"]) == 0
    before = {name: (trained / name).read_bytes() for name in ("mesh.ply", "mesh.glb")}
    capsys.readouterr()
    args = ["--method", "tsdf", "--voxel_size", "0.1", "--device", "cpu"]
    assert main(["mesh", str(trained), *args]) == 0
    assert before == {name: (trained / name).read_bytes() for name in before}
    mesh, _ = read_ply(trained / "mesh_tsdf.ply")
    assert len(mesh.faces) > 100 and (trained / "mesh_tsdf.glb").read_bytes()[:4] == b"glTF"
    assert str(trained / "mesh_tsdf.ply") in capsys.readouterr().out


def test_what_cannot_be_meshed_or_scored(trained, tmp_path, capsys):
    assert main(["mesh", str(trained), "--out", "mesh.obj"]) == 2
    assert main(["mesh", str(trained), "--bound", "0", "0", "0", "0", "1", "1"]) == 2
    assert main(["mesh", str(tmp_path)]) == 2  # neither a run nor a model
    assert str(tmp_path) in capsys.readouterr().err
    assert main(["mesh", str(tmp_path / "nonsuch")]) == 2
    err = capsys.readouterr().err
    assert "nonsuch" in err and "voxterra train" in err
    assert main(["depth", str(tmp_path)]) == 2 and "trained" not in capsys.readouterr().err
    assert main(["mesh", "--model_path", str(tmp_path)]) == 3
    assert "no trained model here" in capsys.readouterr().err
    assert main(["eval", "views", str(tmp_path)]) == 3
    write_training(Training(trained, "images", VoxelConfig()), tmp_path)
    (tmp_path / "checkpoints").mkdir()
    assert main(["mesh", str(tmp_path)]) == 3
    assert "--resume" in capsys.readouterr().err
    write_model(sphere_model(), tmp_path, quantized=True)
    source = str(read_training(trained).source_path)
    assert main(["eval", "views", str(tmp_path), "--source_path", source]) == 3
    assert "No view was held out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["--bound", "nan", "0", "0", "1", "1", "1"], 2, "no box"),
        (["--voxel_size", "0.1"], 2, "--method tsdf"),
        (["--method", "tsdf", "--voxel_size", "0"], 2, "--voxel_size"),
        (["--method", "tsdf", "--voxel_size", "nan"], 2, "--voxel_size"),
        (["--bound", "5", "5", "5", "6", "6", "6"], 10, "Give another box"),
        (["--method", "tsdf", "--voxel_size", "1e-5"], 10, "(--voxel_size)"),
    ],
)
def test_numbers_that_make_no_mesh_are_told(trained, tmp_path, capsys, args, code, told):
    target = tmp_path / "part.ply"
    assert main(["mesh", str(trained), "--out", str(target), *args]) == code
    err = capsys.readouterr().err
    assert told in err and "--surface" not in err and not target.exists()


def test_mesh_knows_runs_from_models(tmp_path, trained):
    assert _is_for_a_model([str(trained)]) and _is_for_a_model(["--method", "sdf", "x"])
    assert _is_for_a_model(["--help"]) and not _is_for_a_model([str(tmp_path), "--help"])
    assert not _is_for_a_model([str(tmp_path), "--mesh.faces", "10"])


def test_training_anew_takes_the_old_pictures_and_meshes_away(trained, scene, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(trained, out)
    left = ("mesh.ply", "mesh.glb", "mesh_tsdf.ply", "mesh_tsdf.glb", "views.json")
    (out / "stereo").mkdir()
    for name in (*left, "notes.txt", "stereo/mine"):
        (out / name).write_text("of the first model")

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("voxterra.surface.voxels.train.train", stop)
        from voxterra.cli.train import run

        args = ["--source_path", str(scene[0]), "--model_path", str(out), "--overwrite"]
        assert run(args) == 130
    assert not (out / "model.npz").exists() and not (out / "test_view").exists()
    assert not any((out / name).exists() for name in left)
    assert (out / "config.yaml").exists()
    assert (out / "notes.txt").exists() and (out / "stereo" / "mine").exists()


def test_lpips_is_measured_only_where_its_weights_are(monkeypatch, tmp_path):
    import types

    import torch

    from voxterra.surface.voxels import evaluate

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(evaluate, "find_spec", lambda name: None)
    assert evaluate.why_no_lpips() == "the package lpips is not installed"
    monkeypatch.setattr(evaluate, "find_spec", lambda name: object())
    assert evaluate.BACKBONE in str(evaluate.why_no_lpips())
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / evaluate.BACKBONE).write_bytes(b"weights")
    assert evaluate.why_no_lpips() is None

    class Network(torch.nn.Module):
        def __init__(self, **_):
            super().__init__()

        def forward(self, a, b):
            assert a.shape == (1, 3, 4, 5) and a.min() >= -1
            return (a - b).abs().mean()

    monkeypatch.setitem(sys.modules, "lpips", types.SimpleNamespace(LPIPS=Network))
    distance = evaluate.load_lpips(torch.device("cpu"))
    assert distance(torch.ones(4, 5, 3), torch.zeros(4, 5, 3)) == 2.0


@pytest.mark.slow
def test_a_real_training_stopped_and_gone_on_with(scene, tmp_path):
    source, out = scene[0], tmp_path / "out"
    options = ["--device", "cpu", "--max_level", "5", "--save_every", "10", "--view_every", "0"]
    start = ["--source_path", str(source), "--init", "sphere", "--init_level", "5", *options]
    bound = ["--bound", "-1", "-1", "-1", "1", "1", "1", "--model_path", str(out)]

    def psnr() -> float:
        assert main(["eval", "views", str(out), "--train"]) == 0
        figures = json.loads((out / "test_stat" / "views.json").read_text())
        return figures["train"]["psnr"]

    assert main(["train", *start, *bound, "--n_iter", "30"]) == 0
    first = psnr()
    assert main(["train", "--model_path", str(out), "--resume", "--n_iter", "150"]) == 0
    assert psnr() > first + 3
    assert main(["mesh", str(out)]) == 0 and (out / "mesh.ply").exists()
