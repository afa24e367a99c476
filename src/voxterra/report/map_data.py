"""Cameras, footprints and GPS of a run in map coordinates, for the maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.footprint import footprint
from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference, PhotoResidual
from voxterra.core.photos import Gps, PhotoSet

Float = NDArray[np.float64]
Bounds = tuple[float, float, float, float]  # left, bottom, right, top on the map

_LEVEL = 0.35  # cosine above the ground from which on a camera's direction is drawn
_LEAST_ASPECT = 0.4  # of a map: a single line of photos still has room beside it


@dataclass(frozen=True)
class MapCamera:
    """A registered photo on the map.

    Attributes:
        name, component: of the photo.
        xy: (2,) where it was taken [CRS units].
        heading: (2,) unit vector on the map, or None where it looks down.
        footprint: (4, 2) corners on the ground, or None when it looks above the horizon.
        gps: (2,) recorded position, or None.
        residual: model minus GPS.
    """

    name: str
    component: int
    xy: Float
    heading: Float | None
    footprint: Float | None
    gps: Float | None
    residual: PhotoResidual | None


@dataclass(frozen=True)
class MapData:
    """Everything on the map.

    Attributes:
        cameras: of the components that have a place there.
        failed: (name, (2,) recorded position) of photos that are not in the model.
    """

    cameras: tuple[MapCamera, ...]
    failed: tuple[tuple[str, Float], ...]

    def bounds(self, surface: Bounds | None, component: int | None = None) -> Bounds:
        """What a map shows: the surface, all cameras, and failed photos that are near.

        Args:
            surface: extent of the surface; None = not on this map.
            component: only this one's cameras and footprints; None = all.
        """
        own = [c for c in self.cameras if component is None or c.component == component]
        points = [c.xy for c in own]
        if surface is not None:
            points += [np.array(surface[:2]), np.array(surface[2:])]
        prints = [corner for c in own if c.footprint is not None for corner in c.footprint]
        if surface is None:
            points += prints
        low, high = np.min(points, axis=0), np.max(points, axis=0)
        reach = float(np.linalg.norm(high - low)) or 1.0
        # Those of oblique photos may be far outside.
        near = [np.clip(corner, low - 0.15 * reach, high + 0.15 * reach) for corner in prints]
        low, high = np.min([low, *near], axis=0), np.max([high, *near], axis=0)
        for _, xy in self.failed:
            if np.all(xy > low - reach) and np.all(xy < high + reach):
                low, high = np.minimum(low, xy), np.maximum(high, xy)
        longest = float((high - low).max()) or 1.0
        short = np.maximum(_LEAST_ASPECT * longest - (high - low), 0.0)
        margin = 0.04 * longest + short / 2
        low, high = low - margin, high + margin
        return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def map_data_of(
    georeference: Georeference, photos: PhotoSet, views: Sequence[PinholeView], ground: Float
) -> MapData:
    """Bring cameras, footprints and GPS onto the map.

    In a local frame the map is the world itself, which only the largest component shares.

    Args:
        georeference: frame and cameras.
        photos: of the project.
        views: photos that have a depth map.
        ground: (N, 3) points of the surface in world, which footprints end at.
    """
    frame, by_id = georeference.frame, photos.by_id()
    prints = {view.name: footprint(view, ground) for view in views}
    cameras = []
    for index, component in enumerate(georeference.components):
        if not any(component is shown for shown in georeference.mappable_components):
            continue
        residuals = {r.name: r for r in georeference.placements[index].residuals}
        for image in component.images:
            center, forward = image.center_in_world, image.cam_from_world[2, :3]
            photo = by_id.get(image.name)
            corners = prints.get(image.name)
            cameras.append(
                MapCamera(
                    image.name,
                    index,
                    frame.to_map(center[None])[0, :2],
                    _heading(frame, center, forward),
                    None if corners is None else frame.to_map(corners)[:, :2],
                    None if photo is None else _gps_on_map(photo.gps, frame),
                    residuals.get(image.name),
                )
            )
    registered = {i.name for component in georeference.components for i in component.images}
    failed = []
    for photo in photos.photos:
        position = _gps_on_map(photo.gps, frame)
        if photo.id not in registered and position is not None:
            failed.append((photo.id, position))
    return MapData(tuple(cameras), tuple(failed))


def _heading(frame: GeoFrame, center: Float, forward: Float) -> Float | None:
    if np.hypot(forward[0], forward[1]) < _LEVEL:
        return None
    ends = frame.to_map(np.stack([center, center + forward * (1.0, 1.0, 0.0)]))[:, :2]
    step = ends[1] - ends[0]
    return np.asarray(step / np.linalg.norm(step))


def _gps_on_map(gps: Gps | None, frame: GeoFrame) -> Float | None:
    """(2,) recorded position on the map; its height makes no difference there."""
    if gps is None or frame.is_local:
        return None
    on_map: Float = frame.to_map(frame.from_lonlat(np.array([[gps.lon, gps.lat, 0.0]])))[0, :2]
    return on_map if np.isfinite(on_map).all() else None
