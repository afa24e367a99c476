"""What benchmarks score: a mesh or a cloud of a file, and points spread evenly over it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxterra.core.transforms import Similarity
from voxterra.errors import InputError
from voxterra.evaluate.run_folder import find_product
from voxterra.evaluate.surface import sample_surface
from voxterra.io.ply import read_ply, read_ply_cloud
from voxterra.kernels.mesh.thin import cell_sums, merge_sums

Float = NDArray[np.float64]
MESH_NAMES = ("mesh.ply", "scene.ply")
_BLOCK_POINTS = 4_000_000


@dataclass(frozen=True)
class Geometry:
    """A mesh, or a cloud.

    Attributes:
        vertices: (V, 3).
        faces: (F, 3) int32, or None: the vertices are a cloud.
    """

    vertices: Float
    faces: NDArray[np.int32] | None

    def moved(self, transform: Similarity) -> Geometry:
        """The same, seen from another world."""
        return replace(self, vertices=transform.apply(self.vertices))

    def near(self, low: Float, high: Float) -> Geometry:
        """Without the faces (points of a cloud) that are all outside of a box."""
        if self.faces is None:
            inside = ((self.vertices >= low) & (self.vertices <= high)).all(axis=1)
            return replace(self, vertices=self.vertices[inside])
        corners = self.vertices[self.faces]
        apart = (corners.max(axis=1) < low) | (corners.min(axis=1) > high)
        return replace(self, faces=self.faces[~apart.any(axis=1)])


def read_geometry(path: Path) -> Geometry:
    """The mesh of a model or a run, or a PLY file with a mesh or a cloud.

    Raises:
        InputError: nothing there.
        FormatError: not a PLY file.
    """
    file = find_product(path, *MESH_NAMES)
    with open(file, "rb") as opened:
        header = opened.read(1 << 16).partition(b"end_header")[0]
    counted = re.search(rb"element\s+face\s+(\d+)", header)
    if counted is not None and int(counted[1]):
        mesh, _ = read_ply(file)
        return Geometry(np.asarray(mesh.vertices, np.float64), mesh.faces)
    return Geometry(np.asarray(read_ply_cloud(file).positions_in_world, np.float64), None)


def spread(geometry: Geometry, spacing: float) -> Iterator[Float]:
    """Blocks (n, 3) of points: one for every square of edge `spacing` of a mesh's area.

    A cloud gives its points. Blocks keep memory bounded whatever the size of the mesh.
    """
    if geometry.faces is None:
        for start in range(0, len(geometry.vertices), _BLOCK_POINTS):
            yield geometry.vertices[start : start + _BLOCK_POINTS]
        return
    start, block = 0, 1_000_000
    while start < len(geometry.faces):
        faces = geometry.faces[start : start + block]
        area = _areas(geometry.vertices, faces)
        cumulative = np.cumsum(area) / spacing**2
        stop = max(int(np.searchsorted(cumulative, _BLOCK_POINTS)), 1)
        count = int(np.ceil(cumulative[:stop][-1]))
        # A single face may be larger than a block.
        for part, done in enumerate(range(0, count, _BLOCK_POINTS)):
            some = min(_BLOCK_POINTS, count - done)
            yield sample_surface(geometry.vertices, faces[:stop], some, seed=start + part)[0]
        start += min(stop, len(faces))


def _areas(vertices: Float, faces: NDArray[np.int32]) -> Float:
    corners = vertices[faces]
    edges = corners[:, 1:] - corners[:, :1]
    area: Float = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2.0
    return area


def cell_means(
    blocks: Iterator[Float], size: float, keep: Callable[[Float], NDArray[np.bool_]]
) -> Float:
    """(n, 3) mean of the points of each cubic cell of edge `size`, of those that `keep` keeps."""
    keys, sums = np.empty(0, np.int64), np.empty((0, 4))
    for points in blocks:
        points = points[keep(points)]
        more, their = cell_sums(points, size)
        keys, sums = merge_sums(np.concatenate([keys, more]), np.vstack([sums, their]))
    return sums[:, :3] / sums[:, 3:]


def distances(source: Float, target: Float, limit: float) -> Float:
    """(n,) distance of each of (n, 3) points to the nearest of (m, 3); inf beyond `limit`."""
    from scipy.spatial import cKDTree

    if not len(source) or not len(target):
        return np.full(len(source), np.inf)
    found, _ = cKDTree(target).query(source, distance_upper_bound=limit, workers=-1)
    return np.asarray(found, np.float64)


def require_points(points: Float, what: str, where: Path | str | None, next_step: str) -> None:
    """Say it when nothing is left to score.

    Raises:
        InputError: there are no points.
    """
    if not len(points):
        raise InputError(what, where=None if where is None else str(where), next_step=next_step)
