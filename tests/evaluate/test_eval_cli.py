"""`voxterra eval` on a run made of the truth itself, moved into another world by a known amount."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as PilImage
from scipy.spatial.transform import Rotation

from voxterra.cli.eval import eval as eval_cli
from voxterra.cli.main import main
from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap
from voxterra.core.georeference import Georeference, Placement
from voxterra.core.mesh import TriMesh
from voxterra.core.raster import Grid, SurfaceRaster
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.core.surface_source import SurfaceSource
from voxterra.core.transforms import Similarity
from voxterra.evaluate.raster import drape
from voxterra.io.colmap.model import write_colmap
from voxterra.io.depth_store import depth_path, write_depth, write_views
from voxterra.io.georeference import write_georeference
from voxterra.io.geotiff import write_dsm
from voxterra.io.ply import write_ply_mesh
from voxterra.io.truth.cameras import read_truth_cameras
from voxterra.io.truth.surface import read_truth_surface
from voxterra.kernels.raster.zbuffer import rasterize_depth

TILT_DEG, SCALE, SHIFT_M = 1.5, 1.01, (1.4, -0.6, 2.5)
TURN = Rotation.from_rotvec([np.radians(TILT_DEG), 0.0, 0.0]).as_matrix()
# What the GPS of the run got wrong, in the truth's own frame.
WORLD_FROM_TRUTH = Similarity(SCALE, TURN, np.array(SHIFT_M))


@pytest.fixture(scope="module")
def run(tmp_path_factory, request):
    shared_data = request.getfixturevalue("shared_data")
    folder = shared_data("synthetic_uav")
    out = tmp_path_factory.mktemp("run")
    truth, surface = read_truth_cameras(folder), read_truth_surface(folder)
    frame = replace(truth.frame, crs="EPSG:32632")
    images = tuple(
        Image(name, 1, WORLD_FROM_TRUTH.apply_to_cam_from_source(pose))
        for name, pose in zip(truth.names[:20], truth.cam_from_world, strict=False)
    )
    none = SparsePoints(
        np.zeros((0, 3)),
        np.zeros((0, 3), np.uint8),
        np.zeros(0),
        np.zeros(1, np.int64),
        np.zeros(0, np.int32),
        np.zeros((0, 2)),
    )
    model = Reconstruction({1: truth.cameras[0]}, images, none)
    georef = out / "stages" / "georef"
    write_colmap(model, _made(georef / "component_0"))
    placement = Placement(Similarity.identity(), True, "gps")
    write_georeference(Georeference(frame, (model,), (placement,)), georef / "georeference.json")
    mesh = TriMesh(
        WORLD_FROM_TRUTH.apply(surface.mesh.vertices).astype(np.float32), surface.mesh.faces
    )
    write_ply_mesh(mesh, _made(out / "products") / "scene.ply", frame)
    write_dsm(_dsm(mesh, frame), out / "products" / "dsm.tif", frame)
    _write_depth(mesh, truth.cameras[0], images[:13:12], _made(out / "stages" / "depth"))
    return SimpleNamespace(out=out, truth=folder, mesh=mesh)


def _made(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _dsm(mesh, frame):
    center = frame.to_map(np.zeros((1, 3)))[0]
    grid = Grid(center[0] - 75.0, center[1] + 75.0, 0.3, 500, 500)
    heights, _ = drape(mesh, Similarity.identity(), frame, grid)
    source = np.where(np.isfinite(heights), SurfaceSource.MEASURED, SurfaceSource.NONE).astype(
        np.uint8
    )
    return SurfaceRaster(grid, heights, source)


def _write_depth(mesh, camera, images, folder):
    K = np.array([[343.0, 0, 260.0], [0, 343.0, 196.0], [0, 0, 1]])
    views = tuple(PinholeView(i.name, K, i.cam_from_world, 520, 392, camera) for i in images)
    write_views(views, folder)
    for index, view in enumerate(views):
        in_cam = mesh.vertices @ view.cam_from_world[:, :3].T + view.cam_from_world[:, 3]
        depth, _ = rasterize_depth(in_cam, mesh.faces, K, 520, 392)
        normal = np.zeros((392, 520, 3), np.float32)
        confidence = (depth > 0).astype(np.float32)
        write_depth(DepthMap(view, depth, normal, confidence), depth_path(folder, index))


def scored(capsys, *args):
    assert eval_cli.run([*map(str, args), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_poses(run, capsys):
    figures = scored(capsys, "poses", run.out, run.truth)
    assert (figures["registered"], figures["total"]) == (20, 24)
    assert figures["center_max"] < 1e-5 and figures["rotation_max_deg"] < 1e-4
    assert figures["scale_truth_from_world"] == pytest.approx(1 / SCALE)
    plain = scored(capsys, "poses", run.out, run.truth, "--align", "none")
    assert plain["rotation_mean_deg"] == pytest.approx(TILT_DEG, abs=1e-3)
    assert 2.0 < plain["center_mean"] < 5.0


def test_frame(run, capsys):
    figures = scored(capsys, "frame", run.out, run.truth)
    assert figures["tilt_deg"] == pytest.approx(TILT_DEG, abs=1e-3)
    assert figures["scale_ratio"] == pytest.approx(SCALE, rel=1e-6)


def test_depth(run, capsys, tmp_path):
    picture = tmp_path / "depth.png"
    figures = scored(capsys, "depth", run.out, run.truth, "--picture", picture)
    assert [p["name"] for p in figures["photos"]] == ["DJI_0001.jpg", "DJI_0013.jpg"]
    assert figures["photos_without_depth_map"] == ["DJI_0024"]
    assert figures["scale"] == pytest.approx(1 / SCALE)
    for group in ("pooled", "pooled_seen"):
        assert figures[group]["completeness"] > 0.99
        assert figures[group]["within_0.5_percent"] > 0.98  # edges of roofs fall between pixels
        assert abs(figures[group]["median_bias"]) < 2e-5
    unscaled = scored(capsys, "depth", run.out, run.truth, "--align", "none")
    assert unscaled["pooled"]["median_bias"] == pytest.approx(SCALE - 1, abs=1e-4)
    with PilImage.open(picture) as image:
        assert image.width > 1000


def test_surface(run, capsys, tmp_path):
    picture = tmp_path / "surface.png"
    args = ("surface", run.out, run.truth, "--samples", "4000")
    figures = scored(capsys, *args, "--thresholds", "0.01", "1.0", "--picture", picture)
    assert [t["f_score"] for t in figures["thresholds"]] == [1.0, 1.0]
    plain = scored(capsys, *args, "--align", "none", "--thresholds", "0.2")
    assert plain["thresholds"][0]["f_score"] < 0.5
    refined = scored(capsys, *args, "--align", "surface", "--thresholds", "0.01")
    assert refined["thresholds"][0]["f_score"] == 1.0
    assert picture.stat().st_size > 10_000


def test_raster(run, capsys, tmp_path):
    picture = tmp_path / "dsm.png"
    figures = scored(capsys, "raster", run.out, run.truth, "--picture", picture)
    assert figures["filled"] > 0.98 and figures["measured"] > 0.98
    assert abs(figures["median_m"]) < 0.005 and figures["nmad_m"] < 0.02
    plain = scored(capsys, "raster", run.out, run.truth, "--align", "none")
    assert plain["nmad_m"] > 0.5
    of_mesh = scored(capsys, "raster", run.out, run.truth, "--of", "mesh")
    assert of_mesh["abs_p90_m"] < 0.01 and of_mesh["filled"] == 1.0
    assert picture.stat().st_size > 10_000


def test_a_truth_scored_against_itself_as_a_file(run, capsys):
    dsm = run.truth / "truth" / "dsm.tif"
    figures = scored(capsys, "raster", dsm, dsm, "--align", "none")
    # The triangles between cell centres pass through them: only rounding is left.
    assert figures["rmse_m"] < 1e-3 and figures["filled"] > 0.99
    mesh = run.truth / "truth" / "mesh.ply"
    options = ("--align", "none", "--samples", "5000")
    figures = scored(capsys, "surface", mesh, run.truth, *options)
    assert figures["chamfer"] < 1e-6


def test_tables_are_for_people(run, capsys):
    assert eval_cli.run(["poses", str(run.out), str(run.truth)]) == 0
    text = capsys.readouterr().out
    assert "20 of 24" in text and "camera centres" in text


def test_what_cannot_be_scored_is_said_with_its_exit_code(run, tmp_path, capsys):
    assert main(["eval", "poses", str(run.out), str(tmp_path)]) == 3
    assert "no kind of camera truth" in capsys.readouterr().err
    mesh = run.truth / "truth" / "mesh.ply"
    assert main(["eval", "surface", str(mesh), str(run.truth)]) == 2
    assert "--align cameras needs the cameras" in capsys.readouterr().err
    assert main(["eval", "raster", str(tmp_path), str(run.truth)]) == 2
    capsys.readouterr()
    assert main(["eval", "depth", str(tmp_path), str(run.truth)]) == 3
    assert "folder of a run that got as far as depth" in capsys.readouterr().err
    photo = tmp_path / "photo.jpg"
    PilImage.new("RGB", (8, 8)).save(photo)
    assert main(["eval", "raster", str(photo), str(run.truth), "--align", "none"]) == 6
    told = capsys.readouterr().err
    assert "has no position on the map" in told and "Warning" not in told


def test_unknown_words_are_answered_with_the_nearest_known(capsys):
    assert main(["eval", "pose", "a", "b"]) == 2
    assert "did you mean 'poses'" in capsys.readouterr().err
    assert main(["eval", "raster", "a", "b", "--remove-ofset"]) == 2
    assert "did you mean '--remove-offset'" in capsys.readouterr().err
