"""Cutting mesh and cloud to an area of interest."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from voxterra.core.area import Polygon, inside
from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import PointCloud, TriMesh
from voxterra.errors import OutsideAreaError

log = logging.getLogger(__name__)


def cut_to_area(
    mesh: TriMesh | None, cloud: PointCloud | None, frame: GeoFrame, area: tuple[Polygon, ...]
) -> tuple[TriMesh | None, PointCloud | None]:
    """The faces and points inside the polygons, whatever their height; faces stay whole.

    A model that is not on the map is not cut, with a warning.

    Raises:
        OutsideAreaError: nothing of the mesh lies inside; without a mesh, nothing of the cloud.
    """
    if frame.is_local:
        log.warning("the area of interest has no effect: the model is not on the map")
        return mesh, cloud
    cut = None if mesh is None else _cut_mesh(mesh, frame, area)
    near = None if cloud is None else _cut_cloud(cloud, frame, area)
    left = len(cut.faces) if cut is not None else len(near) if near is not None else 1
    if not left:
        raise OutsideAreaError(
            "Nothing of the surface lies in the area of interest.",
            where="--aoi",
            next_step="Compare the polygon with cameras.geojson of a run without --aoi: are its "
            "coordinates longitude first?",
        )
    return cut, near


def _cut_mesh(mesh: TriMesh, frame: GeoFrame, area: tuple[Polygon, ...]) -> TriMesh:
    middles = mesh.vertices.astype(np.float64)[mesh.faces].mean(axis=1)
    kept = inside(frame.to_lonlat(middles)[:, :2], area)
    used, faces = np.unique(mesh.faces[kept], return_inverse=True)
    texture = mesh.texture
    return TriMesh(
        mesh.vertices[used],
        faces.reshape(-1, 3).astype(np.int32),
        None if mesh.colors is None else mesh.colors[used],
        None if texture is None else replace(texture, uv=texture.uv[kept]),
        None if mesh.face_source is None else mesh.face_source[kept],
    )


def _cut_cloud(cloud: PointCloud, frame: GeoFrame, area: tuple[Polygon, ...]) -> PointCloud:
    points = np.asarray(cloud.positions_in_world, np.float64)
    near = inside(frame.to_lonlat(points)[:, :2], area) if len(cloud) else np.zeros(0, bool)
    return PointCloud(
        cloud.positions_in_world[near],
        cloud.colors[near],
        None if cloud.normals is None else cloud.normals[near],
        None if cloud.confidence is None else cloud.confidence[near],
    )
