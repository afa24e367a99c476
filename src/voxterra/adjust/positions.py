"""GPS positions in metres, and position priors for the adjustment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxterra.adjust.config import AdjustConfig
from voxterra.core.geo import GeoFrame
from voxterra.core.photos import Gps, Photo

Float = NDArray[np.float64]

# Assumed accuracy of GPS without a stated one: a consumer receiver under open sky [m].
USUAL_SIGMA_M = 3.0

# Heights are about this much worse than horizontal positions.
VERTICAL_FACTOR = 2.0

# Standard deviation for an unknown height [m].
UNKNOWN_SIGMA_M = 1000.0


def positions_m(photos: tuple[Photo, ...]) -> Float:
    """(N, 3) positions by GPS in a local ENU frame [m]; NaN for photos without GPS.

    A height that is missing, or has another reference than most, is replaced by the median.
    """
    out = np.full((len(photos), 3), np.nan)
    gps = {i: photo.gps for i, photo in enumerate(photos) if photo.gps is not None}
    if not gps:
        return out
    usual = _usual_reference(list(gps.values()))
    heights = np.array([_height(g, usual) for g in gps.values()])
    middle = float(np.nanmedian(heights)) if np.isfinite(heights).any() else 0.0
    lonlat_h = np.array(
        [
            (g.lon, g.lat, h if np.isfinite(h) else middle)
            for g, h in zip(gps.values(), heights, strict=True)
        ]
    )
    frame = GeoFrame("geo", lon=lonlat_h[0, 0], lat=lonlat_h[0, 1], height_ellipsoidal_m=middle)
    out[list(gps)] = frame.from_lonlat(lonlat_h)
    return out


def usable_heights(photos: tuple[Photo, ...]) -> NDArray[np.bool_]:
    """(N,) True for photos with a recorded height that is usable relative to the others.

    False where the height is missing or has another reference than most, and where all photos
    record exactly the same height: a repeated reading does not follow the camera.
    """
    gps = [photo.gps for photo in photos]
    usual = _usual_reference([g for g in gps if g is not None])
    heights = np.array([np.nan if g is None else _height(g, usual) for g in gps])
    known = np.isfinite(heights)
    if known.any() and np.ptp(heights[known]) == 0:
        known[:] = False
    return np.asarray(known)


def position_priors(photos: tuple[Photo, ...], config: AdjustConfig) -> tuple[Float, Float] | None:
    """Positions (N, 3) and standard deviations (N, 3) [m] to adjust with; NaN rows have none.

    None when GPS is not used: it is turned off, too inaccurate, or fewer than three photos have it,
    which would leave the model free to rotate.
    """
    if config.position_priors == "never":
        return None
    positions = positions_m(photos)
    sigmas = np.full_like(positions, np.nan)
    usual = _usual_reference([photo.gps for photo in photos if photo.gps is not None])
    for index, photo in enumerate(photos):
        if photo.gps is not None:
            sigmas[index] = _sigmas(photo.gps, usual)
    if config.position_priors == "auto":
        used = sigmas[:, 0] <= config.max_prior_sigma_m
        if used.sum() < 0.5 * len(photos):
            return None
    else:
        used = np.isfinite(sigmas[:, 0])
    if used.sum() < 3:
        return None
    positions[~used] = np.nan
    return positions, sigmas


def _usual_reference(gps: list[Gps]) -> str:
    references = [g.height_reference for g in gps if g.height_m is not None]
    return max(sorted(set(references)), key=references.count) if references else "unknown"


def _height(gps: Gps, usual_reference: str) -> float:
    if gps.height_m is None or gps.height_reference != usual_reference:
        return np.nan
    return gps.height_m


def _sigmas(gps: Gps, usual_reference: str) -> tuple[float, float, float]:
    horizontal = gps.sigma_horizontal_m or USUAL_SIGMA_M
    vertical = gps.sigma_vertical_m or VERTICAL_FACTOR * horizontal
    if np.isnan(_height(gps, usual_reference)):
        vertical = UNKNOWN_SIGMA_M
    return horizontal, horizontal, vertical
