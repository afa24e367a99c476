"""What every product says of its frame, and `metadata.json`."""

from __future__ import annotations

import numpy as np

from voxterra.core.geo import GeoFrame


def frame_comments(frame: GeoFrame) -> list[str]:
    """Lines of plain text that say what the coordinates of a world-frame file are."""
    if frame.is_local:
        return [
            "Voxterra: local frame, not on the map",
            f"unit: {frame.unit}" + ("" if frame.scale_known else " (scale unknown)"),
        ]
    east, north, height = frame.to_map(np.zeros((1, 3)))[0]
    return [
        "Voxterra: x east, y north, z up, metres, in the plane tangent to the WGS 84 ellipsoid at",
        f"origin: lon {frame.lon:.9f} lat {frame.lat:.9f} "
        f"ellipsoidal height {frame.height_ellipsoidal_m:.4f} m",
        f"map: {frame.describe()}",
        f"origin on the map: {east:.4f} {north:.4f} {height:.4f}",
        "the map is not these coordinates plus the origin: convert point by point through ECEF",
    ]
