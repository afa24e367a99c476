"""glTF 2.0 in its binary form (GLB): one textured or coloured mesh, y up.

Format: Khronos Group, "glTF 2.0 Specification" (ISO/IEC 12113:2022) and KHR_materials_unlit.
"""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import TriMesh
from voxterra.io.files.atomic import atomic_path
from voxterra.io.metadata import frame_summary

_FLOAT, _USHORT, _UINT = 5126, 5123, 5125
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963
# glTF's y-up axes: x east, y up, z south.
_GLTF_FROM_WORLD = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def write_glb(
    mesh: TriMesh,
    path: Path,
    frame: GeoFrame,
    *,
    jpeg_quality: int = 90,
    accuracy: str | None = None,
) -> None:
    """The mesh as one GLB file, turned from world (x, y, z) to glTF's y-up (x, z, -y).

    Photographs already hold their light, so the material is unlit (with a rough, non-metallic
    fallback). Where the frame lies on Earth stands in `asset.extras.voxterra`.

    Args:
        mesh: at least one face.
        path: of the file.
        frame: of the mesh's vertices.
        jpeg_quality: of the embedded texture, 1..100.
        accuracy: a line that says how well coordinates are known, kept beside where it lies.

    Raises:
        ValueError: the mesh has no faces.
        OutputError: the file cannot be written.
    """
    if not len(mesh.faces):
        raise ValueError("glTF cannot hold a mesh without faces")
    corner_vertex, indices, uv = split_at_seams(mesh)
    y_up = mesh.vertices @ _GLTF_FROM_WORLD[:3, :3].T.astype(np.float32)
    normals = vertex_normals(mesh) @ _GLTF_FROM_WORLD[:3, :3].T.astype(np.float32)
    buffers = _Buffers()
    primitive: dict[str, Any] = {"mode": 4, "material": 0}
    attributes = {
        "POSITION": buffers.add(y_up[corner_vertex].astype("<f4"), _FLOAT, "VEC3", bounds=True),
        "NORMAL": buffers.add(normals[corner_vertex].astype("<f4"), _FLOAT, "VEC3"),
    }
    material: dict[str, Any] = {
        "name": "photos",
        "doubleSided": True,
        "extensions": {"KHR_materials_unlit": {}},
        "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
    }
    document: dict[str, Any] = {}
    if mesh.texture is not None and uv is not None:
        downward = np.column_stack([uv[:, 0], 1.0 - uv[:, 1]]).astype("<f4")
        attributes["TEXCOORD_0"] = buffers.add(downward, _FLOAT, "VEC2")
        view = buffers.add_bytes(_jpeg(mesh.texture.image, jpeg_quality))
        material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
        document["images"] = [{"bufferView": view, "mimeType": "image/jpeg"}]
        clamp, linear, mipmaps = 33071, 9729, 9987
        document["samplers"] = [
            {"magFilter": linear, "minFilter": mipmaps, "wrapS": clamp, "wrapT": clamp}
        ]
        document["textures"] = [{"sampler": 0, "source": 0}]
    elif mesh.colors is not None:
        attributes["COLOR_0"] = buffers.add(
            _linear_rgba(mesh.colors)[corner_vertex], _USHORT, "VEC4", normalized=True
        )
    primitive["attributes"] = attributes
    primitive["indices"] = buffers.add(
        indices.astype("<u4").reshape(-1), _UINT, "SCALAR", target=_INDEX_BUFFER
    )
    document |= _document(frame, accuracy, primitive, material)
    document["accessors"], document["bufferViews"] = buffers.accessors, buffers.views
    document["buffers"] = [{"byteLength": buffers.length}]
    _write_chunks(path, document, buffers.parts)


def _document(
    frame: GeoFrame,
    accuracy: str | None,
    primitive: dict[str, Any],
    material: dict[str, Any],
) -> dict[str, Any]:
    place = frame_summary(frame) | {
        "axes": "x east, y up, z south" if not frame.is_local else "x, y up, z",
        "world_from_gltf": np.linalg.inv(_GLTF_FROM_WORLD).tolist(),
        "matrix_order": "rows",
        "accuracy": accuracy,
    }
    return {
        "asset": {"version": "2.0", "generator": "Voxterra", "extras": {"voxterra": place}},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"name": "scene", "nodes": [0]}],
        "nodes": [{"name": "surface", "mesh": 0}],
        "meshes": [{"name": "surface", "primitives": [primitive]}],
        "materials": [material],
    }


def split_at_seams(
    mesh: TriMesh,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32] | None]:
    """Vertices as glTF wants them: one per pair of position and texture coordinate.

    Returns:
        (N,) mesh vertex of each new vertex, (F, 3) new vertex of each corner, and (N, 2) texture
        coordinates (v up) or None. Without a texture: the vertices that faces use.
    """
    corners = mesh.faces.reshape(-1).astype(np.int64)
    if mesh.texture is None:
        used, inverse = np.unique(corners, return_inverse=True)
        return used, inverse.reshape(-1, 3), None
    uv = np.ascontiguousarray(mesh.texture.uv, np.float32).reshape(-1, 2)
    packed = (uv + np.float32(0)).view(np.uint64)[:, 0]  # + 0 turns -0 into 0
    order = np.lexsort((packed, corners))
    vertex, packed = corners[order], packed[order]
    first = np.ones(len(order), bool)
    first[1:] = (vertex[1:] != vertex[:-1]) | (packed[1:] != packed[:-1])
    inverse = np.empty(len(order), np.int64)
    inverse[order] = np.cumsum(first) - 1
    return vertex[first], inverse.reshape(-1, 3), uv[order[first]]


def vertex_normals(mesh: TriMesh) -> NDArray[np.float32]:
    """(V, 3) unit normals, the mean of the adjoining faces weighted by area; up where undefined."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    weighted = np.cross(b - a, c - a)
    normals = np.empty((len(mesh.vertices), 3))
    for axis in range(3):
        normals[:, axis] = np.bincount(
            mesh.faces.reshape(-1), np.repeat(weighted[:, axis], 3), len(mesh.vertices)
        )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    bad = ~(length[:, 0] > 0)
    normals[bad], length[bad] = (0.0, 0.0, 1.0), 1.0
    return np.asarray(normals / length, np.float32)


def _linear_rgba(colors: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """(V, 4) linear 16-bit colours of (V, 3) sRGB: glTF's vertex colours are linear."""
    s = np.arange(256) / 255.0
    linear = np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)
    table = np.round(linear * 65535).astype("<u2")
    return np.column_stack([table[colors], np.full(len(colors), 65535, "<u2")])


def _jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=quality, subsampling=0 if quality > 90 else 2)
    return out.getvalue()


class _Buffers:
    """Collects binary parts, each aligned to 4 bytes, with their views and accessors."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.length = 0

    def add_bytes(self, data: bytes, target: int | None = None) -> int:
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self.length, "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self.views.append(view)
        padding = -len(data) % 4
        self.parts.append(data + b"\0" * padding)
        self.length += len(data) + padding
        return len(self.views) - 1

    def add(
        self,
        array: NDArray[Any],
        component: int,
        kind: str,
        *,
        bounds: bool = False,
        normalized: bool = False,
        target: int = _VERTEX_BUFFER,
    ) -> int:
        view = self.add_bytes(np.ascontiguousarray(array).tobytes(), target)
        accessor: dict[str, Any] = {
            "bufferView": view,
            "componentType": component,
            "count": len(array),
            "type": kind,
        }
        if normalized:
            accessor["normalized"] = True
        if bounds:
            accessor["min"] = array.min(axis=0).tolist()
            accessor["max"] = array.max(axis=0).tolist()
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _write_chunks(path: Path, document: dict[str, Any], parts: list[bytes]) -> None:
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    binary_length = sum(len(p) for p in parts)
    total = 12 + 8 + len(text) + 8 + binary_length
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(struct.pack("<4sII", b"glTF", 2, total))
        file.write(struct.pack("<I4s", len(text), b"JSON") + text)
        file.write(struct.pack("<I4s", binary_length, b"BIN\0"))
        file.writelines(parts)
