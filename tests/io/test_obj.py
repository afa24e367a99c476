"""OBJ judged by trimesh."""

from pathlib import Path

import numpy as np
import trimesh

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import Texture, TriMesh
from voxterra.io.obj import write_obj

GEO = GeoFrame("geo", 9.9158, 51.5413, 198.46, "EPSG:25832")
VERTICES = np.array([[0, 0, 0], [100.125, 0, 0], [100, 50, 0], [0, 50, 2.5]], np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def test_textured_obj_opens_with_its_picture(tmp_path: Path) -> None:
    uv = np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]], np.float32)
    image = np.zeros((32, 32, 3), np.uint8)
    image[:16, :16] = (255, 0, 0)  # upper left = high v, low u
    files = write_obj(
        TriMesh(VERTICES, FACES, None, Texture(image, uv)), tmp_path / "scene.obj", GEO
    )
    assert [f.name for f in files] == ["scene_texture.jpg", "scene.mtl", "scene.obj"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f.name for f in files)
    mesh = trimesh.load(tmp_path / "scene.obj", process=False)
    np.testing.assert_allclose(mesh.bounds, [[0, 0, 0], [100.125, 50, 2.5]])
    assert len(mesh.faces) == 2 and mesh.area > 5000
    corner = np.flatnonzero(np.abs(mesh.vertices - VERTICES[3]).max(1) < 1e-4)[0]
    np.testing.assert_allclose(mesh.visual.uv[corner], [0, 1], atol=1e-5)
    picture = np.asarray(mesh.visual.material.image)
    assert picture[2, 2, 0] > 220 and picture[30, 30, 0] < 30
    header = (tmp_path / "scene.obj").read_text().split("\nv ")[0]
    assert "EPSG:25832" in header and "origin on the map: 563510.1" in header


def test_vertex_colours_and_local_frame(tmp_path: Path) -> None:
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [51, 51, 51]], np.uint8)
    files = write_obj(TriMesh(VERTICES, FACES, colors), tmp_path / "a.obj", GeoFrame.local())
    assert [f.name for f in files] == ["a.obj"]
    mesh = trimesh.load(tmp_path / "a.obj", process=False)
    np.testing.assert_array_equal(mesh.visual.vertex_colors[:, :3], colors)
    assert "scale unknown" in (tmp_path / "a.obj").read_text()
