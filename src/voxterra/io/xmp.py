"""XMP of drone photos: position accuracy, RTK state and attitude.

Namespaces read: drone-dji, Pix4D's Camera (senseFly, Parrot, MicaSense and others write it) and
drone-parrot. Values are attributes of rdf:Description or elements.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from voxterra.core.photos import Attitude, HeightReference

logger = logging.getLogger(__name__)

_MAX_BYTES = 4_000_000
_ATTRIBUTE = re.compile(r"([\w-]{1,40}):(\w{1,60})\s*=\s*(?:\"([^\"<]{0,100})\"|'([^'<]{0,100})')")
_RTK_FLAGS = {16: "single", 34: "float", 50: "fixed"}


@dataclass(frozen=True)
class Xmp:
    """XMP tags of a photo; None where missing.

    Attributes:
        lon, lat: [deg], WGS 84.
        height_m: height as recorded [m].
        height_above_takeoff_m: [m].
        height_reference: "unknown" where the XMP does not state it.
        sigma_horizontal_m, sigma_vertical_m: stated standard deviations [m].
        rtk: "fixed", "float", "single" or None when no RTK receiver wrote this.
        attitude: of the camera.
        damaged: the XMP is there but is not well-formed XML; what could be picked out is used.
    """

    lon: float | None = None
    lat: float | None = None
    height_m: float | None = None
    height_above_takeoff_m: float | None = None
    height_reference: HeightReference = "unknown"
    sigma_horizontal_m: float | None = None
    sigma_vertical_m: float | None = None
    rtk: str | None = None
    attitude: Attitude | None = None
    damaged: bool = False


def read_xmp(packet: bytes | str | None) -> Xmp:
    """Parse an XMP packet; never raises: what cannot be read is absent.

    Entities and external references are refused (defusedxml).
    """
    if not packet:
        return Xmp()
    text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else packet
    text = text[:_MAX_BYTES].replace("\0", "").strip()
    damaged = False
    try:
        tags = _parse(text)
    except Exception as error:  # expat errors, refused entities, undecodable text
        logger.debug("malformed XMP: %r", error)
        # Some firmware forgets a namespace declaration; its attributes are still plain to read.
        tags, damaged = _scan(text), True
    return _interpret(tags, damaged)


Tags = dict[tuple[str, str], str]
Number = Callable[..., "float | None"]


def _family(namespace: str) -> str:
    """Vendor of a namespace address, or of a bare prefix."""
    name = namespace.lower()
    for key, family in (("dji", "dji"), ("pix4d", "pix4d"), ("parrot", "parrot")):
        if key in name:
            return family
    return "pix4d" if name == "camera" else ""


def _parse(text: str) -> Tags:
    from defusedxml import ElementTree

    start = text.find("<")
    root = ElementTree.fromstring(text[max(start, 0) :])
    tags: Tags = {}
    for element in root.iter():
        pairs = [(element.tag, (element.text or "").strip()), *element.attrib.items()]
        for name, value in pairs:
            if value and isinstance(name, str) and name.startswith("{"):
                namespace, _, local = name[1:].partition("}")
                if family := _family(namespace):
                    tags.setdefault((family, local.lower()), value)
    return tags


def _scan(text: str) -> Tags:
    tags: Tags = {}
    for prefix, local, double, single in _ATTRIBUTE.findall(text):
        if family := _family(prefix):
            tags.setdefault((family, local.lower()), double or single)
    return tags


def _interpret(tags: Tags, damaged: bool) -> Xmp:
    def number(family: str, *names: str) -> float | None:
        for name in names:
            value = _number(tags.get((family, name)))
            if value is not None:
                return value
        return None

    lat = number("dji", "gpslatitude", "latitude")
    lon = number("dji", "gpslongitude", "gpslongtitude", "longitude")
    if lat is None or lon is None or abs(lat) > 90 or abs(lon) > 180:
        lat = lon = None
    sigma_lon, sigma_lat = number("dji", "rtkstdlon"), number("dji", "rtkstdlat")
    horizontal = None
    if sigma_lon is not None and sigma_lat is not None:
        horizontal = _sigma(math.hypot(sigma_lon, sigma_lat) / math.sqrt(2.0))
    horizontal = horizontal or _sigma(number("pix4d", "gpsxyaccuracy"))
    vertical = _sigma(number("dji", "rtkstdhgt")) or _sigma(number("pix4d", "gpszaccuracy"))
    rtk = _RTK_FLAGS.get(int(number("dji", "rtkflag") or 0))
    return Xmp(
        lon=lon,
        lat=lat,
        height_m=number("dji", "absolutealtitude"),
        height_above_takeoff_m=number("dji", "relativealtitude"),
        height_reference=_height_reference(tags, rtk),
        sigma_horizontal_m=horizontal,
        sigma_vertical_m=vertical,
        rtk=rtk,
        attitude=_gimbal(number) or _pix4d_attitude(number),
        damaged=damaged,
    )


def _number(text: str | None) -> float | None:
    match = re.match(r"\s*([+-]?\d{1,12}(?:\.\d{0,20})?)\s*$", text or "", re.ASCII)
    return float(match[1]) if match else None


def _sigma(value: float | None) -> float | None:
    return value if value is not None and 0 < value < 10_000 else None


def _height_reference(tags: Tags, rtk: str | None) -> HeightReference:
    """DJI's RTK drones record heights over the ellipsoid of the base's datum."""
    vertical = tags.get(("pix4d", "verticalcs"), "").lower()
    if "ellips" in vertical or "4979" in vertical:
        return "ellipsoidal"
    if "5773" in vertical or "egm96" in vertical:
        return "egm96"
    kind = tags.get(("dji", "altitudetype"), "").lower()
    if rtk is not None or kind.startswith("rtk"):
        return "ellipsoidal"
    return "unknown"


def _gimbal(number: Number) -> Attitude | None:
    for family, prefix in (("dji", "gimbal"), ("parrot", "camera")):
        yaw, pitch = (number(family, f"{prefix}{axis}degree") for axis in ("yaw", "pitch"))
        roll = number(family, f"{prefix}rolldegree") or 0.0
        if yaw is None or pitch is None:
            continue
        # A gimbal that was never read is all zero, and so is then the aircraft.
        flight = number(family, "flightyawdegree") or 0.0
        if yaw == pitch == roll == flight == 0.0:
            continue
        return Attitude(yaw, pitch, roll)
    return None


def _pix4d_attitude(number: Number) -> Attitude | None:
    """Attitude from Pix4D's Camera:Yaw/Pitch/Roll, where pitch 0 is straight down."""
    yaw, pitch, roll = (number("pix4d", axis) for axis in ("yaw", "pitch", "roll"))
    if yaw is None or pitch is None or roll is None:
        return None
    return attitude_from_nadir_angles(yaw, pitch, roll)


def attitude_from_nadir_angles(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Attitude:
    """Attitude of a camera that looks along the aircraft's down axis, image top forward.

    Args:
        yaw_deg: of the aircraft, clockwise from north.
        pitch_deg: nose up positive; 0 = the camera looks straight down.
        roll_deg: right wing down positive.
    """
    cy, cp, cr = np.cos(np.radians([yaw_deg, pitch_deg, roll_deg]))
    sy, sp, sr = np.sin(np.radians([yaw_deg, pitch_deg, roll_deg]))
    # Columns: the body axes forward, right, down in north-east-down (Rz(yaw) Ry(pitch) Rx(roll)).
    forward = np.array([cy * cp, sy * cp, -sp])
    right = np.array([cy * sp * sr - sy * cr, sy * sp * sr + cy * cr, cp * sr])
    down = np.array([cy * sp * cr + sy * sr, sy * sp * cr - cy * sr, cp * cr])
    # A gimbal's own forward axis is the optical axis: here the body's down axis.
    axis, image_right, image_down = down, right, -forward
    pitch = math.asin(float(np.clip(-axis[2], -1.0, 1.0)))
    if math.hypot(axis[0], axis[1]) < 1e-9:  # exactly down: yaw and roll turn about one axis
        return Attitude(float(yaw_deg), -90.0, 0.0)
    yaw = math.atan2(axis[1], axis[0])
    roll = math.atan2(image_right[2], image_down[2])
    return Attitude(math.degrees(yaw), math.degrees(pitch), math.degrees(roll))
