"""Marching cubes over sparse blocks (Lorensen & Cline 1987).

The case table is derived here instead of being copied: on each face of a cell the crossings are
joined so that negative corners which only share a diagonal stay apart. The rule looks at nothing
but the face, so neighbouring cells agree and the surface has no cracks (Montani et al. 1994).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from voxterra.kernels.fusion.blocks import BLOCK

# Corner c of a cell lies at (c & 1, c >> 1 & 1, c >> 2 & 1).
# Edge e of a cell runs along axis EDGES[e][1] from corner EDGES[e][0].
EDGES = [(c, axis) for axis in range(3) for c in range(8) if not c >> axis & 1]
MAX_TRIANGLES = 5
_EDGE_OF = {frozenset((c, c | 1 << axis)): e for e, (c, axis) in enumerate(EDGES)}
EDGE_CORNER = np.array([c for c, _ in EDGES], np.int32)
EDGE_AXIS = np.array([axis for _, axis in EDGES], np.int32)


def _faces() -> list[list[int]]:
    """The corners of the six faces, counter-clockwise seen from outside of the cell."""
    faces = []
    for axis in range(3):
        b, c = 1 << (axis + 1) % 3, 1 << (axis + 2) % 3
        faces.append([0, c, b | c, b])
        faces.append([1 << axis | corner for corner in (0, b, b | c, c)])
    return faces


def _loops(case: int) -> list[list[int]]:
    """Closed polygons of cell edges that separate negative from positive corners."""
    following = {}
    for face in _faces():
        inside = [case >> c & 1 for c in face]
        for i in range(4):
            if inside[i] or not inside[(i + 1) % 4]:
                continue
            j = (i + 1) % 4
            while inside[(j + 1) % 4]:
                j = (j + 1) % 4
            entering = _EDGE_OF[frozenset((face[i], face[(i + 1) % 4]))]
            leaving = _EDGE_OF[frozenset((face[j], face[(j + 1) % 4]))]
            following[entering] = leaving
    loops = []
    while following:
        loop = [min(following)]
        while (succ := following.pop(loop[-1])) != loop[0]:
            loop.append(succ)
        loops.append(loop)
    return loops


def _on_one_face(e: int, f: int) -> bool:
    corners = {c for edge in (e, f) for c in (EDGES[edge][0], EDGES[edge][0] | 1 << EDGES[edge][1])}
    return any(corners <= set(face) for face in _faces())


def _triangulate(loop: list[int]) -> tuple[int, list[tuple[int, int, int]]]:
    """Triangles of a polygon, with as few diagonals in cell faces as can be.

    A diagonal in a face may coincide with one of the neighbouring cell: an edge of four triangles.
    """
    if len(loop) < 3:
        return 0, []
    best: tuple[int, list[tuple[int, int, int]]] | None = None
    for k in range(1, len(loop) - 1):
        left, right = loop[: k + 1], loop[k:]
        cost_left, tri_left = _triangulate(left)
        cost_right, tri_right = _triangulate(right)
        cost = cost_left + cost_right
        if k > 1:
            cost += _on_one_face(loop[0], loop[k])
        if k < len(loop) - 2:
            cost += _on_one_face(loop[k], loop[-1])
        if best is None or cost < best[0]:
            best = cost, [(loop[0], loop[k], loop[-1]), *tri_left, *tri_right]
    assert best is not None
    return best


@cache
def case_table() -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Triangles (256, 5, 3) as cell edges and their number (256,); bit c set = corner c negative.

    Triangles are counter-clockwise seen from the positive side.
    """
    table = np.full((256, MAX_TRIANGLES, 3), -1, np.int8)
    count = np.zeros(256, np.int8)
    for case in range(256):
        triangles = [t for loop in _loops(case) for t in _triangulate(loop)[1]]
        count[case] = len(triangles)
        if triangles:
            table[case, : len(triangles)] = triangles
    return table, count


@njit(cache=True, inline="always")
def _gather(field, neighbors, b, padded):
    """Distances of a block and of the next layer of voxels in its upper neighbours."""
    for n in range(8):
        row = neighbors[b, n]
        i1 = 1 if n & 1 else BLOCK
        j1 = 1 if n & 2 else BLOCK
        k1 = 1 if n & 4 else BLOCK
        oi = BLOCK if n & 1 else 0
        oj = BLOCK if n & 2 else 0
        ok = BLOCK if n & 4 else 0
        for k in range(k1):
            for j in range(j1):
                for i in range(i1):
                    value = np.float32(np.nan)
                    if row >= 0:
                        value = field[row, (k * BLOCK + j) * BLOCK + i]
                    padded[ok + k, oj + j, oi + i] = value


@njit(cache=True, inline="always")
def _case(padded, i, j, k, lowest):
    """Case of a cell; 0 where a corner is unknown or deeper below the surface than `lowest`."""
    case = 0
    for c in range(8):
        value = padded[k + (c >> 2 & 1), j + (c >> 1 & 1), i + (c & 1)]
        if not value >= lowest:
            return 0
        if value < 0:
            case |= 1 << c
    return case & 255 if case != 255 else 0


@njit(cache=True, parallel=True)
def count_triangles(field, neighbors, owned, lowest, table_count, out):
    """Number of triangles in each of the first `owned` blocks, into `out` (owned,) int64."""
    for b in prange(owned):
        padded = np.empty((BLOCK + 1, BLOCK + 1, BLOCK + 1), np.float32)
        _gather(field, neighbors, b, padded)
        total = 0
        for k in range(BLOCK):
            for j in range(BLOCK):
                for i in range(BLOCK):
                    total += table_count[_case(padded, i, j, k, lowest)]
        out[b] = total


@njit(cache=True, parallel=True)
def emit_triangles(field, neighbors, owned, lowest, table, table_count, start, faces, used):
    """Write the triangles of the first `owned` blocks.

    Args:
        field: (B, 512) float32 distances, NaN = unknown.
        neighbors: (B, 8) int32 row of the block at offset (n & 1, n >> 1 & 1, n >> 2 & 1), -1 none.
        owned: blocks whose cells are to be meshed; the others only lend their voxels.
        lowest: cells with a corner below this have no surface (it would be a skirt below the rim).
        table, table_count: of `case_table`.
        start: (owned,) int64 first triangle of each block.
        faces: (T, 3) int64, written: lattice edges, (row * 512 + voxel) * 3 + axis.
        used: (B * 512 * 3,) uint8, set to 1 at the lattice edges in `faces`.
    """
    for b in prange(owned):
        padded = np.empty((BLOCK + 1, BLOCK + 1, BLOCK + 1), np.float32)
        _gather(field, neighbors, b, padded)
        t = start[b]
        for k in range(BLOCK):
            for j in range(BLOCK):
                for i in range(BLOCK):
                    case = _case(padded, i, j, k, lowest)
                    for n in range(table_count[case]):
                        for corner in range(3):
                            e = table[case, n, corner]
                            c = EDGE_CORNER[e]
                            x, y, z = i + (c & 1), j + (c >> 1 & 1), k + (c >> 2 & 1)
                            which = x // BLOCK + 2 * (y // BLOCK) + 4 * (z // BLOCK)
                            x, y, z = x % BLOCK, y % BLOCK, z % BLOCK
                            voxel = (z * BLOCK + y) * BLOCK + x
                            row = np.int64(neighbors[b, which])
                            edge = (row * (BLOCK * BLOCK * BLOCK) + voxel) * 3 + EDGE_AXIS[e]
                            faces[t, corner] = edge
                            used[edge] = 1
                        t += 1


@njit(cache=True, parallel=True)
def edge_vertices(
    edges, field, colors, sources, neighbors, coords, voxel, base,
    keys, vertices, vertex_colors, vertex_sources,
):  # fmt: skip
    """Vertices on lattice edges, where the distance is zero.

    Args:
        edges: (V,) int64 lattice edges as in `emit_triangles`.
        field, colors: distances (B, 512) and colours (B, 512, 3), < 0 = unknown.
        sources: (B, 512) uint8 `SurfaceSource`, 0 = none.
        neighbors: (B, 8) int32.
        coords: (B, 3) int32 block coordinates.
        voxel: edge of a voxel in world units.
        base: (3,) int64 lowest block coordinates of the whole volume, at most 2**20 voxels wide.
        keys: (V,) int64, written: number of the lattice edge, the same in every region.
        vertices: (V, 3) float32, written, in world.
        vertex_colors: (V, 3) uint8, written.
        vertex_sources: (V,) uint8, written: the better one of the edge's ends.
    """
    for n in prange(len(edges)):
        axis = edges[n] % 3
        index = (edges[n] // 3) % (BLOCK * BLOCK * BLOCK)
        row = edges[n] // (3 * BLOCK * BLOCK * BLOCK)
        local = np.empty(3, np.int64)
        local[0] = index % BLOCK
        local[1] = (index // BLOCK) % BLOCK
        local[2] = index // (BLOCK * BLOCK)
        lattice = np.empty(3, np.int64)
        for a in range(3):
            lattice[a] = np.int64(coords[row, a]) * BLOCK + local[a]
        row_b = row
        if local[axis] == BLOCK - 1:
            row_b = np.int64(neighbors[row, 1 << axis])
        local[axis] = (local[axis] + 1) % BLOCK
        index_b = (local[2] * BLOCK + local[1]) * BLOCK + local[0]
        fa, fb = field[row, index], field[row_b, index_b]
        # Away from the ends, so that no triangle collapses.
        t = min(max(fa / (fa - fb), np.float32(0.01)), np.float32(0.99))
        for a in range(3):
            vertices[n, a] = (lattice[a] + (t if a == axis else 0.0)) * voxel
            ca, cb = colors[row, index, a], colors[row_b, index_b, a]
            value = ca + t * (cb - ca)
            if ca < 0 or cb < 0:
                value = max(ca, cb, np.float32(0.0))
            vertex_colors[n, a] = np.uint8(min(max(value + np.float32(0.5), 0.0), 255.0))
        # 0, no source, wraps to the worst.
        end_a, end_b = np.uint8(sources[row, index] - 1), np.uint8(sources[row_b, index_b] - 1)
        vertex_sources[n] = min(end_a, end_b) + 1
        for a in range(3):
            lattice[a] -= base[a] * BLOCK
        keys[n] = ((lattice[2] << 40) + (lattice[1] << 20) + lattice[0]) * 3 + axis
