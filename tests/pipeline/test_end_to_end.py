"""Photos of the demo, from files to products: one small run, looked at from all sides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from voxterra.cli.main import main
from voxterra.core.options import with_values
from voxterra.pipeline import events as ev
from voxterra.pipeline.recipe.presets import preset
from voxterra.pipeline.recipe.stages import STAGE_NAMES
from voxterra.pipeline.run import run
from voxterra.viewer.scene import load_scene

DEMO = Path(__file__).resolve().parents[2] / "demo" / "photos"
COUNT = 7  # photos of the demo, from two lines of the flight
SMALL = {
    "backend": "fusion",  # on machines with a GPU too
    "sfm": {"max_image_size": 800, "max_features": 2500},
    "depth": {"max_size": 240, "color_max_size": 640},
    "mesh": {"max_faces": 20_000},
    "texture": {"max_atlas_px": 1024},
    "products": {"gsd_m": 0.25},
    "report": {"picture_px": 300},
}


@pytest.fixture(scope="module")
def config():
    return with_values(preset("preview"), SMALL, where="test")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in (20, 21, 22, 25, 26, 27, 28):
        shutil.copy(DEMO / f"DJI_00{number}.JPG", folder)
    return folder


@pytest.fixture(scope="module")
def first_run(photos, tmp_path_factory, config):
    """The run folder and the events of the run that filled it."""
    out = tmp_path_factory.mktemp("demo") / "run"
    return out, list(run(photos, out, config))


@pytest.fixture
def products(first_run) -> Path:
    return first_run[0] / "products"


def test_all_stages_ran_and_told_what_they_did(first_run):
    _, events = first_run
    finished = {e.stage: e for e in events if isinstance(e, ev.StageFinished)}
    assert tuple(finished) == STAGE_NAMES
    assert finished["sfm"].summary.startswith(f"{COUNT} of {COUNT} photos")
    assert all(e.seconds > 0 and e.peak_rss_bytes > 1 << 26 for e in finished.values())
    assert isinstance(events[-1], ev.RunFinished)
    assert "EPSG:32615" in events[-1].accuracy and "EGM96" in events[-1].accuracy
    assert events[-1].apart == () and not (first_run[0] / "components").exists()
    for stage in ("sfm", "depth", "surface", "mesh"):
        told = [e.fraction for e in events if isinstance(e, ev.StageProgress) and e.stage == stage]
        assert told == sorted(told), f"the progress of {stage} goes back"


def test_every_product_is_there_and_named(first_run, products):
    named = {e.path: e.bytes for e in first_run[1] if isinstance(e, ev.ProductWritten)}
    for name in ("scene.glb", "scene.obj", "scene.ply", "cloud.laz", "cloud.ply", "dsm.tif",
                 "ortho.tif", "cameras.geojson", "metadata.json",
                 "report.html"):  # fmt: skip
        assert named[f"products/{name}"] == (products / name).stat().st_size > 100


def test_a_second_run_does_nothing(first_run, photos, config):
    events = list(run(photos, first_run[0], config))
    assert [e.stage for e in events if isinstance(e, ev.StageSkipped)] == list(STAGE_NAMES)
    assert not [e for e in events if isinstance(e, ev.StageStarted)]


def test_dsm_and_orthophoto_lie_on_the_map_and_show_the_beach(products):
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(products / "dsm.tif") as dsm:
        heights = dsm.read(1, masked=True)
        assert "32615" in dsm.crs.to_string() or "UTM zone 15N" in dsm.crs.to_wkt()
        left, bottom, right, top = dsm.bounds
    assert 576_500 < left < right < 577_000 and 5_188_000 < bottom < top < 5_188_400
    assert 40 < right - left < 300
    # Lake Superior lies at 183 m; the trees on the shore reach some 30 m above it.
    assert 150 < np.ma.median(heights) < 215
    with rasterio.open(products / "ortho.tif") as ortho:
        rgba = ortho.read()
    seen = rgba[3] > 0
    assert seen.mean() > 0.4
    assert rgba[:3, seen].std() > 15


def test_the_mesh_is_textured_and_metric(products):
    trimesh = pytest.importorskip("trimesh")
    mesh = trimesh.load(products / "scene.glb", force="mesh")
    assert 3_000 < len(mesh.faces) <= 60_000
    assert 40 < np.ptp(mesh.vertices[:, 0]) < 300  # [m] east to west
    texture = np.asarray(mesh.visual.material.baseColorTexture.convert("RGB"), float)
    assert texture.std() > 15


def test_metadata_says_how_the_model_came_about_without_paths_of_this_machine(
    first_run, products, photos
):
    text = (products / "metadata.json").read_text()
    data = json.loads(text)
    assert f"{COUNT} of {COUNT} photos" in text and "pycolmap" in text
    assert "max_image_size" in text
    assert data and str(first_run[0]) not in text and str(photos) not in text


def test_the_program_names_what_a_run_made(first_run, capfd):
    assert main(["run", "--out", str(first_run[0])]) == 0  # photos and options of the last run
    out = capfd.readouterr().out
    assert out.count("up to date") == len(STAGE_NAMES)
    assert "products/ortho.tif" in out and "Accuracy:" in out and "EPSG:32615" in out


def test_one_step_again_with_another_option(first_run, capfd, monkeypatch):
    def heavy(*args, **kwargs):
        raise AssertionError("the orthophoto is made again")

    monkeypatch.setattr("voxterra.products.ortho.orthophoto", heavy)
    code = main(["products", str(first_run[0]), "--products.license", "CC-BY-4.0", "--json"])
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert code == 0
    assert [e["stage"] for e in events if e["event"] == "StageFinished"] == ["products"]
    assert "CC-BY-4.0" in (first_run[0] / "products/metadata.json").read_text()


def test_the_report_tells_of_this_run_and_stays_with_it(first_run, products, capfd):
    text = (products / "report.html").read_text()
    assert f"{COUNT} of {COUNT}" in text and "EPSG:32615" in text and "data:image/jpeg" in text
    before = (products / "report.html").stat().st_mtime_ns
    assert main(["report", str(first_run[0]), "--report.title", "Beach <park>", "--json"]) == 0
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [e["stage"] for e in events if e["event"] == "StageFinished"] == ["report"]
    assert (products / "report.html").stat().st_mtime_ns > before
    assert "<h1>Beach &lt;park&gt;</h1>" in (products / "report.html").read_text()


def test_cameras_convert_there_and_back(first_run, tmp_path):
    out = str(first_run[0])
    assert main(["convert", out, str(tmp_path / "transforms.json")]) == 0
    assert main(["convert", str(tmp_path / "transforms.json"), str(tmp_path / "colmap")]) == 0
    frames = json.loads((tmp_path / "transforms.json").read_text())["frames"]
    assert len(frames) == COUNT and (tmp_path / "colmap").is_dir()


def test_the_viewer_finds_mesh_cloud_and_cameras(first_run):
    scene = load_scene(first_run[0])
    assert scene.glb is not None and scene.glb[:4] == b"glTF"
    assert scene.cloud is not None and len(scene.cloud) > 1000
    assert len(scene.components[0].images) == COUNT


def test_another_crs_and_other_heights_redo_products_and_report_only(
    first_run, photos, config, tmp_path
):
    rasterio = pytest.importorskip("rasterio")
    out = tmp_path / "run"
    shutil.copytree(first_run[0], out)

    def heights(**options: str) -> np.ma.MaskedArray:
        elsewhere = with_values(config, {"map": options}, where="test")
        events = list(run(photos, out, elsewhere))
        assert [e.stage for e in events if isinstance(e, ev.StageStarted)] == ["products", "report"]
        with rasterio.open(out / "products/dsm.tif") as dsm:
            assert options.get("crs", "32615").split(":")[-1] in str(dsm.crs.to_wkt())
            return dsm.read(1, masked=True)

    with rasterio.open(out / "products/dsm.tif") as dsm:
        before = dsm.read(1, masked=True)
    after = heights(crs="EPSG:26915", heights="ellipsoidal")
    # The geoid lies some 31 m below the ellipsoid at Lake Superior.
    assert -33 < np.ma.median(after) - np.ma.median(before) < -28
    assert "EPSG:26915" in json.loads((out / "products/metadata.json").read_text())["crs"]
    assert np.array_equal(heights(), before)
