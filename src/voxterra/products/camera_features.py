"""Cameras as map features: where each photo was taken, how it looked, how well GPS fits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.footprint import footprint
from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference, PhotoResidual
from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.reconstruction import Image

Float = NDArray[np.float64]


def camera_features(georeference: Georeference, photos: PhotoSet) -> list[dict[str, Any]]:
    """One GeoJSON point a registered photo, then one a photo that was left out.

    A component that nothing places on Earth, or a photo left out that has no GPS, has no
    position: its geometry is null. A local frame gives positions in `center_in_world` alone. One
    that lies apart is in its own frame.
    """
    by_id = photos.by_id()
    features, registered = [], set()
    for index, (component, placement) in enumerate(
        zip(georeference.components, georeference.placements, strict=True)
    ):
        residuals = {r.name: r for r in placement.residuals}
        frame = georeference.frame_of(index)
        for image in component.images:
            registered.add(image.name)
            on_earth = not frame.is_local
            geometry = _point(frame, image.center_in_world) if on_earth else None
            properties = _camera_properties(image, frame, on_earth)
            properties |= {"registered": True, "component": index}
            if placement.apart is not None:
                properties["crs"] = frame.map_crs
            properties |= _photo_properties(by_id.get(image.name))
            properties |= _residual_properties(residuals.get(image.name))
            features.append(_feature(geometry, properties))
    for photo in photos.photos:
        if photo.id not in registered:
            properties = {"name": photo.id, "registered": False, "component": None}
            properties |= _photo_properties(photo)
            features.append(_feature(_gps_point(photo, georeference.frame), properties))
    return features


def footprint_features(
    views: tuple[PinholeView, ...], points_in_world: Float, georeference: Georeference
) -> list[dict[str, Any]]:
    """One GeoJSON polygon a photo whose corners all reach the ground.

    Components are numbered as in `camera_features`: views count only those with depth.
    """
    frame, component_of = georeference.frame, georeference.mappable_component_of_photo()
    features = []
    for view in views:
        corners = footprint(view, points_in_world)
        if corners is None:
            continue
        ring = frame.to_lonlat(np.vstack([corners, corners[:1]]))[:, :2]
        edges = np.diff(ring, axis=0)
        turn = (ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1]).sum()
        if turn < 0:  # RFC 7946: outer rings run counter-clockwise
            ring = ring[::-1]
        if not np.abs(edges).sum() > 0:
            continue
        geometry = {"type": "Polygon", "coordinates": [np.round(ring, 9).tolist()]}
        properties = {
            "name": view.name,
            "kind": "footprint",
            "component": component_of.get(view.name),
        }
        features.append(_feature(geometry, properties))
    return features


def attitude(cam_from_world: Float) -> tuple[float, float, float]:
    """Yaw, pitch, roll [deg] of a camera, in the sense of `core.photos.Attitude`.

    Near straight down, yaw and roll turn the picture about nearly the same axis; of the two equal
    readings the one with |roll| <= 90 is given.
    """
    right, _, forward = cam_from_world[:, :3]
    pitch = float(np.arcsin(np.clip(forward[2], -1, 1)))
    if np.hypot(forward[0], forward[1]) < 1e-9:
        up = -cam_from_world[1, :3] * -np.sign(forward[2])
        return float(np.degrees(np.arctan2(up[0], up[1])) % 360), float(np.degrees(pitch)), 0.0
    yaw = float(np.arctan2(forward[0], forward[1]))
    level_right = np.array([np.cos(yaw), -np.sin(yaw), 0.0])
    level_down = np.cross(forward, level_right)
    roll = float(np.arctan2(right @ level_down, right @ level_right))
    if abs(roll) > np.pi / 2:
        yaw, pitch, roll = yaw + np.pi, -np.pi - pitch, roll - np.copysign(np.pi, roll)
        pitch = (pitch + np.pi) % (2 * np.pi) - np.pi
    return float(np.degrees(yaw) % 360), float(np.degrees(pitch)), float(np.degrees(roll))


def _feature(geometry: dict[str, Any] | None, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _point(frame: GeoFrame, in_world: Float) -> dict[str, Any]:
    lon, lat, height = frame.to_lonlat(in_world[None])[0]
    return {"type": "Point", "coordinates": [round(lon, 9), round(lat, 9), round(height, 4)]}


def _gps_point(photo: Photo, frame: GeoFrame) -> dict[str, Any] | None:
    if photo.gps is None or frame.is_local:
        return None
    return {"type": "Point", "coordinates": [photo.gps.lon, photo.gps.lat]}


def _camera_properties(image: Image, frame: GeoFrame, on_earth: bool) -> dict[str, Any]:
    center = image.center_in_world
    yaw, pitch, roll = attitude(image.cam_from_world)
    properties: dict[str, Any] = {
        "name": image.name,
        "kind": "camera",
        "yaw_deg": round(yaw, 4),
        "pitch_deg": round(pitch, 4),
        "roll_deg": round(roll, 4),
        "center_in_world": [round(float(v), 6) for v in center],
        "cam_from_world": image.cam_from_world.tolist(),
    }
    if on_earth:
        east, north, height = frame.to_map(center[None])[0]
        orthometric = frame.heights == "egm96"
        properties |= {
            "easting": round(float(east), 4),
            "northing": round(float(north), 4),
            "height_orthometric_m" if orthometric else "height_ellipsoidal_m": round(height, 4),
        }
    return properties


def _photo_properties(photo: Photo | None) -> dict[str, Any]:
    if photo is None:
        return {}
    return {"captured_at": photo.captured_at, "camera": photo.model, "sha256": photo.sha256}


def _residual_properties(residual: PhotoResidual | None) -> dict[str, Any]:
    if residual is None:
        return {"gps_outlier": None}
    return {
        "gps_residual_east_m": residual.east_m,
        "gps_residual_north_m": residual.north_m,
        "gps_residual_up_m": residual.up_m,
        "gps_sigma_horizontal_m": residual.sigma_horizontal_m,
        "gps_sigma_vertical_m": residual.sigma_vertical_m,
        "gps_outlier": residual.outlier,
    }
