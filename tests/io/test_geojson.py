"""GeoJSON as RFC 7946 wants it."""

import json
from pathlib import Path

import numpy as np
import pytest

from voxterra.core.geo import GeoFrame
from voxterra.errors import GeoError
from voxterra.io.files.json_file import write_json
from voxterra.io.geojson import write_geojson

GEO = GeoFrame("geo", 9.9158, 51.5413, 198.46, "EPSG:25832")
FEATURE = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [9.9, 51.5, 200.0]},
    "properties": {"name": "größe.jpg", "value": np.float32(0.5), "missing": float("nan")},
}


def test_collection_names_the_product_crs_but_has_no_crs_member(tmp_path: Path) -> None:
    write_geojson([FEATURE], tmp_path / "c.geojson", GEO, name="cameras")
    data = json.loads((tmp_path / "c.geojson").read_text(encoding="utf-8"))
    assert data["type"] == "FeatureCollection" and "crs" not in data
    assert data["product_crs"] == "EPSG:25832" and "EGM96" in data["product_vertical_datum"]
    assert data["features"][0]["geometry"] == FEATURE["geometry"]
    properties = {"name": "größe.jpg", "value": 0.5, "missing": None}
    assert data["features"][0]["properties"] == properties


def test_local_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GeoError, match="not on the map"):
        write_geojson([], tmp_path / "c.geojson", GeoFrame.local(), name="cameras")
    assert not list(tmp_path.iterdir())


def test_json_of_numpy_paths_and_tuples(tmp_path: Path) -> None:
    data = {"a": np.arange(3), "p": Path("x/y"), 3: (1, np.inf), "b": np.bool_(True)}
    write_json(data, tmp_path / "m.json")
    expected = {"a": [0, 1, 2], "p": "x/y", "3": [1, None], "b": True}
    assert json.loads((tmp_path / "m.json").read_text()) == expected
