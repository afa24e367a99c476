"""Connectivity of triangle meshes, in time and memory linear in the number of faces.

Half-edge 3 f + c runs from corner c of face f to the next corner.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True)
def half_edges_by_start(faces, n_vertices):
    """Half-edges grouped by the vertex they start from.

    Args:
        faces: (F, 3) int32.
        n_vertices: number of vertices V.

    Returns:
        start (V + 1,) int64 and half_edge (3 F,) int32: those of vertex v are
        half_edge[start[v]:start[v + 1]], ascending.
    """
    start = np.zeros(n_vertices + 1, np.int64)
    for f in range(len(faces)):
        for c in range(3):
            start[faces[f, c] + 1] += 1
    for v in range(n_vertices):
        start[v + 1] += start[v]
    place = start[:-1].copy()
    half_edge = np.empty(3 * len(faces), np.int32)
    for f in range(len(faces)):
        for c in range(3):
            v = faces[f, c]
            half_edge[place[v]] = 3 * f + c
            place[v] += 1
    return start, half_edge


@njit(cache=True, inline="always")
def _end(faces, half_edge):
    return faces[half_edge // 3, (half_edge + 1) % 3]


@njit(cache=True)
def faces_on_repeated_half_edges(faces, areas, start, half_edge):
    """(F,) bool: faces that share a half-edge with a larger face (of equals, with an earlier)."""
    bad = np.zeros(len(faces), np.bool_)
    for v in range(len(start) - 1):
        for i in range(start[v], start[v + 1]):
            for j in range(i + 1, start[v + 1]):
                a, b = half_edge[i], half_edge[j]
                if _end(faces, a) == _end(faces, b):
                    if areas[b // 3] > areas[a // 3]:
                        bad[a // 3] = True
                    else:
                        bad[b // 3] = True
    return bad


@njit(cache=True, parallel=True)
def boundary_half_edges(faces, start, half_edge):
    """(3 F,) bool: half-edges whose edge has no face on the other side."""
    alone = np.zeros(3 * len(faces), np.bool_)
    for v in prange(len(start) - 1):
        for i in range(start[v], start[v + 1]):
            w = _end(faces, half_edge[i])
            found = False
            for j in range(start[w], start[w + 1]):
                if _end(faces, half_edge[j]) == v:
                    found = True
            alone[half_edge[i]] = not found
    return alone


@njit(cache=True)
def next_on_rim(faces, start, half_edge, alone, rim):
    """The half-edge of the rim that follows each of `rim`, around the faces at its end.

    Unlike by vertices alone, what follows is known too where several rims share a vertex.

    Args:
        faces, start, half_edge: as `half_edges_by_start` has them.
        alone: (3 F,) bool, as `boundary_half_edges` has it.
        rim: (B,) int64 half-edges.

    Returns:
        (B,) int64 half-edges.
    """
    out = np.empty(len(rim), np.int64)
    for i in range(len(rim)):
        h = rim[i]
        v = _end(faces, h)
        g = 3 * (h // 3) + (h + 1) % 3
        while not alone[g]:
            w = _end(faces, g)
            for j in range(start[w], start[w + 1]):
                if _end(faces, half_edge[j]) == v:
                    g = np.int64(half_edge[j])
                    break
            g = 3 * (g // 3) + (g + 1) % 3
        out[i] = g
    return out


@njit(cache=True)
def vertex_components(faces, n_vertices):
    """(V,) int32 label of the piece of each vertex, by union-find; labels count from 0."""
    parent = np.arange(n_vertices).astype(np.int32)
    for f in range(len(faces)):
        for c in range(2):
            a, b = faces[f, c], faces[f, c + 1]
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = parent[a]
            while parent[b] != b:
                parent[b] = parent[parent[b]]
                b = parent[b]
            if a < b:
                parent[b] = a
            else:
                parent[a] = b
    # A root is the lowest vertex of its piece, so it has its label before the others ask.
    label = np.empty(n_vertices, np.int32)
    count = 0
    for v in range(n_vertices):
        root = v
        while parent[root] != root:
            root = parent[root]
        if root == v:
            label[v] = count
            count += 1
        else:
            label[v] = label[root]
            parent[v] = root
    return label


@njit(cache=True)
def closed_loops(following):
    """Closed loops in a partial map from edges to edges.

    Args:
        following: (B,) int64 next edge, -1 = none known; no edge follows two others.

    Returns:
        start (L + 1,) int64 and edge (M,) int64: loop i is edge[start[i]:start[i + 1]].
    """
    n = len(following)
    seen = np.zeros(n, np.bool_)
    edge = np.empty(n, np.int64)
    start = np.zeros(n + 1, np.int64)
    loops, used = 0, 0
    for begin in range(n):
        e, length = np.int64(begin), 0
        while e >= 0 and not seen[e]:
            seen[e] = True
            edge[used + length] = e
            length += 1
            e = following[e]
        if length > 0 and e == begin:
            used += length
            loops += 1
            start[loops] = used
    return start[: loops + 1], edge[:used]


@njit(cache=True)
def _area(a, b, c):
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    return 0.5 * np.sqrt(x * x + y * y + z * z)


@njit(cache=True)
def least_area_triangles(points, joined):
    """Triangulate a closed loop in space so that the area is least (Barequet & Sharir 1995).

    Args:
        points: (N, 3) float64, N >= 3, in the order of the loop.
        joined: (N, N) bool: pairs that no triangle may join, as an edge joins them already.

    Returns:
        (N - 2, 3) int32 triangles that run in the loop's direction.
    """
    n = len(points)
    cost = np.zeros((n, n))
    split = np.zeros((n, n), np.int32)
    for span in range(2, n):
        for i in range(n - span):
            j = i + span
            best = np.inf
            split[i, j] = i + 1
            for k in range(i + 1, j):
                c = cost[i, k] + cost[k, j] + _area(points[i], points[k], points[j])
                if c < best:
                    best = c
                    split[i, j] = k
            # Whole of the loop: its last edge, which is there to be used.
            cost[i, j] = np.inf if joined[i, j] and span < n - 1 else best
    out = np.empty((n - 2, 3), np.int32)
    stack = np.empty((n, 2), np.int32)
    stack[0, 0], stack[0, 1] = 0, n - 1
    depth, count = 1, 0
    while depth > 0:
        depth -= 1
        i, j = stack[depth, 0], stack[depth, 1]
        k = split[i, j]
        out[count, 0], out[count, 1], out[count, 2] = i, k, j
        count += 1
        if k - i > 1:
            stack[depth, 0], stack[depth, 1] = i, k
            depth += 1
        if j - k > 1:
            stack[depth, 0], stack[depth, 1] = k, j
            depth += 1
    return out


@njit(cache=True)
def patch_loops(vertices, start, rim, first, half_edge, faces):
    """Triangles of least area over closed loops of vertices, without edges of the mesh inside.

    Without that rule a corner of the rim would be closed by the very face that sticks out there.

    Args:
        vertices: (V, 3) float32.
        start, rim: loop i is rim[start[i]:start[i + 1]], at least 3 vertices.
        first, half_edge: of `faces` (F, 3), as `half_edges_by_start` has them.

    Returns:
        (T, 3) int32 triangles that run in the direction of the loops, and (T,) int32 loop of each.
    """
    n_loops = len(start) - 1
    total = len(rim) - 2 * n_loops
    triangles = np.empty((total, 3), np.int32)
    owner = np.empty(total, np.int32)
    place = np.full(len(vertices), -1, np.int64)
    t = 0
    for i in range(n_loops):
        loop = rim[start[i] : start[i + 1]]
        points = np.empty((len(loop), 3))
        for k in range(len(loop)):
            for a in range(3):
                points[k, a] = vertices[loop[k], a]
            place[loop[k]] = k
        joined = np.zeros((len(loop), len(loop)), np.bool_)
        for k in range(len(loop)):
            for h in range(first[loop[k]], first[loop[k] + 1]):
                other = place[_end(faces, half_edge[h])]
                if other >= 0:
                    joined[k, other] = True
                    joined[other, k] = True
        for k in range(len(loop)):
            place[loop[k]] = -1
        patch = least_area_triangles(points, joined)
        for k in range(len(patch)):
            for c in range(3):
                triangles[t, c] = loop[patch[k, c]]
            owner[t] = i
            t += 1
    return triangles, owner
