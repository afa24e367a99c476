"""Photos of places far from each other, in one run: all products of both, each at its own place."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import trimesh
from pyproj import Geod, Transformer
from run_folders import half_written
from sites import CITY, GROUND_M, LAKE, LOST, draw

from voxterra.cli.main import main
from voxterra.core.options import with_values
from voxterra.evaluate.run_folder import (
    find_depth,
    find_product,
    is_run,
    read_run_cameras,
    read_run_frame,
)
from voxterra.pipeline import events as ev
from voxterra.pipeline.recipe.presets import preset
from voxterra.pipeline.recipe.stages import STAGE_NAMES
from voxterra.pipeline.run import run
from voxterra.viewer.scene import load_scene

SMALL = {
    "backend": "fusion",
    "sfm": {"max_features": 1000, "threads": 1},
    "depth": {"max_size": 160, "color_max_size": 320},
    "mesh": {"max_faces": 4000},
    "texture": {"max_atlas_px": 256},
    "products": {"gsd_m": 0.1},
    "report": {"picture_px": 200},
}
BEHIND = STAGE_NAMES[STAGE_NAMES.index("georef") :]


@pytest.fixture(scope="module")
def config():
    return with_values(preset("preview"), SMALL, where="test")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "in"
    return draw(folder, replace(LAKE, columns=3), replace(CITY, columns=2))


@pytest.fixture(scope="module")
def first_run(photos, tmp_path_factory, config):
    """The run folder and the events of the run that filled it."""
    out = tmp_path_factory.mktemp("sites") / "run"
    return out, list(run(photos, out, config))


def done(events) -> list[tuple[str, int | None]]:
    return [(e.stage, e.component) for e in events if isinstance(e, ev.StageFinished)]


def on_map(lonlat: tuple[float, float], crs: str) -> np.ndarray:
    return np.array(Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(*lonlat))


def assert_lies_at(folder: Path, lonlat: tuple[float, float], crs: str, within_m: float) -> None:
    """DSM and orthophoto are in that CRS, hold something, and lie around the place."""
    for name in ("dsm.tif", "ortho.tif"):
        with rasterio.open(folder / name) as raster:
            assert (
                rasterio.crs.CRS.from_user_input(crs).to_wkt().split('"')[1] in raster.crs.to_wkt()
            )
            assert raster.dataset_mask().any()
            left, bottom, right, top = raster.bounds
        middle = np.array([left + right, bottom + top]) / 2
        assert np.linalg.norm(middle - on_map(lonlat, crs)) < within_m
    assert len(trimesh.load(folder / "scene.glb", force="mesh").faces) > 500
    assert (folder / "cloud.laz").stat().st_size > 10_000
    assert (folder / "report.html").stat().st_size > 10_000


def test_both_places_have_all_products_at_their_own_place(first_run):
    out, events = first_run
    assert isinstance(events[-1], ev.RunFinished)
    stages = done(events)
    assert stages[-1] == ("report", None)
    assert [s for s, number in stages if number == 2] == list(BEHIND)
    assert_lies_at(out / "products", LAKE.lonlat, "EPSG:32615", 3.0)
    assert_lies_at(out / "products/component_2", CITY.lonlat, "EPSG:32633", 3.0)
    for folder in (out / "products", out / "products/component_2"):
        with rasterio.open(folder / "dsm.tif") as dsm:
            assert abs(np.ma.median(dsm.read(1, masked=True)) - GROUND_M) < 0.5
    (apart,) = events[-1].apart
    assert apart.components == (2,) and apart.failed is None and "EPSG:32633" in apart.accuracy
    written = {e.path for e in events if isinstance(e, ev.ProductWritten)}
    assert {"products/ortho.tif", "products/component_2/ortho.tif"} <= written
    assert half_written(out) == []


def test_metadata_and_report_tell_of_both_and_of_the_distance(first_run):
    out = first_run[0]
    data = json.loads((out / "products/metadata.json").read_text())
    first, second = data["accuracy"]["components"]
    assert "products_in" not in first and second["products_in"] == "component_2"
    between = Geod(ellps="WGS84").inv(*LAKE.lonlat, *CITY.lonlat)[2]
    assert second["distance_m"] == pytest.approx(between, abs=20)
    own = json.loads((out / "products/component_2/metadata.json").read_text())
    assert own["crs"]["horizontal"] == "EPSG:32633" if isinstance(own["crs"], dict) else own["crs"]
    assert {p["id"] for p in own["photos"]} == {f"city_{r}{c}.jpg" for r in "01" for c in "01"}
    assert own["accuracy"]["components"][0]["number"] == 2
    text = (out / "products/report.html").read_text()
    assert "Component 2 is 6,923 km from the others" in text
    assert 'href="component_2/report.html"' in text and "6,923 km</text>" in text
    theirs = (out / "products/component_2/report.html").read_text()
    assert "Reconstruction report: component 2" in theirs


def test_a_second_run_does_nothing_and_lost_files_are_made_again(first_run, photos, config):
    out = first_run[0]
    events = list(run(photos, out, config))
    assert done(events) == [] and not [e for e in events if isinstance(e, ev.RunEstimated)]
    skipped = [(e.stage, e.component) for e in events if isinstance(e, ev.StageSkipped)]
    assert skipped == [*((s, None) for s in STAGE_NAMES[:-1]), *((s, 2) for s in BEHIND),
                       ("report", None)]  # fmt: skip
    (out / "components/2/stages/mesh/mesh.npz").unlink()
    events = list(run(photos, out, config))
    (told,) = (e for e in events if isinstance(e, ev.RunEstimated))
    assert told.photos == 10 and told.stages == ("mesh", "products", "report")
    assert done(events) == [("mesh", 2), ("products", 2), ("report", 2), ("report", None)]


def test_the_terminal_names_the_component(first_run, capfd):
    out = first_run[0]
    assert main(["products", str(out), "--products.license", "CC0"]) == 0
    told = capfd.readouterr().out
    assert "component 2: products: 13 products" in told
    assert "products/component_2/ortho.tif" in told
    assert "EPSG:32633" in told[told.index("Component 2, apart: ") :]
    assert "; in products/component_2;" in told
    assert "out of date now: report, report of component 2" in told
    assert main(["report", str(out / "components/2")]) == 2
    assert f"Give the folder of the run, {out}" in capfd.readouterr().err


def test_the_viewer_shows_a_component_that_lies_apart(first_run):
    scene = load_scene(first_run[0] / "components/2")
    assert scene.glb is not None and scene.cloud is not None
    assert scene.title == "run: component 2"
    assert len(scene.components) == 1 and scene.frame.map_crs == "EPSG:32633"


def test_scores_find_what_was_made_of_a_component(first_run):
    own = first_run[0] / "components/2"
    assert is_run(own) and find_depth(own) == own / "stages/depth"
    assert find_product(own, "dsm.tif") == first_run[0] / "products/component_2/dsm.tif"
    assert read_run_frame(own).map_crs == "EPSG:32633" and len(read_run_cameras(own).names) == 4


@pytest.mark.slow
def test_an_area_of_interest_in_the_component_gives_its_products_only(
    first_run, photos, tmp_path, config
):
    shutil.copytree(first_run[0], out := tmp_path / "out")
    (lon, lat), half = CITY.lonlat, (2e-5, 1.3e-5)  # 1.4 m
    ring = [(lon + i * half[0], lat + j * half[1]) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    area = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    (tmp_path / "area.geojson").write_text(json.dumps(area))
    asked = {"depth": {"aoi": str(tmp_path / "area.geojson")},
             "products": {"aoi": str(tmp_path / "area.geojson")}}  # fmt: skip
    events = list(run(photos, out, with_values(config, asked, where="test")))
    assert events[-1].failed == "No two photos see the area of interest."
    assert done(events) == [(stage, 2) for stage in BEHIND[1:]]
    with rasterio.open(out / "products/component_2/ortho.tif") as ortho:
        assert ortho.bounds.right - ortho.bounds.left < 6
    assert {p.name for p in (out / "products").iterdir()} == {"component_2"}
    assert half_written(out) == []
    again = [stage for stage, number in done(run(photos, out, config)) if number is None]
    assert again == ["products", "report"]  # depth, surface and mesh of the main place are kept


@pytest.mark.slow
def test_what_nothing_places_is_delivered_in_units_of_its_own(tmp_path, config):
    folder = draw(tmp_path / "in", LAKE, LOST)
    events = list(run(folder, out := tmp_path / "out", config))
    (apart,) = events[-1].apart
    assert apart.accuracy == "local frame, not on the map (scale unknown)"
    data = json.loads((out / "products/component_2/metadata.json").read_text())
    assert data["crs"] is None and data["scale"] == {"known": False, "unit": "model units"}
    with rasterio.open(out / "products/component_2/dsm.tif") as dsm:
        assert dsm.crs is None and dsm.dataset_mask().any()
    text = (out / "products/report.html").read_text()
    assert "Other sites" in text and "component_2/report.html" in text
    assert "distance_m" in (out / "products/metadata.json").read_text()


@pytest.mark.slow
def test_places_apart_that_lie_near_each_other_share_a_world(tmp_path, config):
    lon, lat = CITY.lonlat
    east = replace(CITY, name="east", seed=5, columns=2, lonlat=(lon + 0.0003, lat))  # 20 m
    places = (LAKE, replace(CITY, columns=2), east)
    events = list(run(draw(tmp_path / "in", *places), out := tmp_path / "out", config))
    (apart,) = events[-1].apart
    assert apart.components == (2, 3) and apart.accuracy.count("GPS fit") == 2
    assert "; component 3: GPS fit" in apart.accuracy
    assert {p.name for p in (out / "components").iterdir()} == {"2"}
    middle = (lon + 0.00015, lat)
    assert_lies_at(out / "products/component_2", middle, "EPSG:32633", 3.0)
    with rasterio.open(out / "products/component_2/ortho.tif") as ortho:
        assert 25 < ortho.bounds.right - ortho.bounds.left < 45  # both, and what is between
    data = json.loads((out / "products/component_2/metadata.json").read_text())
    assert [c["number"] for c in data["accuracy"]["components"]] == [2, 3]
    (gap,) = data["accuracy"]["gaps"]
    assert 10 < gap["distance_m"] < 25
    told = (out / "products/component_2/report.html").read_text()
    assert "from component 3" in told and "components 2, 3" in told
    (warning,) = (e for e in events if isinstance(e, ev.StageWarning) and "in common" in e.message)
    assert "components 2 and 3" in warning.message and warning.component == 2


@pytest.mark.slow
def test_a_beach_and_a_street_in_one_run_killed_in_the_middle(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    beach = sorted((shared_data("uav_brighton_beach") / "images").glob("*.JPG"))[:8]
    street = sorted((shared_data("smoke_berlin") / "images").glob("*.jpg"))
    options = (
        "--preset preview --backend fusion --sfm.max-image-size 1024 --sfm.max-features 3000 "
        "--sfm.threads 2 --depth.max-size 320 --depth.color-max-size 640 --mesh.max-faces 20000 "
        "--texture.max-atlas-px 512 --json"
    )
    out = tmp_path / "out"
    command = [sys.executable, "-m", "voxterra", "run", *map(str, [*beach, *street]),
               "--out", str(out), *options.split()]  # fmt: skip
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    before = []
    for line in program.stdout:
        event = json.loads(line)
        if event["event"] == "StageFinished":
            before.append((event["stage"], event["component"]))
        at = (event.get("stage"), event.get("component"), event.get("fraction", 0.0) > 0.3)
        if at == ("depth", 2, True):
            os.kill(program.pid, signal.SIGKILL)
            break
    program.wait()
    assert before[-1] == ("georef", 2) and ("products", None) in before
    events = list(run(None, out, _recorded(out)))
    assert not set(done(events)) & set(before)
    assert [s for s, number in done(events) if number == 2] == list(BEHIND[1:])
    assert_lies_at(out / "products", (-91.9944, 46.8427), "EPSG:32615", 60.0)
    # The street is placed by three phones' positions, 8 m (1 sigma) and 35 % in scale.
    assert_lies_at(out / "products/component_2", (13.4006, 52.5190), "EPSG:32633", 60.0)
    assert done(list(run(None, out, _recorded(out)))) == []


def _recorded(out: Path):
    from voxterra.cli.run import recorded_options

    return recorded_options(out)
