"""Edges, pieces and boundary loops of triangle meshes, and the repair of bad faces."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.mesh import TriMesh
from voxterra.core.surface_source import SurfaceSource
from voxterra.kernels.mesh.connectivity import (
    boundary_half_edges,
    closed_loops,
    faces_on_repeated_half_edges,
    half_edges_by_start,
    vertex_components,
)

Faces = NDArray[np.int32]


def edge_keys(faces: Faces, n_vertices: int) -> NDArray[np.int64]:
    """(F, 3) number of the undirected edges (0, 1), (1, 2), (2, 0) of each face."""
    a, b = faces.astype(np.int64), np.roll(faces, -1, axis=1).astype(np.int64)
    return np.minimum(a, b) * n_vertices + np.maximum(a, b)


def face_areas(vertices: NDArray[np.float32], faces: Faces) -> NDArray[np.float32]:
    """(F,) areas."""
    a = vertices[faces[:, 0]]
    u, v = vertices[faces[:, 1]] - a, vertices[faces[:, 2]] - a
    x = u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1]
    y = u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2]
    z = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    return np.asarray(0.5 * np.sqrt(x * x + y * y + z * z), np.float32)


def components(faces: Faces, n_vertices: int) -> NDArray[np.int32]:
    """(F,) label of the piece each face belongs to; pieces share no vertex."""
    return np.asarray(vertex_components(faces, n_vertices)[faces[:, 0]])


def good_faces(vertices: NDArray[np.float32], faces: Faces) -> NDArray[np.int64]:
    """Indices of the faces but those that collapse, repeat, or are the third on an edge.

    Of faces that run along an edge in the same direction the largest stays, so that no edge keeps
    more than two faces, of consistent orientation.
    """
    a, b, c = faces.T
    whole = np.flatnonzero((a != b) & (b != c) & (c != a))
    faces = np.ascontiguousarray(faces[whole])
    areas = face_areas(vertices, faces)
    bad = faces_on_repeated_half_edges(faces, areas, *half_edges_by_start(faces, len(vertices)))
    good: NDArray[np.int64] = whole[~bad]
    return good


def with_faces(mesh: TriMesh, chosen: NDArray[Any]) -> TriMesh:
    """The mesh with only some faces, their marks with them, and the vertices these use.

    A texture is dropped.

    Args:
        mesh: of F faces.
        chosen: which: (F,) bool, or indices.
    """
    source = None if mesh.face_source is None else mesh.face_source[chosen]
    return compacted(TriMesh(mesh.vertices, mesh.faces[chosen], mesh.colors, face_source=source))


def with_patches(mesh: TriMesh, patches: Faces) -> TriMesh:
    """The mesh with faces added that are marked as filled."""
    known = mesh.face_source
    if known is None:
        known = np.full(len(mesh.faces), SurfaceSource.MEASURED, np.uint8)
    filled = np.full(len(patches), SurfaceSource.FILLED, np.uint8)
    return TriMesh(
        mesh.vertices,
        np.concatenate([mesh.faces, patches]),
        mesh.colors,
        face_source=np.concatenate([known, filled]),
    )


def compacted(mesh: TriMesh) -> TriMesh:
    """The mesh without vertices that no face uses."""
    used = np.zeros(len(mesh.vertices), np.bool_)
    used[mesh.faces] = True
    if used.all():
        return mesh
    number = np.cumsum(used, dtype=np.int32) - np.int32(1)
    colors = None if mesh.colors is None else mesh.colors[used]
    return TriMesh(mesh.vertices[used], number[mesh.faces], colors, face_source=mesh.face_source)


def boundary_edges(faces: Faces, n_vertices: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Directed edges (B, 2) that only one face has, and that face (B,)."""
    index = np.flatnonzero(boundary_half_edges(faces, *half_edges_by_start(faces, n_vertices)))
    face, corner = index // 3, index % 3
    return np.column_stack([faces[face, corner], faces[face, (corner + 1) % 3]]), face


def boundary_loops(edges: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Closed loops of directed boundary edges (B, 2): start (L + 1,) into edge indices (M,).

    Loops through a vertex with several boundary edges are left out: what belongs together there
    is not known.
    """
    order = np.argsort(edges[:, 0], kind="stable")
    starts = edges[order, 0]
    first = np.searchsorted(starts, edges[:, 1])
    last = np.searchsorted(starts, edges[:, 1], side="right")
    single = last - first == 1
    following = np.full(len(edges), -1, np.int64)
    following[single] = order[first[single]]
    start, edge = closed_loops(following)
    return start, edge
