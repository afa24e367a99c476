"""Areas of interest in GeoJSON: every kind that holds polygons, and files that hold none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxterra.errors import FormatError, InputError
from voxterra.io.geojson import read_polygons

RING = [[9.0, 51.0], [9.1, 51.0], [9.1, 51.1], [9.0, 51.0]]
POLYGON = {"type": "Polygon", "coordinates": [RING]}


def written(tmp_path: Path, data: Any) -> Path:
    path = tmp_path / "area.geojson"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (POLYGON, 1),
        ({"type": "MultiPolygon", "coordinates": [[RING], [RING, RING]]}, 2),
        ({"type": "Feature", "properties": None, "geometry": POLYGON}, 1),
        (
            {
                "type": "FeatureCollection",
                "features": [
                    {"type": "Feature", "geometry": None},
                    {"type": "Feature", "geometry": POLYGON},
                    {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}},
                ],
            },
            1,
        ),
        ({"type": "GeometryCollection", "geometries": [POLYGON, POLYGON]}, 2),
    ],
)
def test_polygons(tmp_path: Path, data: Any, count: int) -> None:
    found = read_polygons(written(tmp_path, data))
    assert len(found) == count
    np.testing.assert_allclose(found[0][0], RING)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "cannot be read"),
        ({"type": "Point", "coordinates": [1, 2]}, "no polygon"),
        ({"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]}, "cannot be read"),
        ({"type": "Polygon", "coordinates": [[[1, "x"], [3, 4], [5, 6]]]}, "cannot be read"),
        ({"type": "Polygon", "coordinates": [[[5e5, 5e6], [6e5, 5e6], [6e5, 6e6]]]}, "degrees"),
    ],
)
def test_files_that_hold_no_area(tmp_path: Path, data: Any, problem: str) -> None:
    with pytest.raises(FormatError, match=problem) as caught:
        read_polygons(written(tmp_path, data))
    assert "longitude first" in (caught.value.next_step or "")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_polygons(tmp_path / "none.geojson")
