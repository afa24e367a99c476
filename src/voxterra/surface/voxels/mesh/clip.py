"""Cutting a mesh at the faces of a box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxterra.core.mesh import TriMesh


def clip_to_box(mesh: TriMesh, low: NDArray[np.float64], high: NDArray[np.float64]) -> TriMesh:
    """The part of a mesh inside of a world box, cut exactly at its faces and open there.

    Args:
        mesh: without texture.
        low, high: (3,) corners of the box.
    """
    vertices = mesh.vertices.astype(np.float64)
    colors = None if mesh.colors is None else mesh.colors.astype(np.float64)
    faces = mesh.faces
    for axis in range(3):
        for limit, sign in ((low[axis], 1.0), (high[axis], -1.0)):
            height = sign * (vertices[:, axis] - limit)
            if len(faces) == 0 or (height >= 0).all():
                continue
            faces, a, b, t = _cut(faces, height)
            vertices = np.concatenate([vertices, vertices[a] + t * (vertices[b] - vertices[a])])
            vertices[len(vertices) - len(a) :, axis] = limit
            if colors is not None:
                colors = np.concatenate([colors, colors[a] + t * (colors[b] - colors[a])])
    used = np.unique(faces)
    number = np.zeros(len(vertices), np.int32)
    number[used] = np.arange(len(used))
    rgb = None if colors is None else np.rint(colors[used]).astype(np.uint8)
    return TriMesh(vertices[used].astype(np.float32), number[faces], rgb)


def _cut(
    faces: NDArray[np.int32], height: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Faces above zero height, and the new vertices at a + t (b - a) of old ones, t as (C, 1)."""
    above = height >= 0
    count = above[faces].sum(1)
    whole, crossed = faces[count == 3], faces[(count == 1) | (count == 2)]
    single = above[crossed] == (above[crossed].sum(1) == 1)[:, None]
    # Turned so that the corner alone on its side comes first.
    turn = (single.argmax(1)[:, None] + np.arange(3)) % 3
    p, q, r = np.take_along_axis(crossed, turn, 1).astype(np.int64).T
    n = len(height)
    pairs = np.concatenate([np.minimum(p, q) * n + np.maximum(p, q),
                            np.minimum(p, r) * n + np.maximum(p, r)])  # fmt: skip
    unique, number = np.unique(pairs, return_inverse=True)
    a, b = unique // n, unique % n
    t = height[a] / (height[a] - height[b])
    pq, pr = (n + number[: len(p)]), (n + number[len(p) :])
    tip = above[p]
    new = np.concatenate([
        np.column_stack([p, pq, pr])[tip],
        np.column_stack([pq, q, r])[~tip],
        np.column_stack([pq, r, pr])[~tip],
    ])  # fmt: skip
    return np.concatenate([whole, new.astype(np.int32)]), a, b, t[:, None]
