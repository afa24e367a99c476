"""Edges, pieces and boundary loops of triangle meshes, and the repair of bad faces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from voxterra.core.mesh import TriMesh

Faces = NDArray[np.int32]


def edge_keys(faces: Faces, n_vertices: int) -> NDArray[np.int64]:
    """(F, 3) number of the undirected edges (0, 1), (1, 2), (2, 0) of each face."""
    a, b = faces.astype(np.int64), np.roll(faces, -1, axis=1).astype(np.int64)
    return np.minimum(a, b) * n_vertices + np.maximum(a, b)


def face_areas(vertices: NDArray[np.float32], faces: Faces) -> NDArray[np.float64]:
    """(F,) areas."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    cross = np.cross(b - a, c - a).astype(np.float64)
    return np.asarray(0.5 * np.sqrt((cross**2).sum(1)))


def components(faces: Faces, n_vertices: int) -> NDArray[np.int32]:
    """(F,) label of the piece each face belongs to; pieces share no vertex."""
    a, b = faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel()
    ones = np.ones(len(a), np.bool_)
    graph = coo_matrix((ones, (a, b)), shape=(n_vertices, n_vertices))
    labels = connected_components(graph, directed=False)[1]
    return np.asarray(labels[faces[:, 0]], np.int32)


def without_bad_faces(vertices: NDArray[np.float32], faces: Faces) -> Faces:
    """Faces without those that collapse, repeat, or are the third on an edge.

    Of more than two faces on one edge the largest two stay, and of two faces that run along an
    edge in the same direction the larger.
    """
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    if len(faces) == 0:
        return faces
    area = face_areas(vertices, faces)
    # Largest first, so that the first faces on an edge are the ones to keep.
    order = np.lexsort((np.arange(len(faces)), -area))
    bad = np.zeros(len(faces), np.bool_)
    start, end = faces[order].astype(np.int64), np.roll(faces[order], -1, axis=1).astype(np.int64)
    directed = (start * len(vertices) + end).ravel()
    by_edge = np.argsort(directed, kind="stable")
    repeated = np.zeros(len(directed), np.bool_)
    repeated[by_edge[1:]] = directed[by_edge[1:]] == directed[by_edge[:-1]]
    bad[order] = repeated.reshape(-1, 3).any(1)
    return faces[~bad]


def compacted(mesh: TriMesh) -> TriMesh:
    """The mesh without vertices that no face uses."""
    used = np.zeros(len(mesh.vertices), np.bool_)
    used[mesh.faces] = True
    if used.all():
        return mesh
    number = np.cumsum(used, dtype=np.int32) - 1
    colors = None if mesh.colors is None else mesh.colors[used]
    return TriMesh(mesh.vertices[used], number[mesh.faces], colors)


def boundary_edges(faces: Faces, n_vertices: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Directed edges (B, 2) that only one face has, and that face (B,)."""
    keys = edge_keys(faces, n_vertices).ravel()
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    alone = np.ones(len(keys), np.bool_)
    same = ordered[1:] == ordered[:-1]
    alone[order[1:][same]] = False
    alone[order[:-1][same]] = False
    index = np.flatnonzero(alone)
    directed = np.stack([faces, np.roll(faces, -1, axis=1)], -1).reshape(-1, 2)
    return directed[index], index // 3


def boundary_loops(edges: NDArray[np.int32]) -> list[list[int]]:
    """Closed loops of directed boundary edges (B, 2), as indices of edges.

    Loops through a vertex with several boundary edges are left out: what belongs together there
    is not known.
    """
    order = np.argsort(edges[:, 0], kind="stable")
    starts = edges[order, 0]
    first = np.searchsorted(starts, edges[:, 1])
    last = np.searchsorted(starts, edges[:, 1], side="right")
    following = np.where(last - first == 1, order[np.minimum(first, len(order) - 1)], -1).tolist()
    seen = np.zeros(len(edges), np.bool_).tolist()
    loops = []
    for begin in range(len(edges)):
        loop, edge = [], begin
        while edge >= 0 and not seen[edge]:
            seen[edge] = True
            loop.append(edge)
            edge = following[edge]
        if loop and edge == begin:
            loops.append(loop)
    return loops
