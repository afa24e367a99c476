"""Frame information in every product, and `metadata.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from voxterra.core.geo import GeoFrame, projected_crs
from voxterra.errors import FormatError

SCALE_UNKNOWN = "scale unknown: one unit is not known to be a metre"


_UNIT_SIGNS = {"metre": "m", "foot": "ft", "US survey foot": "US survey ft"}


def map_unit(frame: GeoFrame) -> str:
    """Horizontal unit of the map: "m", "ft", "US survey ft", ..., or "model units"."""
    if frame.is_local:
        return frame.unit
    name = str(projected_crs(frame.map_crs).axis_info[0].unit_name)
    return _UNIT_SIGNS.get(name, name)


def frame_comments(frame: GeoFrame, accuracy: str | None = None) -> list[str]:
    """Lines of plain text about the coordinates of a world-frame file.

    `accuracy` is a line of its own, how well they are known.
    """
    stated = [] if accuracy is None else [f"accuracy: {accuracy}"]
    if frame.is_local:
        return [
            "Voxterra: local frame, not on the map; z up as far as known",
            f"unit: {frame.unit}" + ("" if frame.scale_known else f" ({SCALE_UNKNOWN})"),
            *stated,
        ]
    east, north, height = frame.to_map(np.zeros((1, 3)))[0]
    return [
        "Voxterra: x east, y north, z up, metres, in the plane tangent to the WGS 84 ellipsoid at",
        f"origin: lon {frame.lon:.9f} lat {frame.lat:.9f} "
        f"ellipsoidal height {frame.height_ellipsoidal_m:.4f} m",
        f"map: {frame.describe()}",
        f"origin on the map: {east:.4f} {north:.4f} {height:.4f}",
        "the map is not these coordinates plus the origin: convert point by point through ECEF",
        *stated,
    ]


def read_metadata(path: Path) -> dict[str, Any]:
    """The contents of `metadata.json`.

    Raises:
        FormatError: it is not there, or no such file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(
            f"The description of the products cannot be read: {error}.",
            where=str(path),
            next_step="Write the products again: voxterra products RUN.",
        ) from error
    if not isinstance(data, dict):
        raise FormatError(
            "This is not the description of products.",
            where=str(path),
            next_step="Write the products again: voxterra products RUN.",
        )
    return data


def frame_summary(frame: GeoFrame) -> dict[str, Any]:
    """The frame as JSON-ready values, for files that can carry them.

    `ecef_from_world` is (4, 4), row by row; `origin_on_map` is easting, northing [CRS units] and
    height [m]; both are None for a local frame.
    """
    crs = frame.product_crs()
    summary: dict[str, Any] = {
        "frame": frame.to_dict(),
        "description": frame.describe(),
        "crs": frame.map_crs or None,
        "crs_wkt": crs.to_wkt(),
        "vertical_datum": vertical_datum(frame),
        "unit": frame.unit,
        "scale_known": frame.scale_known,
        "ecef_from_world": None,
        "origin_on_map": None,
    }
    if not frame.is_local:
        summary["ecef_from_world"] = frame.ecef_from_world_matrix().tolist()
        summary["origin_on_map"] = frame.to_map(np.zeros((1, 3)))[0].tolist()
    return summary


def vertical_datum(frame: GeoFrame) -> str:
    """Name of the reference of the products' heights."""
    if frame.is_local:
        return "none: heights are local"
    if frame.heights == "egm96":
        return "EGM96 height (EPSG:5773)"
    return "ellipsoidal height (WGS 84)"
