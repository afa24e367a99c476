"""Loops of lines in the leaves of an octree, and the triangles that fill them."""

import numpy as np
from numba import njit, prange

# Loops of more vertices get one more in their middle.
_MOST = 8


@njit(cache=True)
def _loop(line, lines, following, seen, vertex):
    """Vertices of the loop or open chain from `line` on; marks its lines. Returns their number."""
    n = 0
    while True:
        seen[line] = 1
        vertex[n] = lines[line, 0]
        n += 1
        if following[line] < 0:
            vertex[n] = lines[line, 1]
            return n + 1
        line = following[line]
        if seen[line]:
            return n


@njit(cache=True)
def _sides(v, lattice, axes, low, size):
    """Faces of a leaf that a vertex on an edge lies on, as bits."""
    bits = 0
    for d in range(3):
        if d != axes[v]:
            if lattice[v, d] == low[d]:
                bits |= 1 << 2 * d
            elif lattice[v, d] == low[d] + size:
                bits |= 2 << 2 * d
    return bits


@njit(cache=True)
def _clip_ears(vertex, n, points, lattice, axes, low, size, triangles):
    """Triangles of a loop, shortest diagonals first, none of them in a face of the leaf.

    A diagonal in a face may coincide with one of the neighbour: an edge of four triangles.

    Returns:
        Their number, or 0 if there is no such triangulation this way.
    """
    ring = np.empty(_MOST, np.int64)
    sides = np.empty(_MOST, np.int64)
    for i in range(n):
        ring[i] = vertex[i]
        sides[i] = _sides(vertex[i], lattice, axes, low, size)
    count = 0
    while n > 3:
        best, shortest = -1, np.float32(np.inf)
        for i in range(n):
            h, j = (i - 1) % n, (i + 1) % n
            if sides[h] & sides[j]:
                continue
            length = np.float32(0)
            for d in range(3):
                length += (points[ring[h], d] - points[ring[j], d]) ** 2
            if length < shortest:
                best, shortest = i, length
        if best < 0:
            return 0
        triangles[count, 0] = ring[(best - 1) % n]
        triangles[count, 1] = ring[best]
        triangles[count, 2] = ring[(best + 1) % n]
        count += 1
        for i in range(best, n - 1):
            ring[i], sides[i] = ring[i + 1], sides[i + 1]
        n -= 1
    triangles[count, 0], triangles[count, 1], triangles[count, 2] = ring[0], ring[1], ring[2]
    return count + 1


@njit(cache=True, parallel=True)
def follow_lines(start, lines, following, led):
    """The line of the same leaf that begins where each ends.

    Args:
        start: (P + 1,) int64 first line of each leaf; a leaf's lines are sorted by their begin.
        lines: (L, 2) int32 vertices, from and to.
        following: (L,) int64, written; -1 for none.
        led: (L,) uint8, set to 1 where another line leads here.
    """
    for p in prange(len(start) - 1):
        for i in range(start[p], start[p + 1]):
            low, high = start[p], start[p + 1]
            while low < high:
                middle = (low + high) >> 1
                if lines[middle, 0] < lines[i, 1]:
                    low = middle + 1
                else:
                    high = middle
            found = low < start[p + 1] and lines[low, 0] == lines[i, 1]
            following[i] = low if found else -1
            if found:
                led[low] = 1


@njit(cache=True, parallel=True)
def fill_loops(
    start, lines, following, led, seen, low, size, points, lattice, axes,
    face_start, center_start, faces, centers, center_leaf, n_faces, n_centers,
):  # fmt: skip
    """Triangles of all loops of each leaf, counter-clockwise seen from positive distances.

    Args:
        start, lines, following, led: of `follow_lines`.
        seen: (L,) uint8, zeros, scratch.
        low, size: (P, 3) and (P,) int64 leaves on the lattice.
        points, lattice, axes: (V, 3) float32, (V, 3) int64 lower end and (V,) int64 axis of the
            vertices.
        face_start, center_start: (P,) int64 first face and first added vertex of each leaf.
        faces: (F, 3) int32, written; empty: only count.
        centers: (C, 3) float32, written: added vertices, in the middle of long loops.
        center_leaf: (C,) int64, written: their leaf p.
        n_faces, n_centers: (P,) int64, written.
    """
    for p in prange(len(start) - 1):
        first, last = start[p], start[p + 1]
        vertex = np.empty(last - first + 1, np.int64)
        triangles = np.empty((_MOST, 3), np.int64)
        nf, nc = 0, 0
        # Open chains, at the rim of what there is, before closed loops.
        for turn in range(2):
            for i in range(first, last):
                if seen[i] or (turn == 0 and led[i]):
                    continue
                n = _loop(i, lines, following, seen, vertex)
                if n < 3:
                    continue
                count = 0
                if n <= _MOST:
                    count = _clip_ears(vertex, n, points, lattice, axes, low[p], size[p], triangles)
                if len(faces) and count:
                    for t in range(count):
                        for c in range(3):
                            faces[face_start[p] + nf + t, c] = triangles[t, c]
                if count:
                    nf += count
                    continue
                if len(faces):
                    at = center_start[p] + nc
                    center_leaf[at] = p
                    for d in range(3):
                        total = 0.0
                        for k in range(n):
                            total += points[vertex[k], d]
                        centers[at, d] = total / n
                    for k in range(n):
                        faces[face_start[p] + nf + k, 0] = vertex[k]
                        faces[face_start[p] + nf + k, 1] = vertex[(k + 1) % n]
                        faces[face_start[p] + nf + k, 2] = len(points) + at
                nf += n
                nc += 1
        n_faces[p], n_centers[p] = nf, nc


@njit(cache=True)
def mean_of_leaves(lines, line_leaf, values, out, weight):
    """Add the values (P, C) of leaves to the vertices of their lines; each once a leaf.

    Args:
        lines: (L, 2) int32 vertices.
        line_leaf: (L,) int64 leaf p of each line.
        values: (P, C) float32.
        out, weight: (V, C) and (V,) float32, added to.
    """
    for i in range(len(lines)):
        v = lines[i, 0]
        weight[v] += np.float32(1)
        for c in range(values.shape[1]):
            out[v, c] += values[line_leaf[i], c]
