"""Splitting faces that are large in the photos, so that each part can get its best photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.mesh import TriMesh

ROUNDS = 12
NEAREST = 0.2  # of the median footprint


def split_large_faces(mesh: TriMesh, views: Sequence[PinholeView], max_face_px: float) -> TriMesh:
    """Halve edges that are longer than `max_face_px` in some photo, until none is.

    An edge is cut for all its faces at once, so that no gaps open. New vertices and their colours
    are means; vertices there were before keep their index. Parts of a face keep its `face_source`.
    """
    if max_face_px <= 0 or not len(views):
        return mesh
    footprint = _finest_footprint(mesh, views)
    for _ in range(ROUNDS):
        ends = np.sort(
            np.stack([mesh.faces, np.roll(mesh.faces, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1
        )
        points = mesh.vertices.astype(np.float64)
        length = np.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1)
        long = length > max_face_px * np.minimum(footprint[ends[:, 0]], footprint[ends[:, 1]])
        if not long.any():
            break
        edges, number = np.unique(ends[long], axis=0, return_inverse=True)
        middle = np.full(len(ends), -1, np.int64)
        middle[long] = len(points) + number.ravel()
        colors = mesh.colors
        if colors is not None:
            mean = colors[edges].mean(axis=1).round().astype(np.uint8)
            colors = np.concatenate([colors, mean])
        footprint = np.concatenate([footprint, footprint[edges].mean(axis=1)])
        faces, parent = cut_faces(mesh.faces, middle.reshape(-1, 3))
        mesh = replace(
            mesh,
            vertices=np.concatenate([points, points[edges].mean(axis=1)]).astype(np.float32),
            faces=faces.astype(np.int32),
            colors=colors,
            texture=None,
            face_source=None if mesh.face_source is None else mesh.face_source[parent],
        )
    return mesh


def _finest_footprint(mesh: TriMesh, views: Sequence[PinholeView]) -> NDArray[np.float64]:
    """(V,) world length of a pixel at each vertex, in the photo that sees it from nearest."""
    points = mesh.vertices.astype(np.float64)
    finest = np.full(len(points), np.inf)
    for view in views:
        xy, depth = view.project(points)
        slack = 0.5 * np.array([view.width, view.height])
        near = (depth > 0) & (xy > -slack).all(axis=1)
        near &= (xy < 3 * slack).all(axis=1)
        finest[near] = np.minimum(finest[near], depth[near] / view.K[0, 0])
    seen = np.isfinite(finest)
    if seen.any():  # what lies right before a lens is not worth thousands of faces
        finest = np.maximum(finest, NEAREST * np.median(finest[seen]))
    return finest


def cut_faces(
    faces: NDArray[np.int32], middle: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Faces with some sides halved, and the face that each is a part of.

    Args:
        middle: (F, 3) vertex in the middle of side s (corners s, s + 1), or -1.
    """
    cuts = (middle >= 0).sum(axis=1)
    pieces = [faces[cuts == 0]]
    parents = [np.flatnonzero(cuts == 0)]
    for count in (1, 2, 3):
        chosen = np.flatnonzero(cuts == count)
        if len(chosen) == 0:
            continue
        face, mid = faces[chosen], middle[chosen]
        # Turn so that the lone cut side, or the lone uncut side, comes first.
        lone = mid >= 0 if count != 2 else mid < 0
        turn = (lone.argmax(axis=1)[:, None] + np.arange(3)) % 3
        a, b, c = np.take_along_axis(face, turn, axis=1).T
        ab, bc, ca = np.take_along_axis(mid, turn, axis=1).T
        if count == 1:
            triangles = [(a, ab, c), (ab, b, c)]
        elif count == 2:
            triangles = [(bc, c, ca), (a, b, bc), (a, bc, ca)]
        else:
            triangles = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        pieces += [np.stack(t, axis=1) for t in triangles]
        parents += [chosen] * len(triangles)
    return np.concatenate(pieces), np.concatenate(parents)
