"""Components that the surface cannot hold, and photos without a place, in the products."""

from __future__ import annotations

import json

import numpy as np
import pytest
import trimesh
from known_scene import AUSTRALIA, GEO, Made
from pyproj import Geod


def test_sparse_points_of_what_lies_apart(apart: Made) -> None:
    names = {p.name: p.description for p in apart.products}
    assert "EPSG:32750" in names["component_2.ply"] and "not on the map" in names["component_3.ply"]
    cloud = trimesh.load(apart.path("component_2.ply"))
    np.testing.assert_allclose(cloud.vertices, [[1, 2, 3], [4, 5, 6]])
    head = apart.path("component_2.ply").read_bytes()[:1500].decode("ascii", "replace")
    assert "lon 115.743900000 lat -32.056900000" in head
    lost = apart.path("component_3.ply").read_bytes()[:1500].decode("ascii", "replace")
    assert "scale unknown" in lost


def test_photos_of_what_lies_apart_are_listed_for_a_run_of_their_own(apart: Made) -> None:
    assert "component_1.txt" not in {p.name for p in apart.products}
    far = apart.path("component_2.txt").read_text().split()
    assert far and all(name.startswith("far/") for name in far)
    assert apart.path("component_3.txt").read_text().startswith("lost/")


def test_cameras_lie_in_their_own_place(apart: Made) -> None:
    features = json.loads(apart.path("cameras.geojson").read_text())["features"]
    cameras = {
        f["properties"]["name"]: f for f in features if f["properties"].get("kind") == "camera"
    }
    far, lost = cameras["far/0.jpg"], cameras["lost/0.jpg"]
    lon, lat, _ = far["geometry"]["coordinates"]
    assert lon == pytest.approx(AUSTRALIA.lon, abs=0.01)
    assert lat == pytest.approx(AUSTRALIA.lat, abs=0.01)
    assert far["properties"]["crs"] == "EPSG:32750" and "crs" not in cameras["0.jpg"]["properties"]
    assert lost["geometry"] is None


def test_metadata_names_them(apart: Made) -> None:
    data = json.loads(apart.path("metadata.json").read_text())
    components = data["accuracy"]["components"]
    assert [c["in_products"] for c in components] == [True, False, False]
    assert [c["apart"] is not None for c in components] == [False, True, False]
    assert [c.get("products_in") for c in components] == [None, "component_2", "component_3"]
    far = Geod(ellps="WGS84").inv(GEO.lon, GEO.lat, AUSTRALIA.lon, AUSTRALIA.lat)[2]
    assert components[1]["distance_m"] == pytest.approx(far, abs=30)  # nearest cameras
    assert components[2]["distance_m"] is None and "number" not in components[0]
    assert "EPSG:32750" in components[1]["frame"] and "not on the map" in components[2]["frame"]
    assert data["accuracy"]["gaps"] == []
    photos = {p["id"]: p for p in data["photos"]}
    assert photos["left_out.jpg"]["unregistered"] == {
        "kind": "no_matches", "reason": "it shows nothing", "advice": "Go back.",
    }  # fmt: skip
    assert "unregistered" not in photos["0.jpg"]
