"""PLY read and write, judged by trimesh and by hand-written files."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import PointCloud, TriMesh
from voxterra.errors import FormatError, OutputError
from voxterra.io.ply import read_ply, read_ply_cloud, write_ply_cloud, write_ply_mesh
from voxterra.io.ply_elements import read_ply_elements

FRAME = GeoFrame("geo", 9.9, 51.5, 198.0, "EPSG:25832")
MESH = TriMesh(
    np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 3]], np.float32),
    np.array([[0, 2, 1], [0, 1, 3]], np.int32),
    np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]], np.uint8),
)


def test_mesh_comes_back_and_opens_in_trimesh(tmp_path: Path) -> None:
    path = tmp_path / "scene.ply"
    write_ply_mesh(MESH, path, FRAME)
    mesh, properties = read_ply(path)
    np.testing.assert_array_equal(mesh.vertices, MESH.vertices)
    np.testing.assert_array_equal(mesh.faces, MESH.faces)
    np.testing.assert_array_equal(mesh.colors, MESH.colors)
    assert properties == {}
    other = trimesh.load(path, process=False)
    np.testing.assert_array_equal(other.vertices, MESH.vertices)
    np.testing.assert_array_equal(other.faces, MESH.faces)
    np.testing.assert_array_equal(other.visual.vertex_colors[:, :3], MESH.colors)
    header = path.read_bytes().split(b"end_header")[0].decode()
    assert "EPSG:25832" in header and "EGM96" in header and "lon 9.900000000" in header


def test_marks_of_faces_come_back_and_open_in_trimesh(tmp_path: Path) -> None:
    marked = replace(MESH, face_source=np.array([2, 4], np.uint8))
    write_ply_mesh(marked, tmp_path / "a.ply", FRAME)
    mesh, _ = read_ply(tmp_path / "a.ply")
    np.testing.assert_array_equal(mesh.face_source, [2, 4])
    np.testing.assert_array_equal(trimesh.load(tmp_path / "a.ply", process=False).faces, MESH.faces)


def test_local_frame_is_said_in_the_header(tmp_path: Path) -> None:
    write_ply_mesh(MESH, tmp_path / "a.ply", GeoFrame.local())
    assert b"scale unknown" in (tmp_path / "a.ply").read_bytes()


def test_cloud_keeps_float64_normals_and_confidence(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cloud = PointCloud(
        rng.normal(size=(50, 3)) * 1e4,
        rng.integers(0, 255, (50, 3)).astype(np.uint8),
        rng.normal(size=(50, 3)).astype(np.float32),
        rng.random(50).astype(np.float32),
    )
    write_ply_cloud(cloud, tmp_path / "cloud.ply", FRAME)
    back = read_ply_cloud(tmp_path / "cloud.ply")
    for name in ("positions_in_world", "colors", "normals", "confidence"):
        np.testing.assert_array_equal(getattr(back, name), getattr(cloud, name))
    other = trimesh.load(tmp_path / "cloud.ply")
    np.testing.assert_array_equal(other.vertices, cloud.positions_in_world)
    np.testing.assert_array_equal(other.colors[:, :3], cloud.colors)


def test_ascii_polygons_become_fans_with_their_properties(tmp_path: Path) -> None:
    path = tmp_path / "ascii.ply"
    path.write_text(
        "ply\nformat ascii 1.0\ncomment x\nelement vertex 5\nproperty float x\nproperty float y\n"
        "property double z\nproperty int id\nelement face 2\n"
        "property list uchar uint vertex_index\nproperty uchar label\nend_header\n"
        "0 0 0 7\n1 0 0 8\n1 1 0 9\n0 1 0 10\n0 0 1 11\n4 0 1 2 3 5\n3 0 1 4 6\n"
    )
    mesh, properties = read_ply(path)
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [0, 1, 4]])
    np.testing.assert_array_equal(properties["label"], [5, 5, 6])
    np.testing.assert_array_equal(read_ply_elements(path)["vertex"]["id"], [7, 8, 9, 10, 11])


def test_big_endian_with_mixed_polygons(tmp_path: Path) -> None:
    header = (
        "ply\nformat binary_big_endian 1.0\nelement vertex 4\nproperty float x\nproperty float y\n"
        "property float z\nelement face 2\nproperty uchar label\n"
        "property list uchar int vertex_indices\nend_header\n"
    )
    body = struct.pack(">12f", *range(12))
    body += struct.pack(">BB3i", 3, 3, 0, 1, 2) + struct.pack(">BB4i", 4, 4, 0, 1, 2, 3)
    (tmp_path / "big.ply").write_bytes(header.encode() + body)
    mesh, properties = read_ply(tmp_path / "big.ply")
    np.testing.assert_array_equal(mesh.vertices, np.arange(12).reshape(4, 3))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 1, 2], [0, 2, 3]])
    np.testing.assert_array_equal(properties["label"], [3, 4, 4])


def test_truth_mesh_keeps_labels(shared_data) -> None:  # type: ignore[no-untyped-def]
    mesh, properties = read_ply(shared_data("synthetic_uav") / "truth/mesh.ply")
    assert mesh.vertices.shape == (66528, 3) and mesh.faces.shape == (62517, 3)
    assert properties["label"].max() == 6 and properties["views"].max() == 24


@given(cut=st.integers(0, 400), at=st.integers(0, 400), value=st.integers(0, 255))
def test_damaged_files_give_a_format_error_or_a_mesh(
    tmp_path_factory: pytest.TempPathFactory, cut: int, at: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "m.ply"
    write_ply_mesh(MESH, path, GeoFrame.local())
    data = bytearray(path.read_bytes())
    data[at % len(data)] = value
    path.write_bytes(bytes(data[: len(data) - cut]))
    try:
        mesh, _ = read_ply(path)
    except FormatError as error:
        assert str(path) in str(error)
    else:
        assert len(mesh.faces) == 0 or mesh.faces.max() < len(mesh.vertices)


def test_unwritable_place_is_an_output_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        write_ply_mesh(MESH, tmp_path / "file" / "a.ply", FRAME)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
