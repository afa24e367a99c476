"""Products cut to an area of interest."""

from __future__ import annotations

import json
from pathlib import Path

import laspy
import numpy as np
import pytest
import rasterio
from known_scene import GEO, inputs, make

from voxterra.core.geo import GeoFrame
from voxterra.errors import ReconstructionError
from voxterra.products.area import cut_to_area, inside
from voxterra.products.config import ProductsConfig

SQUARE = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])


def polygon(corners_in_world: list[tuple[float, float]], frame: GeoFrame = GEO) -> dict:
    """GeoJSON of a polygon given in the world's x and y."""
    points = np.array([(x, y, 0.0) for x, y in corners_in_world])
    ring = frame.to_lonlat(points)[:, :2].tolist()
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def test_inside_with_holes_and_several_polygons() -> None:
    hole = SQUARE / 2 + 1  # 1..3
    points = np.array([[0.5, 0.5], [2.0, 2.0], [5.0, 0.5], [-0.5, 2.0], [10.5, 10.5]])
    one = (SQUARE, hole)
    assert inside(points, (one,)).tolist() == [True, False, False, False, False]
    other = (SQUARE + 10,)
    assert inside(points, (one, other)).tolist() == [True, False, False, False, True]
    closed = np.vstack([SQUARE, SQUARE[:1]])  # as GeoJSON repeats the first corner
    assert inside(points, ((closed,),)).tolist() == inside(points, ((SQUARE,),)).tolist()


def test_products_end_where_the_area_ends(tmp_path: Path) -> None:
    area = tmp_path / "area.geojson"
    corners = [(-12.0, -10.0), (3.0, -10.0), (3.0, 8.0), (-12.0, 8.0)]
    area.write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": polygon(corners)}))
    config = ProductsConfig(only=("laz", "dsm", "mesh_ply"), aoi=area, gsd_m=0.25)
    made = make(GEO, tmp_path / "out", config)
    low, high = (GEO.to_map(np.array([[x, y, 0.0]]))[0, :2] for x, y in (corners[0], corners[2]))
    cloud = laspy.read(made.path("cloud.laz")).xyz[:, :2]
    assert len(cloud) > 50
    assert (cloud > low - 0.1).all() and (cloud < high + 0.1).all()
    with rasterio.open(made.path("dsm.tif")) as dsm:
        assert dsm.bounds.right - dsm.bounds.left < 15 + 6  # whole triangles reach over the edge
    assert str(tmp_path) not in made.path("metadata.json").read_text()


def test_an_area_elsewhere_and_a_model_off_the_map(tmp_path: Path) -> None:
    mesh, cloud, *_ = inputs(GEO)
    with pytest.raises(ReconstructionError, match="area of interest") as caught:
        cut_to_area(mesh, cloud, GEO, ((SQUARE,),))
    assert caught.value.next_step
    same = cut_to_area(mesh, cloud, GeoFrame.local(), ((SQUARE,),))
    assert same == (mesh, cloud)
