"""Façade orthophotos of a wall that is known to the centimetre."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import rasterio
import trimesh
from known_scene import GEO, inputs
from known_wall import HEIGHT, SQUARE, WALL, WIDTH, make, scene
from PIL import Image

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import TriMesh
from voxterra.core.vertical_plane import VerticalPlane
from voxterra.products.config import ProductsConfig
from voxterra.products.facade_planes import find_facades
from voxterra.products.make import make_products
from voxterra.testing import look_at, photograph


def check_picture(path: Path) -> None:
    """Upright, not mirrored, to scale, lines straight."""
    with rasterio.open(path) as file:
        image, cell, left = np.moveaxis(file.read(), 0, 2).astype(int), file.res[0], file.bounds[0]
    red, green, squares, _ = np.moveaxis(image > 128, 2, 0)
    rows, columns = image.shape[:2]
    assert rows * cell == pytest.approx(HEIGHT, abs=0.06)
    assert columns * cell == pytest.approx(WIDTH, abs=0.06)
    assert red[:, : columns // 5].mean() > 0.95 and not red[:, columns // 3 :].any()
    assert green[: rows // 3].mean() > 0.95 and not green[2 * rows // 3 :].any()
    crossings = [np.flatnonzero(np.diff(row)) for row in squares[:: rows // 30].astype(int)]
    edges = np.array([c for c in crossings if len(c) == 15])
    assert len(edges) > 20
    assert (edges.std(axis=0) < 0.6).all()
    at = left + (edges.mean(axis=0) + 1) * cell
    slope, start = np.polyfit(SQUARE * np.arange(1, 16), at, 1)
    assert slope == pytest.approx(1.0, abs=0.002) and start == pytest.approx(0.0, abs=0.03)


def test_a_wall_that_photos_look_at_gets_its_orthophoto(facade: Path) -> None:
    check_picture(facade / "facade_1.tif")
    data = json.loads((facade / "metadata.json").read_text())
    (told,) = data["coverage"]["facades"]
    plane = VerticalPlane(
        told["plane"]["origin_in_world"],
        told["plane"]["azimuth_deg"],
        told["plane"]["origin_height"],
    )
    assert plane.azimuth_deg == pytest.approx(40.0, abs=0.01)
    corner = plane.to_world(np.array([[0.0, told["bottom"], 0.0]]))
    np.testing.assert_allclose(corner, WALL.to_world(np.zeros((1, 3))), atol=0.03)
    height = GEO.to_map(corner)[0, 2]
    assert told["bottom"] == pytest.approx(height, abs=1e-3)  # y is a height on the map
    with rasterio.open(facade / "facade_1.tif") as picture:
        assert picture.crs.to_wkt().startswith("LOCAL_CS") and "metre" in picture.crs.to_wkt()
        assert json.loads(picture.tags()["VOXTERRA_PLANE"]) == told["plane"]
        assert told["cell_size"] == picture.res[0] and picture.bounds.left == 0
    with rasterio.open(facade / "facade_1_relief.tif") as relief:
        distance = relief.read(1, masked=True)
        assert distance.count() > 0.97 * distance.size and np.abs(distance).max() < 0.01


def test_the_png_lies_where_the_geotiff_does(facade: Path) -> None:
    with rasterio.open(facade / "facade_1.tif") as file:
        image, transform = np.moveaxis(file.read(), 0, 2), file.transform
    np.testing.assert_array_equal(np.array(Image.open(facade / "facade_1.png")), image)
    with rasterio.open(facade / "facade_1.png") as picture:  # GDAL reads the world file
        np.testing.assert_allclose(picture.transform, transform, atol=1e-8)


def test_maps_from_above_are_left_out_with_the_reason(facade: Path) -> None:
    names = {path.name for path in facade.iterdir()}
    assert "dsm.tif" not in names and "ortho.tif" not in names
    skipped = json.loads((facade / "metadata.json").read_text())["skipped"]
    assert "look across" in skipped["dsm"] and "--products.only" in skipped["ortho"]


def test_maps_from_above_are_made_where_they_are_asked_for(tmp_path: Path) -> None:
    data = make(tmp_path, ProductsConfig(only=("dsm",)))
    assert (tmp_path / "dsm.tif").is_file() and not (tmp_path / "facade_1.tif").exists()
    assert "look across" in data["coverage"]["note"]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_line_on_the_map_gives_the_wall(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, swapped: bool
) -> None:
    ends = GEO.to_map(WALL.to_world(np.array([[2.0, 0.0, 0.0], [6.0, 0.0, 0.0]])))[:, :2]
    x1, y1, x2, y2 = (float(v) for v in (ends[::-1] if swapped else ends).ravel())
    with caplog.at_level(logging.WARNING):
        data = make(tmp_path, ProductsConfig(only=("facade",), facade_line=(x1, y1, x2, y2)))
    (facade,) = data["coverage"]["facades"]
    assert facade["given"] and facade["width"] == pytest.approx(4.0, abs=1e-3)
    assert facade["plane"]["azimuth_deg"] == pytest.approx(40.0, abs=1e-3)
    assert ("ends are swapped" in caplog.text) == swapped
    with rasterio.open(tmp_path / "facade_1.tif") as file:
        blue = file.read(3)[file.height // 2 + 10] > 128
    assert len(np.flatnonzero(np.diff(blue.astype(int)))) == 7


def test_without_a_wall_a_note_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = make(tmp_path / "line", ProductsConfig(only=("facade",), facade_line=(0, 0, 1, 1)))
    assert "no wall along" in data["skipped"]["facade"]
    ball = trimesh.creation.icosphere(subdivisions=4, radius=2.0)
    mesh = TriMesh(np.asarray(ball.vertices, np.float32), np.asarray(ball.faces, np.int32))
    turns = np.radians(np.arange(0, 360, 45))
    views = [look_at(f"{a}", (8 * np.cos(a), 8 * np.sin(a), 0), (0, 0, 0)) for a in turns]
    maps = photograph(mesh, views, lambda points: np.full((len(points), 3), 0.5))
    _, _, _, georeference, photos = inputs(GeoFrame.local())
    config = ProductsConfig(skip=("mesh", "cameras"))
    with caplog.at_level(logging.WARNING):
        make_products(mesh, None, maps, georeference, photos, config, out_dir=tmp_path, run_info={})
    assert "no facade found" in caplog.text and (tmp_path / "dsm.tif").is_file()


def test_without_scale_the_picture_has_no_crs(tmp_path: Path) -> None:
    data = make(tmp_path, ProductsConfig(only=("facade",)), GeoFrame.local())
    check_picture(tmp_path / "facade_1.tif")
    with rasterio.open(tmp_path / "facade_1.tif") as file:
        assert file.crs is None and "scale unknown" in file.tags()["SCALE"]
    assert data["coverage"]["facades"][0]["unit"] == "model units"


def test_a_wall_that_stands_back_does_not_turn_the_plane() -> None:
    """One plane through both halves would be turned by 3.6 degrees."""
    mesh, maps = scene()
    in_plane = WALL.from_world(mesh.vertices.astype(float))
    in_plane[in_plane[:, 0] > WIDTH / 2, 2] -= 0.25
    back = TriMesh(WALL.to_world(in_plane).astype(np.float32), mesh.faces)
    (facade,) = find_facades(back, maps.views, 4)
    assert facade.plane.azimuth_deg == pytest.approx(40.0, abs=0.1)
    assert facade.width == pytest.approx(WIDTH, abs=0.2)
