"""GeoJSON: camera positions and photo footprints.

Format: RFC 7946: WGS 84 longitude, latitude, and height above the ellipsoid in metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxterra.core.geo import GeoFrame
from voxterra.errors import GeoError
from voxterra.io.json_file import write_json
from voxterra.io.metadata import vertical_datum


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
        "product_crs": frame.crs,
        "product_vertical_datum": vertical_datum(frame),
        "accuracy": accuracy,
        "features": list(features),
    }
    write_json(collection, path)
