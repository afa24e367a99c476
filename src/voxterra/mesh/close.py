"""Large holes inside the surface closed, with faces that are marked as invented.

A hole is a rim that runs around what is missing, not around the piece: seen from where its faces
are seen, it runs the other way. It gets triangles of least area (Barequet & Sharir 1995), cut to
the size of the faces around, whose vertices lie as a membrane in the rim. Where the surface faces
up, the membrane hangs in the lower level of the rim alone: a gap beside a tree becomes ground and
a steep edge, never a ramp into the crown.
"""

from __future__ import annotations

import logging
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu

from voxterra.core.mesh import TriMesh
from voxterra.kernels.mesh.connectivity import (
    boundary_half_edges,
    closed_loops,
    half_edges_by_start,
    next_on_rim,
    patch_loops,
)
from voxterra.mesh.texture.split import cut_faces
from voxterra.mesh.topology import components, edge_keys, face_areas, with_patches

logger = logging.getLogger(__name__)

_MOST_EDGES = 1200  # of a rim: the time to triangulate it grows with the third power
_LARGEST_SHARE = 0.5  # of the area of its piece that a hole may have
_FINENESS = 3.0  # longest edge of a patch, in median edges of the rims
_STEP = 5.0  # median edges above the lower level of the rim from which on it is another level
_ABOVE = 0.02  # weight of what lies above the lower level beside what lies below
_HOLD = 1e-3  # weight of the lower level in a membrane, beside that of a neighbour

Float = NDArray[np.float64]
Loop = NDArray[np.int32]


def close_holes(mesh: TriMesh) -> TriMesh:
    """The mesh with enclosed holes closed; z points up. Their faces are FILLED.

    Rims of more than 1200 edges, and holes larger than half of their piece, stay open.
    """
    loops = _holes(mesh)
    if not loops:
        return mesh
    rim = np.concatenate(loops)
    ends = np.cumsum([0, *map(len, loops)])
    first, half_edge = half_edges_by_start(mesh.faces, len(mesh.vertices))
    patches, owner = patch_loops(mesh.vertices, ends, rim, first, half_edge, mesh.faces)
    spoiled = _spoiled(patches, owner, mesh)
    patches = patches[~spoiled[owner]]
    logger.info("closed %d of %d holes inside of the surface", (~spoiled).sum(), len(loops))
    if len(patches) == 0:
        return mesh
    points = mesh.vertices.astype(np.float64)
    edge = float(np.median([np.median(_lengths(points, loop)) for loop in loops]))
    level, high = _levels(mesh, loops, _STEP * edge)
    return _with_membranes(mesh, patches, _FINENESS * edge, level, high)


def _lengths(points: Float, loop: Loop) -> Float:
    return np.asarray(np.linalg.norm(points[np.roll(loop, -1)] - points[loop], axis=1))


def _holes(mesh: TriMesh) -> list[Loop]:
    """Rims of holes as vertices, in the direction of a patch; none touches itself."""
    faces, points = mesh.faces, mesh.vertices.astype(np.float64)
    start, half_edge = half_edges_by_start(faces, len(points))
    alone = boundary_half_edges(faces, start, half_edge)
    rim = np.flatnonzero(alone)
    number = np.full(len(alone), -1, np.int64)
    number[rim] = np.arange(len(rim))
    following = number[next_on_rim(faces, start, half_edge, alone, rim)]
    ends, edge = closed_loops(following)
    labels = components(faces, len(points))
    areas = np.bincount(labels, weights=face_areas(mesh.vertices, faces))
    corners = points[faces[rim // 3]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    first = faces[rim // 3, rim % 3]
    found = []
    for low, high in pairwise(ends):
        for part in _simple(edge[low:high], first):
            loop = first[part]
            around = points[loop] - points[loop].mean(0)
            vector = 0.5 * np.cross(around, np.roll(around, -1, axis=0)).sum(0)
            size = float(np.linalg.norm(vector))
            piece = areas[labels[rim[part[0]] // 3]]
            inside = vector @ normals[part].sum(0) < 0 and size <= _LARGEST_SHARE * piece
            if inside and 3 <= len(loop) <= _MOST_EDGES:
                found.append(loop[::-1].astype(np.int32))
    return found


def _simple(loop: NDArray[np.int64], first: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """A loop of rim edges, cut where it comes by the same vertex again."""
    at: dict[int, int] = {}
    path: list[int] = []
    parts = []
    for edge in loop.tolist():
        vertex = int(first[edge])
        if vertex in at:
            begin = at[vertex]
            parts.append(np.array(path[begin:]))
            for gone in path[begin:]:
                del at[int(first[gone])]
            del path[begin:]
        at[vertex] = len(path)
        path.append(edge)
    return [*parts, np.array(path)]


def _spoiled(
    patches: NDArray[np.int32], owner: NDArray[np.int32], mesh: TriMesh
) -> NDArray[np.bool_]:
    """Loops whose patch would be the third face on some edge."""
    keys = edge_keys(patches, len(mesh.vertices)).ravel()
    _, inverse, count = np.unique(keys, return_inverse=True, return_counts=True)
    taken = edge_keys(mesh.faces, len(mesh.vertices)).ravel()
    taken = taken[np.isin(taken, keys)]
    known, uses = np.unique(taken, return_counts=True)
    place = np.minimum(np.searchsorted(known, keys), max(len(known) - 1, 0))
    there = np.where(known[place] == keys, uses[place], 0) if len(known) else np.zeros(len(keys))
    spoiled = np.zeros(int(owner.max()) + 1, np.bool_)
    spoiled[np.repeat(owner, 3)[count[inverse] + there > 2]] = True
    return spoiled


def _levels(mesh: TriMesh, loops: list[Loop], step: float) -> tuple[Float, NDArray[np.bool_]]:
    """(V,) height of the lower level at the vertices of rims, and whether they lie above it.

    The lower level of a rim is its plane by asymmetric least squares (Newey & Powell 1987).
    """
    level, high = mesh.vertices[:, 2].astype(np.float64), np.zeros(len(mesh.vertices), np.bool_)
    for loop in loops:
        points = mesh.vertices[loop].astype(np.float64)
        centre = points.mean(0)
        around = points - centre
        vector = np.cross(around, np.roll(around, -1, axis=0)).sum(0)
        if abs(vector[2]) < 0.5 * np.linalg.norm(vector):
            continue  # a hole in a wall has no lower level
        design = np.column_stack([around[:, :2], np.ones(len(loop))])
        plane = np.array([0.0, 0.0, around[:, 2].min()])
        for _ in range(30):
            above = around[:, 2] > design @ plane
            weight = np.where(above, _ABOVE, 1.0)
            # The ridge holds the plane level where the rim is too narrow to tell its slope.
            ridge = np.diag([1e-3 * weight.sum() * step**2] * 2 + [0.0])
            left = design.T @ (weight[:, None] * design) + ridge
            plane = np.linalg.solve(left, design.T @ (weight * around[:, 2]))
        level[loop] = centre[2] + design @ plane
        high[loop] = around[:, 2] > design @ plane + step
    return level, high


def _with_membranes(
    mesh: TriMesh, patches: NDArray[np.int32], longest: float, level: Float, high: NDArray[np.bool_]
) -> TriMesh:
    """The mesh with patches, cut until no inner edge is longer than `longest`, and relaxed."""
    n = len(mesh.vertices)
    points = mesh.vertices.astype(np.float64)
    for _ in range(12):
        ends = np.sort(np.stack([patches, np.roll(patches, -1, axis=1)], -1).reshape(-1, 2), axis=1)
        edges, inverse, count = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
        length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
        cut = (count == 2) & (length > longest)
        if not cut.any():
            break
        number = np.full(len(edges), -1, np.int64)
        number[cut] = len(points) + np.arange(int(cut.sum()))
        points = np.concatenate([points, points[edges[cut]].mean(1)])
        level = np.concatenate([level, level[edges[cut]].mean(1)])
        patches = cut_faces(patches, number[inverse.ravel()].reshape(-1, 3))[0].astype(np.int32)
    inner = np.arange(n, len(points))
    colors = mesh.colors
    if len(inner):
        values = points if colors is None else np.column_stack([points, _grown(colors, points)])
        relaxed = _membrane(patches, n, values, np.zeros(n, np.bool_), values[inner])
        points[inner] = relaxed[:, :3]
        heights = _membrane(patches, n, points[:, 2:], high, level[inner, None])
        points[inner, 2] = heights[:, 0]
        if colors is not None:
            new = np.clip(np.rint(relaxed[:, 3:]), 0, 255).astype(np.uint8)
            colors = np.concatenate([colors, new])
    return with_patches(
        TriMesh(points.astype(np.float32), mesh.faces, colors, face_source=mesh.face_source),
        patches,
    )


def _grown(colors: NDArray[np.uint8], points: Float) -> Float:
    more = np.full((len(points) - len(colors), 3), 128.0)
    return np.concatenate([colors.astype(np.float64), more])


def _membrane(
    patches: NDArray[np.int32], n: int, values: Float, loose: NDArray[np.bool_], hold: Float
) -> Float:
    """Values of the vertices from `n` on: each the mean of its neighbours.

    Args:
        patches: faces.
        n: vertices before hold the membrane at their `values`.
        values: (V, C).
        loose: (n,) those that do not hold it.
        hold: (V - n, C) values that draw the inner vertices a little.
    """
    a, b = patches.ravel(), np.roll(patches, -1, axis=1).ravel()
    rows, columns = np.concatenate([a, b]), np.concatenate([b, a])
    counts = rows >= n
    counts &= (columns >= n) | ~loose[np.minimum(columns, n - 1)]
    rows, columns = rows[counts] - n, columns[counts]
    size = len(values) - n
    inside = columns >= n
    graph = coo_matrix(
        (np.ones(int(inside.sum())), (rows[inside], columns[inside] - n)), shape=(size, size)
    )
    degree = np.bincount(rows, minlength=size) + _HOLD
    right = _HOLD * hold
    np.add.at(right, rows[~inside], values[columns[~inside]])
    return np.asarray(splu((diags(degree) - graph).tocsc()).solve(right))
