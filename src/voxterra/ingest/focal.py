"""Focal length in pixels from metadata, and which photos share a camera."""

from __future__ import annotations

import math

from voxterra.io.exif import Exif

_FULL_FRAME_MM = 36.0
# How far (log ratio) sensor width and 35 mm equivalent may disagree before the listed sensor is
# ignored: the equivalent is rounded, and makers refer it to the width or to the diagonal.
_AGREEMENT = 0.15

# Sensor widths, for photos whose EXIF gives the focal length only in millimetres: nominal widths of
# the image area's long side, from the makers' public data sheets. Cameras with exchangeable or
# several lenses are listed only when all of them share one sensor.
_INCH_2_3 = 6.17  # the "1/2.3 inch" format
_INCH_1 = 13.2  # the "1 inch" format
_FOUR_THIRDS = 17.3

# (make or None, model) in lower case to width [mm].
_WIDTH_MM: dict[str, float] = {
    "dji fc300s": _INCH_2_3,  # Phantom 3 Professional
    "dji fc300x": _INCH_2_3,
    "dji fc300c": _INCH_2_3,
    "dji fc300xw": _INCH_2_3,
    "dji fc330": _INCH_2_3,  # Phantom 4
    "dji fc350": _INCH_2_3,  # Inspire 1, X3
    "dji fc220": _INCH_2_3,  # Mavic Pro
    "dji fc2103": _INCH_2_3,  # Mavic Air
    "dji fc2204": _INCH_2_3,  # Mavic 2 Zoom
    "dji fc6310": _INCH_1,  # Phantom 4 Pro
    "dji fc6310s": _INCH_1,
    "dji fc6310r": _INCH_1,  # Phantom 4 RTK
    "dji fc550": _FOUR_THIRDS,  # X5
    "dji fc6520": _FOUR_THIRDS,  # X5S
    "hasselblad l1d-20c": _INCH_1,  # Mavic 2 Pro
    "dji zenmusep1": 35.9,
    "parrot sequoia": 4.8,  # the four bands; its colour camera has another size
    "parrot anafi": 5.9,
    "autel robotics xt701": 6.4,
    "yuneec cgo3+": _INCH_2_3,
    "gopro hero3+ black edition": _INCH_2_3,
    "gopro hero4 black": _INCH_2_3,
    "gopro hero5 black": _INCH_2_3,
    "gopro hero7 black": _INCH_2_3,
    "canon eos digital rebel xsi": 22.2,  # sold as 450D and Kiss X2 too
    "canon eos 450d": 22.2,
    "canon eos kiss x2": 22.2,
    "canon eos 5d mark ii": 36.0,
    "canon eos 5d mark iii": 36.0,
    "canon eos 6d": 35.8,
    "canon powershot s100": 7.44,
    "canon powershot s110": 7.44,
    "canon powershot sx260 hs": _INCH_2_3,
    "nikon d90": 23.6,
    "nikon d800": 35.9,
    "nikon d810": 35.9,
    "sony ilce-6000": 23.5,
    "sony ilce-7rm2": 35.9,
    "sony ilce-7rm4": 35.7,
    "sony dsc-rx100": _INCH_1,
    "sony dsc-wx220": _INCH_2_3,
    "sony nex-5": 23.4,
    "ricoh gr": 23.7,
    "apple iphone 4s": 4.54,
    "apple iphone 5": 4.54,
    "apple iphone 5s": 4.89,
    "apple iphone 6": 4.8,
}


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


def sensor_width_mm(make: str | None, model: str | None) -> float | None:
    """Width of the long side of a camera's sensor [mm], or None when the camera is not listed."""
    if not model:
        return None
    model = " ".join(model.lower().split())
    make = " ".join((make or "").lower().split())
    for maker in (make, make.split(" ")[0]):
        # Some makers repeat their name in the model ("Canon" + "Canon EOS 6D").
        for name in (f"{maker} {model}".strip(), model):
            if name in _WIDTH_MM:
                return _WIDTH_MM[name]
    return None


def _credible(focal: float, side: int) -> float | None:
    """None for focal lengths that no photogrammetric lens has: these come from wrong tags."""
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
