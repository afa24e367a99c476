"""GeoJSON: camera positions and photo footprints; areas of interest.

Format: RFC 7946: WGS 84 longitude, latitude, and height above the ellipsoid in metres.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.area import Polygon
from voxterra.core.geo import GeoFrame
from voxterra.errors import FormatError, GeoError
from voxterra.io.files.disk import cannot_read
from voxterra.io.files.json_file import write_json
from voxterra.io.metadata import vertical_datum

_EXPECTED = "Give a GeoJSON file with a Polygon or MultiPolygon, longitude first (WGS 84)."


def read_polygons(path: Path) -> tuple[Polygon, ...]:
    """All polygons of a GeoJSON geometry, feature or collection.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no GeoJSON, holds no polygon, or its coordinates are no degrees.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise cannot_read(error, path) from error
    except (ValueError, RecursionError) as error:
        raise _wrong("this is no JSON", path) from error
    try:
        polygons = tuple(tuple(_ring(r) for r in rings) for rings in _ring_lists(data) if rings)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise _wrong("a polygon of it cannot be read", path) from error
    if not polygons:
        raise _wrong("it holds no polygon", path)
    corners = np.vstack([ring for polygon in polygons for ring in polygon])
    if not np.isfinite(corners).all() or (np.abs(corners) > [360.0, 90.0]).any():
        raise _wrong("its coordinates are not longitude and latitude in degrees", path)
    return polygons


def _ring_lists(data: Any) -> Iterator[list[Any]]:
    kind = data["type"]
    if kind == "FeatureCollection":
        for feature in data["features"]:
            yield from _ring_lists(feature)
    elif kind == "Feature":
        if data["geometry"] is not None:
            yield from _ring_lists(data["geometry"])
    elif kind == "GeometryCollection":
        for geometry in data["geometries"]:
            yield from _ring_lists(geometry)
    elif kind == "Polygon":
        yield data["coordinates"]
    elif kind == "MultiPolygon":
        yield from data["coordinates"]


def _ring(corners: Any) -> NDArray[np.float64]:
    ring = np.array([[float(corner[0]), float(corner[1])] for corner in corners])
    if len(ring) < 3:
        raise ValueError("a ring of fewer than three corners")
    return ring


def _wrong(what: str, path: Path) -> FormatError:
    return FormatError(
        f"This is no area of interest: {what}.", where=str(path), next_step=_EXPECTED
    )


def write_geojson(
    features: Sequence[dict[str, Any]],
    path: Path,
    frame: GeoFrame,
    *,
    name: str,
    accuracy: str | None = None,
) -> None:
    """A feature collection; coordinates must already be longitude, latitude, ellipsoidal height.

    `accuracy` is a line that says how well positions are known, for the head of the collection.

    Raises:
        GeoError: the frame is local: GeoJSON knows no coordinates but longitude and latitude.
        OutputError: the file cannot be written.
    """
    if frame.is_local:
        raise GeoError(
            "GeoJSON cannot hold a model that is not on the map.",
            where=str(path),
            next_step="Give photos with GPS, or use the local products.",
        )
    collection = {
        "type": "FeatureCollection",
        "name": name,
        "description": "heights of positions: metres above the WGS 84 ellipsoid",
        "product_crs": frame.map_crs,
        "product_vertical_datum": vertical_datum(frame),
        "accuracy": accuracy,
        "features": list(features),
    }
    write_json(collection, path)
