"""`voxterra eval dtu` and `voxterra eval tanks`, from files in the benchmarks' formats."""

import json

import numpy as np
import pytest
from benchmark_files import (
    joined,
    plate,
    sphere,
    sphere_points,
    write_dtu,
    write_idr,
    write_log,
    write_mesh,
    write_tanks,
)
from PIL import Image

from voxterra.cli import display
from voxterra.cli.main import main
from voxterra.core.transforms import Similarity

RADIUS = 6.0
K = np.array([[100.0, 0, 49.5], [0, 100.0, 49.5], [0, 0, 1]])
VIEWS = [
    np.hstack([np.eye(3), [[0], [0], [40.0]]]),
    np.hstack([[[0, 0, -1], [0, 1, 0], [1, 0, 0]], [[0], [0], [40.0]]]),
]


@pytest.fixture(scope="module")
def dtu(tmp_path_factory):
    """Two scans of a ball; each mesh is too large by a known step and has a ball aside."""
    root = tmp_path_factory.mktemp("dtu")
    y, x = np.mgrid[:100, :100] - 49.5
    disk = np.hypot(x, y) < 100 * (RADIUS + 1) / 40 * 1.02
    for scan in (24, 37):
        write_idr(root / f"scenes/scan{scan}", K, VIEWS, [disk, disk], 10.0, (0, 0, 0))
    everywhere = np.ones((41, 41, 41), bool)
    for scan, step in ((24, 0.5), (37, 1.0)):
        points = sphere_points(RADIUS, 0.15)
        write_dtu(root / "truth", scan, points, everywhere, (-20, -20, -20), 1.0, (0, 0, 0, 1))
        ball, aside = sphere(RADIUS + step), sphere(2.0, (0.0, 11.0, 0.0), 3)
        write_mesh(root / f"out/scan{scan}/mesh.ply", joined(ball, aside))
    return root


def run(*args):
    assert main(["eval", *map(str, args)]) == 0


def said(capsys, *args):
    assert main(["eval", *map(str, args)]) != 0
    return capsys.readouterr().err


def test_scans_of_dtu_make_a_table(dtu, capsys, tmp_path):
    run(
        *("dtu", dtu / "out/scan{scan}", dtu / "truth", "--scans", "24", "37"),
        *("--scene", dtu / "scenes/scan{scan}", "--dilation-px", "2"),
        *("--picture", tmp_path / "{scan}.png", "--json"),
    )
    table = json.loads(capsys.readouterr().out)
    assert table["scans"]["24"]["overall_mm"] == pytest.approx(0.5, abs=0.03)
    assert table["scans"]["37"]["overall_mm"] == pytest.approx(1.0, abs=0.03)
    assert table["mean"]["overall_mm"] == pytest.approx(0.75, abs=0.03)
    assert table["settings"] == {
        "gap_mm": 0.2,
        "limit_mm": 20.0,
        "cull": "masks",
        "dilation_px": 2.0,
    }
    written = json.loads((dtu / "out/test_stat/dtu.json").read_text())
    assert written["mean"] == table["mean"]
    assert (dtu / "out/test_stat/dtu.csv").read_text().splitlines()[-1].startswith("mean,")
    for scan in (24, 37):
        with Image.open(tmp_path / f"{scan}.png") as image:
            assert image.width > 1000 and len(image.getcolors(1 << 20)) > 20


def test_scans_one_after_the_other(dtu, capsys, tmp_path):
    for scan in (37, 24):
        run(
            *("dtu", dtu / f"out/scan{scan}/mesh.ply", dtu / "truth", "--scans", scan),
            *("--cull", "none", "--stat", tmp_path),
        )
    printed = capsys.readouterr().out
    assert "overall" in printed and "mean" in printed
    table = json.loads((tmp_path / "dtu.json").read_text())
    assert list(table["scans"]) == ["24", "37"]
    # Without culling the ball aside counts.
    assert table["scans"]["24"]["accuracy_mm"] > 0.7


def test_scoring_tells_how_far_it_is(dtu, tanks, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(display, "PLAIN_EVERY_S", 0.0)
    scans = ("dtu", dtu / "out/scan{scan}", dtu / "truth", "--scans", 24, 37)
    scans = (*scans, "--scene", dtu / "scenes/scan{scan}", "--stat", tmp_path)
    scenes = ("tanks", tanks / "published", tanks, "--scenes", "Courthouse", "--stat", tmp_path)
    for args, name, messages in (
        (scans, "scan 37", ("reading the truth", "mask 1/2", "thinning", "truth to result")),
        (scenes, "Courthouse", ("reading the truth", "alignment, stage 2", "distances")),
    ):
        run(*args)
        lines = [x for x in capsys.readouterr().out.splitlines() if x.startswith(f"{name}:")]
        assert all(any(message in line for line in lines) for message in messages)
        told = [int(line.partition("%")[0].split()[-1]) for line in lines if "%" in line]
        assert told == sorted(told) and told[-1] == 100
        run(*args, "--json")
        json.loads(capsys.readouterr().out)  # and nothing beside it


def test_a_mesh_in_the_unit_sphere_is_moved_to_the_world(dtu, capsys, tmp_path):
    ball = sphere(RADIUS + 0.5)
    inside = sphere(1.0, subdivisions=3)
    vertices, faces = joined(ball, inside)
    mesh = write_mesh(tmp_path / "mesh.ply", (vertices / 10.0, faces))
    args = ("dtu", mesh, dtu / "truth", "--scans", "24", "--scene", dtu / "scenes/scan24")
    run(*args, "--normalised", "--json")
    hidden = json.loads(capsys.readouterr().out)["mean"]
    assert hidden["accuracy_mm"] > 0.55
    # The small ball inside is seen by no camera; nor are the sides that face neither of two.
    run(*args, "--normalised", "--cull", "seen", "--stat", tmp_path / "seen", "--json")
    seen = json.loads(capsys.readouterr().out)["mean"]
    assert seen["accuracy_mm"] == pytest.approx(0.5, abs=0.02)
    assert seen["result_points"] < 0.85 * hidden["result_points"]
    run(*args, "--cull", "none", "--stat", tmp_path / "as_it_is", "--json")
    assert json.loads(capsys.readouterr().out)["mean"]["accuracy_mm"] > 5


def test_what_is_wrong_with_dtu_is_said(dtu, capsys, tmp_path):
    one = ("dtu", dtu / "out/scan24", dtu / "truth")
    assert "--scans 24" in said(capsys, *one)
    assert "{scan}" in said(capsys, *one, "--scans", 24, 37)
    assert "--cull none" in said(capsys, *one, "--scans", 24)
    assert "above 0" in said(capsys, *one, "--scans", 24, "--gap-mm", 0)
    assert "mesh.ply" in said(capsys, "dtu", tmp_path, dtu / "truth", "--scans", 24)
    assert "stl055_total.ply" in said(capsys, *one, "--scans", 55, "--cull", "none")
    assert "did you mean '--cull'" in said(capsys, *one, "--scans", 55, "--culll", "none")


@pytest.fixture(scope="module")
def tanks(tmp_path_factory):
    """A plate of 2 by 1; three quarters of it were reconstructed, in a world of their own."""
    root = tmp_path_factory.mktemp("tanks")
    x, y = np.meshgrid(np.arange(0.0, 2, 0.005) + 0.0025, np.arange(0.0, 1, 0.005) + 0.0025)
    points = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, 0.0125)])
    polygon = [[-1, -1, 0], [3, -1, 0], [3, 2, 0], [-1, 2, 0]]
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    centers = np.random.default_rng(0).normal(size=(6, 3))
    cameras = np.tile(np.eye(4), (6, 1, 1))
    cameras[:, :3, 3] = centers
    write_tanks(root, "Courthouse", points, polygon, "Z", (-1, 1), matrix, cameras)
    vertices, faces = plate((0, 0), (1.5, 1), z=0.0125, step=0.1)
    write_mesh(root / "published/mesh.ply", (vertices / 2.0, faces))
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    own = Similarity(0.5, turn, np.array([1.0, 2, 3]))
    write_mesh(root / "own/mesh.ply", (own.apply(vertices / 2.0), faces))
    cameras[:, :3, :3] = turn
    cameras[:, :3, 3] = own.apply(centers)
    write_log(root / "own/cameras.log", cameras)
    return root


def test_a_scene_of_tanks_and_temples(tanks, capsys, tmp_path):
    scored = []
    for args in (
        ("published", "--refine", "none"),
        ("own", "--refine", "none", "--cameras", tanks / "own/cameras.log"),
        ("published",),
    ):
        run(
            *("tanks", tanks / args[0], tanks, "--scenes", "Courthouse", *args[1:], "--json"),
            *("--stat", tmp_path / str(len(scored)), "--picture", tmp_path / "errors.png"),
        )
        scored.append(json.loads(capsys.readouterr().out)["scans"]["Courthouse"])
    for row in scored:
        assert row["precision"] == pytest.approx(1.0, abs=0.005)
        assert row["recall"] == pytest.approx(1.525 / 2, abs=0.01)
        assert row["threshold"] == 0.025
    assert scored[0]["scale_truth_from_world"] == pytest.approx(2.0)
    assert scored[1]["scale_truth_from_world"] == pytest.approx(4.0)
    with Image.open(tmp_path / "errors.png") as image:
        assert image.width > 1000
    run("tanks", tanks / "published", tanks, "--scenes", "Courthouse", "--threshold", "0.05")
    assert "F1" in capsys.readouterr().out
    assert (tanks / "published/test_stat/tanks.csv").is_file()


def test_what_is_wrong_with_tanks_is_said(tanks, capsys):
    assert "--scenes Barn" in said(capsys, "tanks", tanks / "own", tanks)
    assert "'Barn'" in said(capsys, "tanks", tanks / "own", tanks, "--scenes", "barn")
    assert "Barn.ply" in said(capsys, "tanks", tanks / "own", tanks, "--scenes", "Barn")
    away = said(capsys, "tanks", tanks / "own", tanks, "--scenes", "Courthouse")
    assert "--cameras" in away and "scan Courthouse" in away
