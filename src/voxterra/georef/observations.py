"""Observations of the cameras of a component from the photos' metadata: positions, attitudes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxterra.core.geo import GeoFrame
from voxterra.core.geoid import undulation_m
from voxterra.core.photos import Gps, Photo
from voxterra.core.reconstruction import Reconstruction
from voxterra.georef.attitude import cam_from_enu, displayed_from_stored
from voxterra.georef.config import GeorefConfig

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

# The same height in all photos is one repeated reading, or a setting: it locates the photos, but
# hardly relative to each other.
SAME_HEIGHT_FACTOR = 4.0

# Axes of a camera that faces down in those of one that faces forward, tops of the photos ahead.
_DOWN_FROM_FORWARD = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True)
class Observations:
    """Arrays over the N images of one component.

    Attributes:
        names: photo ids.
        centers: (N, 3) camera centres in the model.
        displayed_from_model: (N, 3, 3) rotations into the camera axes of the photo as displayed.
        gps_in_world: (N, 3) recorded positions [m]; NaN where there is none, or no height.
        sigma_h, sigma_v: (N,) stated or assumed standard deviations [m].
        stated_h, stated_v: (N,) True where the photo states them.
        displayed_from_enu: (N, 3, 3) from the recorded attitudes; NaN where there is none.
        sigma_attitude: (N,) [rad].
        scale: metres per unit of the model and its relative standard deviation, from known
            distances; None without.
        captured_at: when each photo was taken, ISO 8601, or None.
        height_repeated: all photos record one height, to the last digit.
    """

    names: tuple[str, ...]
    centers: Float
    displayed_from_model: Float
    gps_in_world: Float
    sigma_h: Float
    sigma_v: Float
    stated_h: Bool
    stated_v: Bool
    displayed_from_enu: Float
    sigma_attitude: Float
    scale: tuple[float, float] | None = None
    captured_at: tuple[str | None, ...] = ()
    height_repeated: bool = False

    @property
    def has_position(self) -> Bool:
        return np.isfinite(self.gps_in_world[:, 0])

    @property
    def has_height(self) -> Bool:
        return np.isfinite(self.gps_in_world[:, 2])

    @property
    def has_attitude(self) -> Bool:
        return np.isfinite(self.displayed_from_enu[:, 0, 0])

    def world_from_model_of_attitudes(self) -> Float:
        """(M, 3, 3) each attitude's own estimate of the rotation world_from_model."""
        use = self.has_attitude
        enu_from_displayed = np.transpose(self.displayed_from_enu[use], (0, 2, 1))
        return enu_from_displayed @ self.displayed_from_model[use]


def with_attitudes_of_aircraft(observations: Observations) -> Observations:
    """The same with the attitudes read as those of an aircraft with a camera facing down."""
    return replace(
        observations, displayed_from_enu=_DOWN_FROM_FORWARD @ observations.displayed_from_enu
    )


def shared_sigma_m(sigma: Float) -> float:
    """Standard deviation of the error that positions share, which the fit cannot see [m].

    A whole flight shares about as much error as a single position has. Positions of other accuracy,
    as of a receiver with an occasional RTK fix, count by their weight in the fit; their shared
    error is assumed to be the same.
    """
    return float((1 / sigma).sum() / (1 / sigma**2).sum())


def is_usable(gps: Gps) -> bool:
    """Whether a position is valid: finite, on Earth, and not the 0, 0 of a missing fix."""
    return bool(
        np.isfinite([gps.lon, gps.lat]).all()
        and abs(gps.lat) <= 90
        and abs(gps.lon) <= 360
        and (abs(gps.lon) > 1e-6 or abs(gps.lat) > 1e-6)
    )


def has_position(photo: Photo) -> bool:
    """Whether a photo has a usable position."""
    return photo.gps is not None and is_usable(photo.gps)


def height_ellipsoidal_m(gps: Gps) -> float:
    """Ellipsoidal height of a position [m], NaN when none is recorded.

    Heights of unknown reference are taken as above sea level, as EXIF defines them.
    """
    if gps.height_m is None or not np.isfinite(gps.height_m):
        return float("nan")
    if gps.height_reference == "ellipsoidal":
        return gps.height_m
    return gps.height_m + float(undulation_m(gps.lon, gps.lat))


def choose_frame(photos: Sequence[Photo]) -> GeoFrame:
    """World frame at the median of the photos' positions.

    The origin is rounded (1e-6 deg, 1 m), so that one photo more or less seldom moves it.

    Args:
        photos: each with a usable position, at least one.
    """
    positions = [photo.gps for photo in photos if photo.gps is not None]
    first = positions[0].lon
    # Longitudes relative to the first, so that a median across the antimeridian is one.
    lon = first + np.median([(g.lon - first + 180.0) % 360.0 - 180.0 for g in positions])
    lon = round((float(lon) + 180.0) % 360.0 - 180.0, 6)
    lat = round(float(np.median([g.lat for g in positions])), 6)
    heights = np.array([height_ellipsoidal_m(g) for g in positions])
    known = heights[np.isfinite(heights)]
    height = float(np.round(np.median(known) if len(known) else undulation_m(lon, lat)))
    return GeoFrame("geo", lon, lat, height)


def observe(
    component: Reconstruction,
    photos: dict[str, Photo],
    frame: GeoFrame,
    config: GeorefConfig,
) -> Observations:
    """Collect recorded positions and attitudes of a component; positions only in a geo frame."""
    n = len(component.images)
    gps, sigma_h, sigma_v = np.full((n, 3), np.nan), np.ones(n), np.ones(n)
    stated_h, stated_v = np.zeros(n, bool), np.zeros(n, bool)
    in_cam, attitude = np.zeros((n, 3, 3)), np.full((n, 3, 3), np.nan)
    sigma_attitude = np.full(n, np.radians(config.attitude_sigma_deg))
    photos_of = [photos.get(image.name) for image in component.images]
    for i, (image, photo) in enumerate(zip(component.images, photos_of, strict=True)):
        orientation = photo.orientation if photo else 1
        in_cam[i] = displayed_from_stored(orientation) @ image.cam_from_world[:, :3]
        if photo is None:
            continue
        if photo.gps is not None and is_usable(photo.gps) and not frame.is_local:
            gps[i] = _in_world(photo.gps, frame)
            sigma_h[i], sigma_v[i] = _sigmas(photo.gps, config)
            stated_h[i] = bool(photo.gps.sigma_horizontal_m)
            stated_v[i] = bool(photo.gps.sigma_vertical_m)
        a = photo.attitude
        if a is not None and config.use_attitude:
            if not np.isfinite([a.yaw_deg, a.pitch_deg, a.roll_deg]).all():
                continue
            attitude[i] = cam_from_enu(a.yaw_deg, a.pitch_deg, a.roll_deg)
            if a.sigma_deg:
                sigma_attitude[i] = np.radians(max(a.sigma_deg, 0.05))
    same_height = _same_height([p.gps for p in photos_of if p and has_position(p)])
    if same_height == 0.0:
        gps[:, 2] = np.nan  # a receiver without a height writes 0
    elif same_height is not None:
        sigma_v[~stated_v] *= SAME_HEIGHT_FACTOR
    return Observations(
        tuple(image.name for image in component.images),
        component.centers_in_world(),
        in_cam,
        gps,
        sigma_h,
        sigma_v,
        stated_h,
        stated_v,
        attitude,
        sigma_attitude,
        captured_at=tuple(None if p is None else p.captured_at for p in photos_of),
        height_repeated=same_height is not None,
    )


def _in_world(gps: Gps, frame: GeoFrame) -> Float:
    height = height_ellipsoidal_m(gps)
    known = np.isfinite(height)
    lonlat_h = np.array([[gps.lon, gps.lat, height if known else frame.height_ellipsoidal_m]])
    out = frame.from_lonlat(lonlat_h)[0]
    return out if known else np.array([out[0], out[1], np.nan])


def _same_height(positions: Sequence[Gps | None]) -> float | None:
    """The height that all of five or more positions record to the last digit, or None."""
    heights = {gps.height_m for gps in positions if gps is not None and gps.height_m is not None}
    return heights.pop() if len(heights) == 1 and len(positions) >= 5 else None


def _sigmas(gps: Gps, config: GeorefConfig) -> tuple[float, float]:
    """Standard deviations; a stated horizontal one also limits how good the height may be."""
    horizontal = gps.sigma_horizontal_m or config.gps_sigma_horizontal_m
    guess = 2 * gps.sigma_horizontal_m if gps.sigma_horizontal_m else config.gps_sigma_vertical_m
    vertical = gps.sigma_vertical_m or guess
    return max(horizontal, 0.003), max(vertical, 0.003)
