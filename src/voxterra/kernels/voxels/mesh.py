"""Where the zero of a sparse-voxel model crosses the faces and edges of its leaves.

Marching cubes on the leaves of an octree without resampling (Kazhdan et al., Unconstrained
Isosurface Extraction on Arbitrary Octrees, 2007; Ho et al., Cubical Marching Squares, 2005). Where
leaves of different size meet, the finest of them say what happens on the face and on the edge:

- An edge is cut at every corner that lies on it. Each piece whose ends differ in sign carries one
  vertex, and all leaves around the piece use that vertex.
- A face between two leaves is a polygon of such pieces. Each run of negative corners along it is
  cut off by one line between two vertices. Both leaves get that line, in opposite directions.

The lines of a leaf hence form closed loops (`kernels.voxels.polygons` fills them), each line is the
border of exactly two loops, and the surface is closed, whatever the levels.

Cells, paths and corners are numbered as `core.morton` says.
"""

import numpy as np
from numba import njit, prange

from voxterra.core.morton import MAX_LEVEL
from voxterra.kernels.voxels.lookup import cell_path, compact, find_corner, find_leaf, upper


@njit(cache=True, parallel=True)
def mark_coarser(path, level, rows, out):
    """Set `out` (N,) uint8 to 1 at the leaves coarser than those in `rows` that share an edge."""
    for n in prange(len(rows)):
        i = rows[n]
        x, y, z = compact(path[i] >> 2), compact(path[i] >> 1), compact(path[i])
        size = np.int64(1) << (MAX_LEVEL - level[i])
        for d in range(27):
            dx, dy, dz = d // 9 - 1, d // 3 % 3 - 1, d % 3 - 1
            if abs(dx) + abs(dy) + abs(dz) in (1, 2):
                j = find_leaf(path, level, x + dx * size, y + dy * size, z + dz * size)
                if j >= 0 and level[j] < level[i]:
                    out[j] = 1


@njit(cache=True)
def _beyond(path, level, i, x, y, z, size, face):
    """Leaf beyond a face (axis = face // 2, upper side = face % 2) of leaf i.

    Returns -1 where nothing lies beyond, -2 where the face is the finer leaves' to deal with.
    """
    step = size if face & 1 else -size
    axis = face >> 1
    x, y, z = (
        x + (step if axis == 0 else 0),
        y + (step if axis == 1 else 0),
        z + (step if axis == 2 else 0),
    )
    j = find_leaf(path, level, x, y, z)
    if j >= 0 and level[j] <= level[i]:
        return j
    if min(x, y, z) < 0 or max(x, y, z) >= 1 << MAX_LEVEL:
        return np.int64(-1)
    key = cell_path(x, y, z)
    first = upper(path, key - 1)
    finer = first < len(path) and path[first] < key + size * size * size
    return np.int64(-2) if finer else np.int64(-1)


@njit(cache=True)
def _face_lines(keys, table, sdf, x, y, z, size, finest, face, leaf, other, out_leaf, out_edge, at):
    """Lines on one face of a leaf, counted, and written from `at` on if `out_leaf` has a length.

    Walks around the face, counter-clockwise seen from outside of the leaf, from corner to corner.
    """
    axis, upper = face >> 1, face & 1
    u, v = (axis + 1) % 3, (axis + 2) % 3
    low = np.empty(3, np.int64)
    low[0], low[1], low[2] = x, y, z
    low[axis] += size * upper
    point = low.copy()
    previous = find_corner(keys, table, low[0], low[1], low[2])
    entering, leaving_first = np.int64(-1), np.int64(-1)
    count = 0
    for side in range(4):
        # u up, v up, u down, v down seen from the upper side; u and v swap seen from the lower.
        along = u if (side & 1) ^ (1 - upper) == 0 else v
        sign = 1 if side < 2 else -1
        walked = np.int64(0)
        while walked < size:
            step = size if walked == 0 else min(size, walked & -walked)
            start = point[along]
            index = np.int64(-1)
            while step > finest:
                # A corner half way: the edge is cut there.
                point[along] = start + sign * (step >> 1)
                middle = find_corner(keys, table, point[0], point[1], point[2])
                if middle < 0:
                    break
                index = middle
                step >>= 1
            point[along] = start + sign * step
            if index < 0:
                index = find_corner(keys, table, point[0], point[1], point[2])
            if (sdf[previous] < 0) != (sdf[index] < 0):
                edge = (previous if sign > 0 else index) * 3 + along
                if sdf[index] < 0:
                    entering = edge
                elif entering < 0:
                    leaving_first = edge
                else:
                    count += _put(entering, edge, leaf, other, out_leaf, out_edge, at + count)
                    entering = np.int64(-1)
            previous = index
            walked += step
    if leaving_first >= 0:
        count += _put(entering, leaving_first, leaf, other, out_leaf, out_edge, at + count)
    return count


@njit(cache=True, inline="always")
def _put(entering, leaving, leaf, other, out_leaf, out_edge, at):
    count = 0
    if leaf >= 0:
        if len(out_leaf):
            out_leaf[at], out_edge[at, 0], out_edge[at, 1] = leaf, entering, leaving
        count += 1
    if other >= 0:
        if len(out_leaf):
            out_leaf[at + count] = other
            out_edge[at + count, 0], out_edge[at + count, 1] = leaving, entering
        count += 1
    return count


@njit(cache=True, parallel=True)
def leaf_lines(path, level, keys, table, sdf, rows, chosen, start, out_leaf, out_edge, count):
    """Lines of the surface on the faces of leaves; each goes to both leaves of the face.

    Args:
        path, level: (N,) leaves.
        keys, sdf: (M,) corners.
        table: of `corner_table`.
        rows: (R,) int64 leaves to look at: all those that touch an edge with a crossing.
        chosen: (N,) bool: leaves that are to get lines.
        start: (R,) int64 first line of each row.
        out_leaf: (L,) int32, written: leaf of each line; empty: only count.
        out_edge: (L, 2) int64, written: from and to, edges as corner * 3 + axis of the lower end.
        count: (R,) int64, written: lines of each row.
    """
    finest = np.int64(1) << (MAX_LEVEL - level.max())
    for n in prange(len(rows)):
        i = rows[n]
        x, y, z = compact(path[i] >> 2), compact(path[i] >> 1), compact(path[i])
        size = np.int64(1) << (MAX_LEVEL - level[i])
        total = 0
        for face in range(6):
            j = _beyond(path, level, i, x, y, z, size, face)
            # Of two leaves of one size the lower one deals with the face.
            if j == -2 or (j >= 0 and level[j] == level[i] and not face & 1):
                continue
            leaf = i if chosen[i] else -1
            other = j if j >= 0 and chosen[j] else -1
            if leaf >= 0 or other >= 0:
                total += _face_lines(
                    keys, table, sdf, x, y, z, size, finest, face, leaf, other,
                    out_leaf, out_edge, start[n] + total,
                )  # fmt: skip
        count[n] = total


@njit(cache=True, parallel=True)
def crossing_points(edges, keys, table, sdf, finest, origin, spacing, lattice, points):
    """Where the distance is zero on pieces of edges.

    Args:
        edges: (V,) int64, corner * 3 + axis of the lower end.
        keys, sdf: (M,) corners.
        table: of `corner_table`.
        finest: edge of the finest leaf on the lattice.
        origin, spacing: of the lattice, in world: (3,) float64, float.
        lattice: (V, 3) int64, written: the lower end.
        points: (V, 3) float32, written, in world.
    """
    for n in prange(len(edges)):
        a, axis = edges[n] // 3, edges[n] % 3
        key = keys[a]
        lattice[n, 0], lattice[n, 1] = key >> 34, (key >> 17) & 0x1FFFF
        lattice[n, 2] = key & 0x1FFFF
        size, b = np.int64(finest), np.int64(-1)
        while b < 0 and size <= 1 << MAX_LEVEL:
            at = lattice[n].copy()
            at[axis] += size
            b = find_corner(keys, table, at[0], at[1], at[2])
            if b < 0:
                size <<= 1
        t = sdf[a] / (sdf[a] - sdf[b]) if sdf[a] != sdf[b] else np.float32(0.5)
        # Away from the ends, so that no triangle collapses.
        t = min(max(t, np.float32(0.01)), np.float32(0.99))
        for d in range(3):
            offset = t * size if d == axis else 0.0
            points[n, d] = origin[d] + spacing * (lattice[n, d] + offset)
