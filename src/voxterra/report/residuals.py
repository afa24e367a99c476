"""How well photos and model agree: reprojection errors, and the gaps between components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.georeference import Georeference
from voxterra.core.reconstruction import Reconstruction
from voxterra.io.colmap.model import to_pycolmap_camera

Float = NDArray[np.float64]


@dataclass(frozen=True)
class PhotoFit:
    """Reprojection errors of one photo.

    Attributes:
        name: of the photo.
        component: its index.
        errors_px: (N,) distance of each sparse point's image from where it was seen [px].
    """

    name: str
    component: int
    errors_px: Float

    @property
    def median_px(self) -> float | None:
        return float(np.median(self.errors_px)) if len(self.errors_px) else None


@dataclass(frozen=True)
class Gap:
    """Distance of a component from the next one.

    Attributes:
        component, other: their indices.
        distance: between their nearest cameras [world units].
        photo, other_photo: taken by these.
    """

    component: int
    other: int
    distance: float
    photo: str
    other_photo: str


def reprojection(component: Reconstruction, index: int) -> tuple[PhotoFit, ...]:
    """Errors of every observation, by photo, computed from cameras and points.

    Args:
        component: images and sparse points, in any frame.
        index: of the component.
    """
    points = component.points
    point_of_track = np.repeat(np.arange(len(points)), np.diff(points.track_start))
    order = np.argsort(points.track_image, kind="stable")
    stops = np.searchsorted(points.track_image[order], np.arange(len(component.images) + 1))
    fits = []
    for i, image in enumerate(component.images):
        tracks = order[stops[i] : stops[i + 1]]
        camera = to_pycolmap_camera(component.camera_of(image))
        positions = points.positions_in_world[point_of_track[tracks]]
        in_cam = positions @ image.cam_from_world[:, :3].T + image.cam_from_world[:, 3]
        pixels = np.asarray(camera.img_from_cam(in_cam), np.float64).reshape(-1, 2)
        errors = np.linalg.norm(pixels - points.track_xy[tracks], axis=1)
        fits.append(PhotoFit(image.name, index, errors[np.isfinite(errors)]))
    return tuple(fits)


def gaps(georeference: Georeference) -> tuple[Gap, ...]:
    """For each component with a place in the common world, the nearest other such component."""
    from scipy.spatial import cKDTree

    if georeference.frame.is_local:
        return ()
    placed = georeference.mappable_indices()
    centers = {i: georeference.components[i].centers_in_world() for i in placed}
    found = []
    for i in placed:
        nearest: Gap | None = None
        for j in placed:
            if j == i or not len(centers[i]) or not len(centers[j]):
                continue
            distances, rows = cKDTree(centers[j]).query(centers[i])
            own = int(np.argmin(distances))
            if nearest is None or distances[own] < nearest.distance:
                nearest = Gap(
                    i,
                    j,
                    float(distances[own]),
                    georeference.components[i].images[own].name,
                    georeference.components[j].images[int(rows[own])].name,
                )
        found += [nearest] if nearest else []
    return tuple(found)
