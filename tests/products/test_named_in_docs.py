"""Every file that a run leaves in `products/` is explained in docs/products.md."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from known_scene import Made

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import Texture, TriMesh
from voxterra.io.obj import write_obj

REPO = Path(__file__).resolve().parents[2]


def explained() -> set[str]:
    """File names in the first column of the table."""
    text = (REPO / "docs/products.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)}


def test_products_are_explained_and_nothing_else_is(
    geo: Made, local: Made, apart: Made, facade: Path, tmp_path: Path
) -> None:
    square = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    atlas = Texture(np.zeros((4, 4, 3), np.uint8), np.zeros((1, 3, 2), np.float32))
    textured = TriMesh(square, np.array([[0, 1, 2]], np.int32), texture=atlas)
    write_obj(textured, tmp_path / "scene.obj", GeoFrame.local())
    made = {
        path.name
        for folder in (geo.folder, local.folder, tmp_path, apart.folder, facade)
        for path in folder.iterdir()
    }
    assert {"scene.mtl", "cameras.json", "cameras.geojson"} <= made
    assert made | {"report.html"} == explained()  # that is made of the others, by its own stage
