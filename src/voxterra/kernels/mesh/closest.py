"""Closest points on triangle meshes.

A tree of boxes over triangles in Morton order, stored as a heap (children of node i are 2i and
2i + 1), so that building it is a handful of array operations; the search visits the nearer child
first. The point-triangle case analysis follows Ericson, "Real-Time Collision Detection", 2005.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Float = NDArray[np.float64]
FACES_PER_LEAF = 4


@dataclass(frozen=True)
class TriangleTree:
    """What `closest_on_mesh` searches.

    Attributes:
        corners: (F, 3, 3) corners of the triangles in the tree's order.
        face_index: (F,) int32 index of those triangles in the mesh.
        lower, upper: (2 L, 3) boxes; node 1 is the root, nodes L.. are the leaves.
    """

    corners: Float
    face_index: NDArray[np.int32]
    lower: Float
    upper: Float


def build_triangle_tree(vertices: NDArray[np.floating], faces: NDArray[np.int32]) -> TriangleTree:
    """Tree over the faces (F, 3) of a mesh with (V, 3) vertices; F must be at least 1."""
    corners = np.asarray(vertices, np.float64)[faces]
    order = np.argsort(_morton(corners.mean(axis=1)), kind="stable").astype(np.int32)
    corners = np.ascontiguousarray(corners[order])
    leaves = 1 << max(int(np.ceil(len(faces) / FACES_PER_LEAF)) - 1, 0).bit_length()
    lower = np.full((2 * leaves, 3), np.inf)
    upper = np.full((2 * leaves, 3), -np.inf)
    padded = np.full((leaves * FACES_PER_LEAF, 3), np.inf)
    padded[: len(faces)] = corners.min(axis=1)
    lower[leaves:] = padded.reshape(leaves, FACES_PER_LEAF, 3).min(axis=1)
    padded[:] = -np.inf
    padded[: len(faces)] = corners.max(axis=1)
    upper[leaves:] = padded.reshape(leaves, FACES_PER_LEAF, 3).max(axis=1)
    level = leaves // 2
    while level >= 1:
        children = slice(2 * level, 4 * level)
        lower[level : 2 * level] = lower[children].reshape(level, 2, 3).min(axis=1)
        upper[level : 2 * level] = upper[children].reshape(level, 2, 3).max(axis=1)
        level //= 2
    return TriangleTree(corners, order, lower, upper)


def closest_on_mesh(
    tree: TriangleTree, points: NDArray[np.floating], max_distance: float = np.inf
) -> tuple[Float, NDArray[np.int32], Float]:
    """Closest point on the mesh to each of (N, 3) points.

    Args:
        tree: of the mesh.
        points: in the mesh's coordinates.
        max_distance: nothing farther is looked for, which is faster.

    Returns:
        distance (N,), face index (N,) int32, and the closest point (N, 3); inf, -1 and NaN where
        the mesh is farther than `max_distance`.
    """
    points = np.ascontiguousarray(points, np.float64).reshape(-1, 3)
    distance = np.empty(len(points))
    face = np.empty(len(points), np.int32)
    closest = np.full((len(points), 3), np.nan)
    boxes = (tree.lower, tree.upper)
    _search(points, tree.corners, *boxes, max_distance**2, distance, face, closest)
    return distance, np.where(face >= 0, tree.face_index[face], np.int32(-1)), closest


def _morton(points: Float) -> NDArray[np.uint64]:
    low, high = points.min(axis=0), points.max(axis=0)
    cells = (points - low) / np.maximum(high - low, 1e-300).max() * ((1 << 20) - 1)
    code = np.zeros(len(points), np.uint64)
    for axis in range(3):
        x = cells[:, axis].astype(np.uint64)
        for shift, mask in (
            (32, 0x1F00000000FFFF),
            (16, 0x1F0000FF0000FF),
            (8, 0x100F00F00F00F00F),
            (4, 0x10C30C30C30C30C3),
            (2, 0x1249249249249249),
        ):
            x = (x | (x << np.uint64(shift))) & np.uint64(mask)
        code |= x << np.uint64(axis)
    return code


@njit(cache=True, parallel=True)
def _search(points, corners, lower, upper, limit, distance, face, closest):
    leaves = len(lower) // 2
    for i in prange(len(points)):
        px, py, pz = points[i]
        best, best_face = limit, -1
        stack = np.empty(64, np.int64)
        stack[0] = 1
        size = 1
        while size > 0:
            size -= 1
            node = stack[size]
            if _box_distance(px, py, pz, lower[node], upper[node]) >= best:
                continue
            if node >= leaves:
                first = (node - leaves) * FACES_PER_LEAF
                for f in range(first, min(first + FACES_PER_LEAF, len(corners))):
                    x, y, z = _closest_on_triangle(px, py, pz, corners[f])
                    squared = (x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2
                    if squared < best:
                        best, best_face = squared, f
                        closest[i, 0], closest[i, 1], closest[i, 2] = x, y, z
                continue
            left = 2 * node
            d_left = _box_distance(px, py, pz, lower[left], upper[left])
            d_right = _box_distance(px, py, pz, lower[left + 1], upper[left + 1])
            near, far = (left, left + 1) if d_left <= d_right else (left + 1, left)
            stack[size], stack[size + 1] = far, near
            size += 2
        distance[i] = np.sqrt(best) if best_face >= 0 else np.inf
        face[i] = best_face


@njit(cache=True, inline="always")
def _box_distance(px, py, pz, low, high):
    dx = max(low[0] - px, 0.0, px - high[0])
    dy = max(low[1] - py, 0.0, py - high[1])
    dz = max(low[2] - pz, 0.0, pz - high[2])
    return dx * dx + dy * dy + dz * dz


@njit(cache=True, inline="always")
def _dot(ax, ay, az, bx, by, bz):
    return ax * bx + ay * by + az * bz


@njit(cache=True, inline="always")
def _ratio(a, b):
    """a / b; 0 where a triangle without area or length leaves nothing to divide."""
    return a / b if b != 0.0 else 0.0


@njit(cache=True)
def _closest_on_triangle(px, py, pz, corners):
    ax, ay, az = corners[0]
    abx, aby, abz = corners[1, 0] - ax, corners[1, 1] - ay, corners[1, 2] - az
    acx, acy, acz = corners[2, 0] - ax, corners[2, 1] - ay, corners[2, 2] - az
    # Dot products of the edges from a with the vectors from a, b and c to the point.
    qx, qy, qz = px - ax, py - ay, pz - az
    d1, d2 = _dot(abx, aby, abz, qx, qy, qz), _dot(acx, acy, acz, qx, qy, qz)
    ab2, ac2 = _dot(abx, aby, abz, abx, aby, abz), _dot(acx, acy, acz, acx, acy, acz)
    ab_ac = _dot(abx, aby, abz, acx, acy, acz)
    d3, d4 = d1 - ab2, d2 - ab_ac
    d5, d6 = d1 - ab_ac, d2 - ac2
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    v, w = 0.0, 0.0
    if d1 <= 0.0 and d2 <= 0.0:
        pass  # corner a
    elif d3 >= 0.0 and d4 <= d3:
        v = 1.0  # corner b
    elif d6 >= 0.0 and d5 <= d6:
        w = 1.0  # corner c
    elif vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        v = _ratio(d1, d1 - d3)  # edge ab
    elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        w = _ratio(d2, d2 - d6)  # edge ac
    elif va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        w = _ratio(d4 - d3, (d4 - d3) + (d5 - d6))  # edge bc
        v = 1.0 - w
    else:
        total = va + vb + vc
        v, w = _ratio(vb, total), _ratio(vc, total)
    return ax + v * abx + w * acx, ay + v * aby + w * acy, az + v * abz + w * acz
