"""Focal length in pixels from metadata, and which photos share a camera."""

from __future__ import annotations

import math

from voxterra.io.exif import Exif
from voxterra.io.sensors import sensor_width_mm

_FULL_FRAME_MM = 36.0
# How far sensor width and 35 mm equivalent may disagree before the sensor is not believed: the
# equivalent is a rounded number, and makers refer it to the width or to the diagonal.
_AGREEMENT = 0.15


def focal_px(exif: Exif, width: int, height: int) -> float | None:
    """Focal length in pixels of the stored image, or None.

    From the listed sensor of a known camera where that agrees with the 35 mm equivalent (more exact
    than the rounded equivalent), else from the 35 mm equivalent (36 mm = the long side), else from
    the sensor's size as the focal plane resolution gives it.
    """
    side = max(width, height)
    listed = sensor_width_mm(exif.make, exif.model)
    from_sensor = exif.focal_mm / listed * side if exif.focal_mm and listed else None
    if exif.focal_35mm:
        equivalent = exif.focal_35mm / _FULL_FRAME_MM * side
        if from_sensor and abs(math.log(from_sensor / equivalent)) < _AGREEMENT:
            return _credible(from_sensor, side)
        return _credible(equivalent, side)
    if from_sensor:
        return _credible(from_sensor, side)
    if exif.focal_mm and exif.sensor_width_mm:
        return _credible(exif.focal_mm / exif.sensor_width_mm * side, side)
    return None


def _credible(focal: float, side: int) -> float | None:
    """Focal lengths that no photogrammetric lens has come from wrong tags."""
    return focal if 0.2 < focal / side < 20.0 else None


def camera_key(exif: Exif, width: int, height: int) -> str:
    """Name of the camera in one setting; photos with the same name share intrinsics."""
    parts = [exif.make, exif.model, f"{width}x{height}"]
    if exif.make and exif.model and exif.model.lower().startswith(exif.make.lower()):
        parts[0] = None
    if exif.focal_mm:
        parts.append(f"{exif.focal_mm:.2f} mm")
    if exif.focal_35mm:
        parts.append(f"({exif.focal_35mm:g} mm equivalent)")
    if exif.serial:
        parts.append(f"no. {exif.serial}")
    name = " ".join(part for part in parts if part)
    return name if exif.model or exif.focal_mm else f"unknown camera {name}"


def exposure_ev(exif: Exif) -> float | None:
    """log2 of shutter [s] * ISO / 100 / f-number^2; see `core.photos.Photo`."""
    if not (exif.exposure_s and exif.f_number and exif.iso):
        return None
    return math.log2(exif.exposure_s * exif.iso / 100.0 / exif.f_number**2)
