"""PLY: triangle meshes and point clouds in world coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.mesh import PointCloud, TriMesh
from voxterra.core.surface_source import SurfaceSource
from voxterra.errors import FormatError
from voxterra.io.files.atomic import atomic_path
from voxterra.io.ply_elements import Columns, read_ply_elements

if TYPE_CHECKING:  # a machine that only trains has no pyproj, and reads PLY all the same
    from voxterra.core.geo import GeoFrame

_NAMES = {"i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort"}
_NAMES |= {"i4": "int", "u4": "uint", "f4": "float", "f8": "double"}
_SOURCE = "surface_source"
_FACE_INDICES = ("vertex_indices", "vertex_index")


# --- reading --------------------------------------------------------------------------------


def read_ply(path: Path) -> tuple[TriMesh, Columns]:
    """A mesh and what else its faces carry.

    Polygons are split into triangle fans; their properties are repeated.

    Returns:
        The mesh (colours when the vertices have red, green, blue; `face_source` when the faces
        have `surface_source`) and the scalar properties of its faces, each (F,), by name.

    Raises:
        FormatError: not a PLY file, truncated, or without vertices or faces.
    """
    elements = read_ply_elements(path)
    vertices = _xyz(elements, path).astype(np.float32)
    face = elements.get("face", {})
    indices = next((face[name] for name in _FACE_INDICES if name in face), None)
    if indices is None:
        raise FormatError(
            "This PLY file has no faces.",
            where=str(path),
            next_step="Give a mesh; this may be a point cloud.",
        )
    properties = {k: v for k, v in face.items() if v.ndim == 1 and v.dtype != object}
    faces, polygon_of_face = _triangles(indices)
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise FormatError(
            "A face of this PLY file names a vertex it has not.",
            where=str(path),
            next_step="Export the mesh again from the program that made it.",
        )
    properties = {name: values[polygon_of_face] for name, values in properties.items()}
    mesh = TriMesh(
        vertices,
        faces.astype(np.int32),
        _rgb(elements["vertex"]),
        face_source=_face_source(properties.get(_SOURCE)),
    )
    return mesh, properties


def _face_source(values: NDArray[Any] | None) -> NDArray[np.uint8] | None:
    if values is None or values.dtype.kind not in "iu":
        return None
    known = len(values) and values.min() >= 0 and values.max() <= max(SurfaceSource)
    return values.astype(np.uint8) if known else None


def read_ply_cloud(path: Path) -> PointCloud:
    """A point cloud; grey (128) where the file has no colours.

    Raises:
        FormatError: not a PLY file, truncated, or without vertices.
    """
    elements = read_ply_elements(path)
    positions, vertex = _xyz(elements, path), elements["vertex"]
    colors = _rgb(vertex)
    if colors is None:
        colors = np.full((len(positions), 3), 128, np.uint8)
    has_normals = all(name in vertex for name in ("nx", "ny", "nz"))
    normals = np.column_stack([vertex[n] for n in ("nx", "ny", "nz")]) if has_normals else None
    confidence = vertex.get("confidence")
    return PointCloud(
        positions,
        colors,
        None if normals is None else normals.astype(np.float32),
        None if confidence is None else confidence.astype(np.float32),
    )


def _triangles(polygons: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(F, 3) fans of the polygons and (F,) the polygon each triangle came from."""
    if polygons.dtype != object and polygons.ndim == 2 and polygons.shape[1] == 3:
        return polygons.astype(np.int64), np.arange(len(polygons))
    fans, owners = [np.empty((0, 3), np.int64)], [np.empty(0, np.int64)]
    lengths = np.array([len(p) for p in polygons], np.int64)
    for length in np.unique(lengths[lengths >= 3]):
        which = np.flatnonzero(lengths == length)
        corners = np.stack([polygons[i] for i in which]).astype(np.int64)
        for k in range(1, length - 1):
            fans.append(corners[:, [0, k, k + 1]])
            owners.append(which)
    owner = np.concatenate(owners)
    keep = np.argsort(owner, kind="stable")
    return np.concatenate(fans)[keep], owner[keep]


def _xyz(elements: dict[str, Columns], path: Path) -> NDArray[np.floating]:
    vertex = elements.get("vertex", {})
    if not all(name in vertex for name in "xyz"):
        raise FormatError(
            "This PLY file has no vertices.",
            where=str(path),
            next_step="Export the mesh again from the program that made it.",
        )
    return np.column_stack([vertex[name] for name in "xyz"])


def _rgb(vertex: Columns) -> NDArray[np.uint8] | None:
    if not all(name in vertex for name in ("red", "green", "blue")):
        return None
    rgb = np.column_stack([vertex[name] for name in ("red", "green", "blue")])
    if rgb.dtype.kind == "f":  # some programs store [0, 1]
        rgb = np.round(np.clip(rgb, 0, 1) * 255)
    return rgb.astype(np.uint8)


# --- writing --------------------------------------------------------------------------------


def write_ply_mesh(
    mesh: TriMesh, path: Path, frame: GeoFrame, *, accuracy: str | None = None
) -> None:
    """The mesh in world coordinates, binary, with vertex colours when it has them.

    Where `face_source` is known, each face has it as `surface_source`: 1 measured, 2 weak,
    3 coarse, 4 filled.

    `accuracy`, a line that says how well coordinates are known, becomes a comment.

    Raises:
        OutputError: the file cannot be written.
    """
    columns: Columns = {name: mesh.vertices[:, i].astype("<f4") for i, name in enumerate("xyz")}
    columns |= _color_columns(mesh.colors)
    parts: list[Any] = [("count", "u1"), ("vertex_indices", "<i4", (3,))]
    header = [
        *_header_lines(columns, frame, accuracy),
        f"element face {len(mesh.faces)}",
        "property list uchar int vertex_indices",
    ]
    if mesh.face_source is not None:
        parts.append((_SOURCE, "u1"))
        header.append(f"property uchar {_SOURCE}")
    faces = np.empty(len(mesh.faces), parts)
    faces["count"], faces["vertex_indices"] = 3, mesh.faces
    if mesh.face_source is not None:
        faces[_SOURCE] = mesh.face_source
    _write(path, header, _rows(columns), faces)


def write_ply_cloud(
    cloud: PointCloud, path: Path, frame: GeoFrame, *, accuracy: str | None = None
) -> None:
    """The cloud in world coordinates, binary, with colours, normals and confidence.

    `accuracy`, a line that says how well coordinates are known, becomes a comment.

    Raises:
        OutputError: the file cannot be written.
    """
    positions = np.asarray(cloud.positions_in_world)
    kind = "<f8" if positions.dtype == np.float64 else "<f4"
    columns: Columns = {name: positions[:, i].astype(kind) for i, name in enumerate("xyz")}
    if cloud.normals is not None:
        for i, name in enumerate(("nx", "ny", "nz")):
            columns[name] = cloud.normals[:, i].astype("<f4")
    columns |= _color_columns(cloud.colors)
    if cloud.confidence is not None:
        columns["confidence"] = cloud.confidence.astype("<f4")
    _write(path, _header_lines(columns, frame, accuracy), _rows(columns))


def _color_columns(colors: NDArray[np.uint8] | None) -> Columns:
    if colors is None:
        return {}
    return {name: colors[:, i] for i, name in enumerate(("red", "green", "blue"))}


def _header_lines(columns: Columns, frame: GeoFrame, accuracy: str | None) -> list[str]:
    from voxterra.io.metadata import frame_comments

    lines = ["ply", "format binary_little_endian 1.0"]
    lines += [f"comment {line}" for line in frame_comments(frame, accuracy)]
    lines.append(f"element vertex {len(next(iter(columns.values())))}")
    return lines + [f"property {_NAMES[v.dtype.str[1:]]} {n}" for n, v in columns.items()]


def _rows(columns: Columns) -> NDArray[Any]:
    rows = np.empty(len(next(iter(columns.values()))), [(n, v.dtype) for n, v in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    return rows


def _write(path: Path, header: list[str], *tables: NDArray[Any]) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(("\n".join([*header, "end_header"]) + "\n").encode("ascii", "replace"))
        for table in tables:
            file.write(table.tobytes())
