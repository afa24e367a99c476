"""What the map of the products is: its CRS and its heights."""

from __future__ import annotations

from dataclasses import dataclass

from voxterra.core.geo import Heights


@dataclass(frozen=True)
class MapConfig:
    """CRS and vertical datum of the products. Nothing before the products depends on them.

    Attributes:
        crs: projected CRS (`EPSG:32632`, a WKT or PROJ string); left out, the UTM zone of the
            photos.
        heights: vertical datum: `egm96` (about mean sea level) or `ellipsoidal`.
    """

    crs: str | None = None
    heights: Heights = "egm96"
