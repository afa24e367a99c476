"""Cutting mesh and cloud to an area of interest."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import PointCloud, TriMesh
from voxterra.errors import ReconstructionError
from voxterra.io.geojson import Polygon

log = logging.getLogger(__name__)

Float = NDArray[np.float64]


def cut_to_area(
    mesh: TriMesh, cloud: PointCloud, frame: GeoFrame, area: tuple[Polygon, ...]
) -> tuple[TriMesh, PointCloud]:
    """The faces and points inside the polygons, whatever their height; faces stay whole.

    A model that is not on the map is not cut, with a warning.

    Raises:
        ReconstructionError: nothing of the surface lies inside.
    """
    if frame.is_local:
        log.warning("the area of interest has no effect: the model is not on the map")
        return mesh, cloud
    middles = mesh.vertices.astype(np.float64)[mesh.faces].mean(axis=1)
    kept = inside(frame.to_lonlat(middles)[:, :2], area)
    if not kept.any():
        raise ReconstructionError(
            "Nothing of the surface lies in the area of interest.",
            where="--aoi",
            next_step="Compare the polygon with cameras.geojson of a run without --aoi: are its "
            "coordinates longitude first?",
        )
    used, faces = np.unique(mesh.faces[kept], return_inverse=True)
    texture = mesh.texture
    cut = TriMesh(
        mesh.vertices[used],
        faces.reshape(-1, 3).astype(np.int32),
        None if mesh.colors is None else mesh.colors[used],
        None if texture is None else replace(texture, uv=texture.uv[kept]),
    )
    points = np.asarray(cloud.positions_in_world, np.float64)
    near = inside(frame.to_lonlat(points)[:, :2], area) if len(cloud) else np.zeros(0, bool)
    return cut, PointCloud(
        cloud.positions_in_world[near],
        cloud.colors[near],
        None if cloud.normals is None else cloud.normals[near],
        None if cloud.confidence is None else cloud.confidence[near],
    )


def inside(lonlat: Float, area: tuple[Polygon, ...]) -> NDArray[np.bool_]:
    """(N,) whether (N, 2) points lie in any of the polygons and in none of its holes."""
    found = np.zeros(len(lonlat), bool)
    for polygon in area:
        odd = np.zeros(len(lonlat), bool)
        for ring in polygon:
            odd ^= _crossings_are_odd(lonlat, ring)
        found |= odd
    return found


def _crossings_are_odd(points: Float, ring: Float) -> NDArray[np.bool_]:
    """Whether a ray eastwards from each point crosses the ring an odd number of times."""
    odd = np.zeros(len(points), bool)
    x, y = points.T
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        spans = (y0 > y) != (y1 > y)
        odd ^= spans & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return odd
