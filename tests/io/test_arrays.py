"""Meshes and clouds between stages come back exactly."""

from __future__ import annotations

import numpy as np
import pytest

from voxterra.core.mesh import PointCloud, Texture, TriMesh
from voxterra.errors import FormatError
from voxterra.io.arrays import read_cloud, read_mesh, write_cloud, write_mesh

RNG = np.random.default_rng(3)
VERTICES = RNG.normal(size=(5, 3)).astype(np.float32)
FACES = np.array([[0, 1, 2], [2, 3, 4]], np.int32)
COLORS = RNG.integers(0, 255, (5, 3)).astype(np.uint8)
TEXTURE = Texture(
    RNG.integers(0, 255, (4, 8, 3)).astype(np.uint8), RNG.random((2, 3, 2)).astype(np.float32)
)


@pytest.mark.parametrize("colors", [None, COLORS])
@pytest.mark.parametrize("texture", [None, TEXTURE])
def test_a_mesh_comes_back(tmp_path, colors, texture):
    source = None if colors is None else np.array([1, 4], np.uint8)
    write_mesh(TriMesh(VERTICES, FACES, colors, texture, source), tmp_path / "mesh.npz")
    back = read_mesh(tmp_path / "mesh.npz")
    np.testing.assert_array_equal(back.face_source, source)
    np.testing.assert_array_equal(back.vertices, VERTICES)
    np.testing.assert_array_equal(back.faces, FACES)
    assert (back.colors is None) == (colors is None)
    assert (back.texture is None) == (texture is None)
    if texture is not None:
        np.testing.assert_array_equal(back.texture.image, texture.image)
        np.testing.assert_array_equal(back.texture.uv, texture.uv)


def test_a_cloud_comes_back(tmp_path):
    confidence = np.linspace(0, 1, 5, dtype=np.float32)
    cloud = PointCloud(VERTICES.astype(np.float64), COLORS, None, confidence)
    write_cloud(cloud, tmp_path / "cloud.npz")
    back = read_cloud(tmp_path / "cloud.npz")
    assert back.positions_in_world.dtype == np.float64 and back.normals is None
    np.testing.assert_array_equal(back.confidence, confidence)


def test_other_files_are_format_errors(tmp_path):
    path = tmp_path / "mesh.npz"
    write_mesh(TriMesh(VERTICES, FACES), path)
    with pytest.raises(FormatError, match="cloud"):
        read_cloud(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FormatError):
        read_mesh(path)
    with pytest.raises(FormatError):
        read_mesh(tmp_path / "missing.npz")
    np.savez(path, kind="mesh", vertices=VERTICES)
    with pytest.raises(FormatError, match="without faces"):
        read_mesh(path)
