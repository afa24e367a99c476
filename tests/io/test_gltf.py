"""GLB judged by trimesh, pygltflib and the rules of the glTF specification."""

import json
import struct
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import trimesh

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import Texture, TriMesh
from voxterra.io.gltf import vertex_normals, write_glb

GEO = GeoFrame("geo", 9.9158, 51.5413, 198.46, "EPSG:25832")
COUNT = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
SIZE = {5126: 4, 5125: 4, 5123: 2}


def roof() -> TriMesh:
    """Four triangles up around a point; the texture is cut along one edge."""
    vertices = np.array([[0, 0, 3], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]], np.int32)
    flat = np.array([[0.5, 0.5], [1, 0.5], [0.5, 1], [0, 0.5], [0.5, 0]], np.float32)
    uv = flat[faces]
    uv[3] = [[0.1, 0.1], [0.2, 0.1], [0.1, 0.2]]
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32] = (250, 10, 10)  # top half of the image = high v
    image[32:] = (10, 10, 250)
    return TriMesh(vertices, faces, np.full((5, 3), 188, np.uint8), Texture(image, uv))


def check_rules(path: Path) -> dict:
    """Header, chunk and accessor rules that strict loaders enforce; the JSON document."""
    data = path.read_bytes()
    magic, version, total = struct.unpack_from("<4sII", data)
    assert (magic, version, total) == (b"glTF", 2, len(data))
    length, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON" and length % 4 == 0
    document = json.loads(data[20 : 20 + length])
    binary_length, kind = struct.unpack_from("<I4s", data, 20 + length)
    assert kind == b"BIN\0" and binary_length % 4 == 0
    assert 28 + length + binary_length == total
    binary = data[28 + length :]
    assert binary_length - document["buffers"][0]["byteLength"] in range(4)
    end = 0
    for view in document["bufferViews"]:
        assert view["byteOffset"] % 4 == 0 and view["byteOffset"] >= end
        end = view["byteOffset"] + view["byteLength"]
    assert end <= document["buffers"][0]["byteLength"]
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    counts = set()
    for index, accessor in enumerate(document["accessors"]):
        view = document["bufferViews"][accessor["bufferView"]]
        width = COUNT[accessor["type"]] * SIZE[accessor["componentType"]]
        assert width % 4 == 0 and accessor["count"] * width == view["byteLength"]
        if index in attributes.values():
            counts.add(accessor["count"])
    assert len(counts) == 1
    position = document["accessors"][attributes["POSITION"]]
    view = document["bufferViews"][position["bufferView"]]
    xyz = np.frombuffer(binary, "<f4", position["count"] * 3, view["byteOffset"]).reshape(-1, 3)
    np.testing.assert_array_equal(position["min"], xyz.min(0))
    np.testing.assert_array_equal(position["max"], xyz.max(0))
    indices = document["accessors"][document["meshes"][0]["primitives"][0]["indices"]]
    view = document["bufferViews"][indices["bufferView"]]
    values = np.frombuffer(binary, "<u4", indices["count"], view["byteOffset"])
    assert values.max() == counts.pop() - 1 and 0xFFFFFFFF not in values
    return document


def test_textured_glb_follows_the_specification_and_opens_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "scene.glb"
    write_glb(roof(), path, GEO)
    document = check_rules(path)
    assert document["accessors"][0]["count"] == 8  # 5 + the seam's three corners
    other = pygltflib.GLTF2().load(path)
    assert other.images[0].mimeType == "image/jpeg"
    assert other.materials[0].extensions == {"KHR_materials_unlit": {}}
    assert other.extensionsUsed == ["KHR_materials_unlit"] and not other.extensionsRequired
    scene = trimesh.load(path)
    (mesh,) = scene.geometry.values()
    assert len(mesh.faces) == 4
    # y is up: the top of the roof is world (0, 0, 3); world north (0, 1, 0) becomes z = -1.
    np.testing.assert_allclose(mesh.bounds, [[-1, 0, -1], [1, 3, 1]])
    image = np.asarray(mesh.visual.material.baseColorTexture)
    north = np.flatnonzero(
        np.allclose(mesh.vertices, [0, 0, -1], atol=1e-6, rtol=0)
        | (np.abs(mesh.vertices - [0, 0, -1]).max(1) < 1e-6)
    )[0]
    u, v = mesh.visual.uv[north]  # trimesh's v points up
    red, _, blue = image[min(int((1 - v) * 64), 63), int(u * 63)]
    assert red > 200 and blue < 60
    up = mesh.face_normals @ [0, 1, 0]
    assert (up > 0).all()
    assert (mesh.vertex_normals[:, 1] > 0).all()


def test_place_on_earth_is_recorded(tmp_path: Path) -> None:
    write_glb(roof(), tmp_path / "scene.glb", GEO)
    place = check_rules(tmp_path / "scene.glb")["asset"]["extras"]["voxterra"]
    assert GeoFrame.from_dict(place["frame"]) == GEO
    assert place["crs"] == "EPSG:25832" and "EGM96" in place["vertical_datum"]
    east, north, height = place["origin_on_map"]
    assert (east, north) == pytest.approx((563510.10632, 5710419.75994), abs=1e-4)
    assert height == pytest.approx(152.499, abs=0.01)
    in_gltf = np.array([3.0, 7.0, -5.0, 1.0])
    in_world = np.array(place["world_from_gltf"]) @ in_gltf
    np.testing.assert_allclose(in_world, [3, 5, 7, 1])
    ecef = np.array(place["ecef_from_world"]) @ in_world
    assert np.linalg.norm(ecef[:3]) == pytest.approx(6.365e6, rel=1e-3)


def test_vertex_colours_are_linear_and_local_frame_is_said(tmp_path: Path) -> None:
    bare = TriMesh(roof().vertices, roof().faces, roof().colors)
    write_glb(bare, tmp_path / "c.glb", GeoFrame.local())
    document = check_rules(tmp_path / "c.glb")
    place = document["asset"]["extras"]["voxterra"]
    assert place["ecef_from_world"] is None and "scale unknown" in place["description"]
    other = pygltflib.GLTF2().load(tmp_path / "c.glb")
    accessor = other.accessors[other.meshes[0].primitives[0].attributes.COLOR_0]
    assert accessor.normalized and accessor.componentType == pygltflib.UNSIGNED_SHORT
    view = other.bufferViews[accessor.bufferView]
    data = other.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    rgba = np.frombuffer(data, "<u2").reshape(-1, 4) / 65535
    # sRGB 188 is half the light.
    assert np.abs(rgba[:, :3] - 0.5).max() < 0.01 and (rgba[:, 3] == 1).all()
    plain = TriMesh(roof().vertices, roof().faces)
    write_glb(plain, tmp_path / "p.glb", GEO)
    check_rules(tmp_path / "p.glb")


def test_unused_vertices_are_left_out_and_their_normals_are_valid(tmp_path: Path) -> None:
    vertices = np.vstack([roof().vertices, [[9, 9, 9]]]).astype(np.float32)
    mesh = TriMesh(vertices, roof().faces)
    np.testing.assert_allclose(np.linalg.norm(vertex_normals(mesh), axis=1), 1, atol=1e-6)
    write_glb(mesh, tmp_path / "p.glb", GEO)
    assert check_rules(tmp_path / "p.glb")["accessors"][0]["count"] == 5


def test_no_faces_is_refused(tmp_path: Path) -> None:
    empty = TriMesh(np.zeros((3, 3), np.float32), np.zeros((0, 3), np.int32))
    with pytest.raises(ValueError, match="faces"):
        write_glb(empty, tmp_path / "p.glb", GEO)
