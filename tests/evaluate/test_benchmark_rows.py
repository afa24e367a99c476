"""The accuracy table asks only for figures that `voxterra eval` gives."""

import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh

from voxterra.core.mesh import TriMesh
from voxterra.core.raster import Grid
from voxterra.core.transforms import Similarity
from voxterra.evaluate.depth import DepthScore, PhotoDepth
from voxterra.evaluate.frame import FrameError
from voxterra.evaluate.poses import PoseScore
from voxterra.evaluate.raster import RasterScore
from voxterra.evaluate.surface import score_surface
from voxterra.io.truth.surface import TruthSurface

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def table(monkeypatch):
    if not BENCHMARKS.is_dir():
        pytest.skip("benchmarks/ is not in this copy")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import report
    import sets

    yield report, sets
    for name in ("report", "sets", "measure"):
        sys.modules.pop(name, None)


def figures_of_every_kind():
    ball = trimesh.creation.icosphere(subdivisions=1)
    mesh = TriMesh(ball.vertices.astype(np.float32), ball.faces.astype(np.int32))
    surface = score_surface(mesh, TruthSurface(mesh, np.ones(len(mesh.faces), bool)), samples=100)
    ones = np.ones((4, 4))
    photo = PhotoDepth("a", ones, ones * 1.01, ones > 0)
    raster = RasterScore("none", Grid(0, 0, 1, 4, 4), ones * 0.1, ones > 0, ones > 0)
    poses = PoseScore("none", 1, 1, ("a",), np.ones(1), np.ones(1), Similarity.identity())
    return {
        "poses": poses.to_dict(),
        "surface": surface.to_dict(),
        "depth": DepthScore("none", 1.0, (photo,), ()).to_dict(),
        "raster": raster.to_dict(),
        "frame": vars(FrameError(0.1, 0.1, 1.0, (0.0, 0.0, 0.0), 0.1)),
    }


def test_every_figure_of_the_table_exists(table):
    report, sets = table
    known = figures_of_every_kind()
    asked = 0
    for row in sets.ROWS.values():
        names = {e.name: known[e.verb] for e in row.evals}
        for check in row.checks:
            if check.figure.startswith("evals."):
                assert report.figure({"evals": names}, check.figure) is not None, check
                asked += 1
    assert asked >= 14


def test_the_threshold_of_the_mesh_score_is_20_cm(table):
    report, _ = table
    surface = figures_of_every_kind()["surface"]
    assert report.figure(surface, "thresholds.2.distance") == 0.2


def test_figures_are_judged(table):
    report, sets = table
    check = sets.Check("centres", "evals.poses.center_max", "<=", 0.05)
    assert report.judge(check, 0.05) == "yes" and "no" in report.judge(check, 0.051)
    assert report.judge(check, None) == "not measured"
    assert report.judge(sets.Check("stated", "x"), 3.0) == ""
    assert report.figure({"a": {"within_0.5_percent": 0.9}}, "a.within_0.5_percent") == 0.9
