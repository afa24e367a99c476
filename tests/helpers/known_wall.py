"""A wall that is known to the centimetre, and photos that look across at it."""

import json
from pathlib import Path

import numpy as np
from known_scene import GEO, inputs

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import TriMesh
from voxterra.core.vertical_plane import VerticalPlane
from voxterra.products.config import ProductsConfig
from voxterra.products.make import make_products
from voxterra.testing import MemoryDepthMaps, look_at, photograph

# A wall of 8 m x 4 m that looks north-east, its foot 1 m above the world's origin, squares of half
# a metre on it; what stands left is red, what stands high is green.
WALL = VerticalPlane((5.0, 3.0, 1.0), 40.0, 0.0)
WIDTH, HEIGHT, SQUARE = 8.0, 4.0, 0.5


def color(points: np.ndarray) -> np.ndarray:
    x, y, _ = WALL.from_world(points).T
    squares = (np.floor(x / SQUARE) + np.floor(y / SQUARE)) % 2
    paint = np.column_stack([x < WIDTH / 4, y > HEIGHT / 2, squares]).astype(float)
    return 0.1 + 0.8 * paint


def scene() -> tuple[TriMesh, MemoryDepthMaps]:
    x, y = np.meshgrid(np.linspace(0, WIDTH, 41), np.linspace(0, HEIGHT, 21))
    grid = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
    a = (np.arange(20)[:, None] * 41 + np.arange(40)).ravel()
    faces = np.concatenate(
        [np.column_stack([a, a + 1, a + 42]), np.column_stack([a, a + 42, a + 41])]
    )
    mesh = TriMesh(WALL.to_world(grid).astype(np.float32), faces.astype(np.int32))
    views = []
    for i, at in enumerate((1.0, 3.0, 5.0, 7.0)):
        eye, target = WALL.to_world(np.array([[at, 1.6, 5.0], [4.0, 2.0, 0.0]]))
        views.append(look_at(f"{i}.jpg", eye, target, width=640, height=480, focal_px=500.0))
    return mesh, photograph(mesh, views, color)


def make(out: Path, config: ProductsConfig, frame: GeoFrame = GEO) -> dict:
    mesh, maps = scene()
    _, _, _, georeference, photos = inputs(frame)
    make_products(mesh, None, maps, georeference, photos, config, out_dir=out, run_info={})
    return json.loads((out / "metadata.json").read_text())
