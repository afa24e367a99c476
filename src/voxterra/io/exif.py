"""EXIF of a photo: the tags that photogrammetry needs, checked and in plain units.

Tag names and meanings: CIPA DC-008 (Exif 2.32 / 3.0). Read through Pillow, which finds the block
in JPEG, PNG, TIFF and HEIC alike.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from PIL import Image

logger = logging.getLogger(__name__)

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
# One DOP unit of an autonomous single-frequency receiver: the usual user equivalent range error.
_RANGE_ERROR_M = 1.5
# FocalPlaneResolutionUnit to millimetres.
_UNIT_MM = {1: 25.4, 2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}


@dataclass(frozen=True)
class Exif:
    """EXIF tags of a photo; None where missing or not credible.

    Attributes:
        lon, lat: [deg].
        height_m: GPSAltitude with its sign [m].
        height_is_ellipsoidal: GPSAltitudeRef 2 or 3; 0 and 1 count from sea level.
        sigma_horizontal_m: GPSHPositioningError, else estimated from GPSDOP [m].
        sensor_width_mm: of the long side, from FocalPlaneXResolution and the recorded width.
        exposure_s, f_number, iso: exposure triangle.
        captured_at: ISO 8601 local time with fraction and offset where given.
        damaged: the block is there but could not be read.
    """

    make: str | None = None
    model: str | None = None
    serial: str | None = None
    lens: str | None = None
    orientation: int = 1
    lon: float | None = None
    lat: float | None = None
    height_m: float | None = None
    height_is_ellipsoidal: bool = False
    sigma_horizontal_m: float | None = None
    focal_mm: float | None = None
    focal_35mm: float | None = None
    sensor_width_mm: float | None = None
    exposure_s: float | None = None
    f_number: float | None = None
    iso: float | None = None
    captured_at: str | None = None
    damaged: bool = False


def read_exif(image: Image.Image) -> Exif:
    """EXIF of an open image. Damaged EXIF is reported in `Exif.damaged`, never raised."""
    return read_exif_block(image.getexif)


def read_exif_block(block_of: Callable[[], Image.Exif]) -> Exif:
    """EXIF as read by Pillow, or an error; see `read_exif`."""
    try:
        block = block_of()
        main, sub, gps = dict(block), block.get_ifd(_EXIF_IFD), block.get_ifd(_GPS_IFD)
        return _from_tags(main, sub, gps)
    except Exception as error:  # a damaged block can raise nearly anything inside the parser
        logger.debug("unreadable EXIF: %r", error)
        return Exif(damaged=True)


def _from_tags(main: dict[int, Any], sub: dict[int, Any], gps: dict[int, Any]) -> Exif:
    lat, lon = _degrees(gps, 2, 1, "S", 90.0), _degrees(gps, 4, 3, "W", 180.0)
    if lat is None or lon is None:
        lat = lon = None
    height, ellipsoidal = _height(gps)
    return Exif(
        make=_text(main.get(0x010F)),
        model=_text(main.get(0x0110)),
        serial=_text(sub.get(0xA431)) or _text(main.get(0xC62F)),
        lens=_text(sub.get(0xA434)),
        orientation=_orientation(main.get(0x0112)),
        lon=lon,
        lat=lat,
        height_m=height,
        height_is_ellipsoidal=ellipsoidal,
        sigma_horizontal_m=_sigma(gps),
        focal_mm=_positive(sub.get(0x920A), 5000.0),
        focal_35mm=_positive(sub.get(0xA405), 20000.0),
        sensor_width_mm=_sensor_width(sub),
        exposure_s=_exposure(sub),
        f_number=_positive(sub.get(0x829D), 1000.0),
        iso=_positive(_first(sub.get(0x8827)), 1e8),
        captured_at=_captured_at(main, sub),
    )


def _number(value: Any) -> float | None:
    value = _first(value)
    if isinstance(value, bytes):
        value = value[0] if len(value) == 1 else None
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value


def _positive(value: Any, limit: float) -> float | None:
    number = _number(value)
    return number if number is not None and 0 < number < limit else None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    cleaned = "".join(c for c in value.split("\0")[0] if c.isprintable()).strip()
    return cleaned or None


def _orientation(value: Any) -> int:
    number = _number(value)
    return int(number) if number is not None and number in range(1, 9) else 1


def _degrees(gps: dict[int, Any], tag: int, ref_tag: int, negative: str, limit: float) -> Any:
    """Signed degrees from up to three rationals and their hemisphere letter."""
    value = gps.get(tag)
    if not isinstance(value, tuple):
        value = (value,)
    parts = [_number(part) for part in value[:3]]
    if not parts or parts[0] is None:
        return None
    # Cameras that write decimal degrees or minutes fill the rest with 0/0.
    total = sum((part or 0.0) / 60.0**i for i, part in enumerate(parts))
    ref = (_text(gps.get(ref_tag)) or "").upper()
    total = -abs(total) if ref.startswith(negative) else total
    return total if abs(total) <= limit else None


def _height(gps: dict[int, Any]) -> tuple[float | None, bool]:
    """Signed height and whether it is ellipsoidal.

    GPSAltitudeRef: 0 above and 1 below sea level, 2 above and 3 below the ellipsoid.
    """
    height, ref = _number(gps.get(6)), _number(gps.get(5)) or 0.0
    if height is None or abs(height) > 100_000:
        return None, False
    return (-abs(height) if ref in (1, 3) else height), ref in (2, 3)


def _sigma(gps: dict[int, Any]) -> float | None:
    stated = _positive(gps.get(31), 10_000.0)
    dop = _positive(gps.get(11), 100.0)
    return stated if stated is not None else dop and dop * _RANGE_ERROR_M


def _sensor_width(sub: dict[int, Any]) -> float | None:
    per_unit = _positive(sub.get(0xA20E), 1e9)
    sides = [_positive(sub.get(tag), 1e6) for tag in (0xA002, 0xA003)]
    unit_code = _number(sub.get(0xA210)) or 2.0
    unit = _UNIT_MM.get(int(unit_code))
    if per_unit is None or unit is None or None in sides:
        return None
    width = max(side for side in sides if side) / per_unit * unit
    return width if 1.0 < width < 100.0 else None


def _exposure(sub: dict[int, Any]) -> float | None:
    stated = _positive(sub.get(0x829A), 1e5)
    apex = _number(sub.get(0x9201))
    if stated is None and apex is not None and abs(apex) < 30:
        return math.pow(2.0, -apex)
    return stated


def _captured_at(main: dict[int, Any], sub: dict[int, Any]) -> str | None:
    candidates = [
        (sub.get(0x9003), sub.get(0x9291), sub.get(0x9011)),
        (sub.get(0x9004), sub.get(0x9292), sub.get(0x9012)),
        (main.get(0x0132), sub.get(0x9290), sub.get(0x9010)),
    ]
    for stamp, fraction, offset in candidates:
        match = re.match(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d:\d\d:\d\d)", _text(stamp) or "")
        if not match:
            continue
        iso = f"{match[1]}-{match[2]}-{match[3]}T{match[4]}"
        try:
            datetime.fromisoformat(iso)
        except ValueError:
            continue
        digits = re.match(r"\d{1,6}", _text(fraction) or "")
        zone = re.fullmatch(r"([+-]\d\d:\d\d)|Z", _text(offset) or "")
        return iso + (f".{digits[0]}" if digits else "") + (zone[0] if zone else "")
    return None
