"""The world on the map.

`world` is a local metric frame, x east, y north, z up (ENU), tangent to the WGS 84 ellipsoid at
the origin of a `GeoFrame`. World to map always goes point by point through ECEF, because a
projected CRS has scale and convergence that no added offset accounts for.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from voxterra.core.geoid import undulation_m
from voxterra.errors import GeoError

Float = NDArray[np.float64]
Heights = Literal["egm96", "ellipsoidal"]

_LOCAL_WKT = (
    'ENGCRS["{name}",EDATUM["unknown"],CS[Cartesian,3],'
    'AXIS["x",east,ORDER[1]],AXIS["y",north,ORDER[2]],AXIS["z",up,ORDER[3]],'
    'LENGTHUNIT["{unit}",1]]'
)


@cache
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


@dataclass(frozen=True)
class GeoFrame:
    """Where the world frame lies on Earth, and in what CRS and vertical datum products come out.

    Attributes:
        kind: "geo", or "local" when nothing places the world on Earth.
        lon, lat: of the origin [deg, WGS 84]; 0 for a local frame.
        height_ellipsoidal_m: of the origin [m].
        crs: projected CRS of the products, such as "EPSG:32632"; "" for a local frame.
        heights: vertical datum of the products: EGM96 (EPSG:5773) or the ellipsoid.
        scale_known: False when a unit of the world is not known to be a metre.
    """

    kind: Literal["geo", "local"]
    lon: float = 0.0
    lat: float = 0.0
    height_ellipsoidal_m: float = 0.0
    crs: str = ""
    heights: Heights = "egm96"
    scale_known: bool = True

    @staticmethod
    def local(*, scale_known: bool = False) -> GeoFrame:
        """The frame of a reconstruction that nothing places on Earth."""
        return GeoFrame("local", scale_known=scale_known)

    @property
    def is_local(self) -> bool:
        return self.kind == "local"

    @property
    def unit(self) -> str:
        """Unit of world coordinates: "m", or "model units" when the scale is unknown."""
        return "m" if self.scale_known else "model units"

    def describe(self) -> str:
        """One line for people: CRS and vertical datum, or what is unknown."""
        if self.is_local:
            scale = "metres" if self.scale_known else "scale unknown"
            return f"local frame, not on the map ({scale})"
        datum = "EGM96 heights (EPSG:5773)" if self.heights == "egm96" else "ellipsoidal heights"
        return f"{self.crs} {projected_crs(self.crs).name}, {datum}"

    # --- ECEF -------------------------------------------------------------------------------

    def _enu_axes(self) -> Float:
        """(3, 3) ecef_from_enu rotation; columns are east, north, up."""
        lon, lat = np.radians(self.lon), np.radians(self.lat)
        sl, cl, sp, cp = np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat)
        return np.array([[-sl, -sp * cl, cp * cl], [cl, -sp * sl, cp * sl], [0.0, cp, sp]])

    def _origin_ecef(self) -> Float:
        return np.array(
            _transformer("EPSG:4979", "EPSG:4978").transform(
                self.lon, self.lat, self.height_ellipsoidal_m
            )
        )

    def ecef_from_world_matrix(self) -> Float:
        """(4, 4) ecef_from_world, metres to metres; what 3D Tiles call the root transform."""
        self._require_geo()
        out = np.eye(4)
        out[:3, :3], out[:3, 3] = self._enu_axes(), self._origin_ecef()
        return out

    # --- longitude, latitude, ellipsoidal height ----------------------------------------------

    def to_lonlat(self, points_in_world: Float) -> Float:
        """(N, 3) lon [deg], lat [deg], ellipsoidal height [m] of (N, 3) world points."""
        self._require_geo()
        ecef = np.asarray(points_in_world, float) @ self._enu_axes().T + self._origin_ecef()
        lon, lat, h = _transformer("EPSG:4978", "EPSG:4979").transform(*ecef.T)
        return np.column_stack([lon, lat, h])

    def from_lonlat(self, lonlat_h: Float) -> Float:
        """(N, 3) world points of (N, 3) lon [deg], lat [deg], ellipsoidal height [m]."""
        self._require_geo()
        ecef = np.column_stack(
            _transformer("EPSG:4979", "EPSG:4978").transform(*np.asarray(lonlat_h, float).T)
        )
        return (ecef - self._origin_ecef()) @ self._enu_axes()

    # --- map ----------------------------------------------------------------------------------

    def to_map(self, points_in_world: Float) -> Float:
        """(N, 3) easting, northing [CRS units], height [m in `heights`] of (N, 3) world points.

        A local frame's map is the world itself.
        """
        points = np.asarray(points_in_world, float).reshape(-1, 3)
        if self.is_local or not len(points):
            return points.copy()
        lon, lat, h = self.to_lonlat(points).T
        east, north = _transformer("EPSG:4326", self.crs).transform(lon, lat)
        return np.column_stack([east, north, h - self._datum_offset(lon, lat)])

    def from_map(self, points_on_map: Float) -> Float:
        """Inverse of `to_map`: (N, 3) world points of easting, northing, height."""
        points = np.asarray(points_on_map, float).reshape(-1, 3)
        if self.is_local or not len(points):
            return points.copy()
        lon, lat = _transformer(self.crs, "EPSG:4326").transform(points[:, 0], points[:, 1])
        h = points[:, 2] + self._datum_offset(lon, lat)
        return self.from_lonlat(np.column_stack([lon, lat, h]))

    def map_unit_m(self) -> float:
        """Metres in one horizontal unit of the CRS (0.3048... for feet); 1 for a local frame."""
        if self.is_local:
            return 1.0
        return float(projected_crs(self.crs).axis_info[0].unit_conversion_factor)

    def product_crs(self) -> CRS:
        """CRS with its vertical part, as written into products.

        A local frame gets an engineering CRS without an EPSG code.
        """
        if self.is_local:
            unit = "metre" if self.scale_known else "unknown"
            name = "Voxterra local frame" + ("" if self.scale_known else ", scale unknown")
            return CRS.from_wkt(_LOCAL_WKT.format(name=name, unit=unit))
        if self.heights == "egm96":
            return CRS.from_user_input(f"{self.crs}+5773")
        return projected_crs(self.crs).to_3d()

    def _datum_offset(self, lon: Float, lat: Float) -> Float | float:
        return undulation_m(lon, lat) if self.heights == "egm96" else 0.0

    def _require_geo(self) -> None:
        if self.is_local:
            raise GeoError(
                "This model is not on the map: its frame is local.",
                next_step="Give photos with GPS, a meta.csv with positions, or control points.",
            )

    # --- storage ------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> GeoFrame:
        return GeoFrame(**data)


@cache
def projected_crs(crs: str) -> CRS:
    """The projected CRS named by `crs` ("EPSG:32632", a WKT or PROJ string), checked.

    Raises:
        GeoError: unknown to PROJ, or not projected (products need a map with a length unit).
    """
    try:
        parsed = CRS.from_user_input(crs)
    except CRSError as error:
        raise GeoError(
            f"'{crs}' is not a CRS that PROJ knows.",
            where="--crs",
            next_step="Give a projected CRS such as EPSG:32632; see https://epsg.io.",
        ) from error
    if not parsed.is_projected or parsed.is_compound:
        raise GeoError(
            f"{crs} ({parsed.name}) is not a projected, horizontal CRS.",
            where="--crs",
            next_step="Give a projected CRS such as a UTM zone; choose heights with --heights.",
        )
    return parsed


def utm_crs(lon: float, lat: float) -> str:
    """EPSG code of the WGS 84 UTM zone of a place, Norway's and Svalbard's exceptions included.

    Raises:
        GeoError: latitude outside UTM's range of -80 to 84 degrees.
    """
    if not -80.0 <= lat <= 84.0:
        raise GeoError(
            f"Latitude {lat:.2f} is outside the UTM zones.",
            next_step="Give a CRS made for polar regions, such as --crs EPSG:3031 or EPSG:3413.",
        )
    lon = (lon + 180.0) % 360.0 - 180.0
    zone = int((lon + 180.0) // 6.0) + 1
    if 56.0 <= lat < 64.0 and 3.0 <= lon < 12.0:
        zone = 32
    elif lat >= 72.0 and 0.0 <= lon < 42.0:
        zone = 31 + 2 * int((lon + 3.0) // 12.0)
    return f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"


def check_in_area(crs: str, lon: float, lat: float) -> None:
    """Raise GeoError when a place lies so far outside `crs` that it has no sane coordinates."""
    area = projected_crs(crs).area_of_use
    if area is None:
        return
    d_lon = (lon - area.west) % 360.0
    inside_lon = d_lon <= (area.east - area.west) % 360.0 + 6.0 or d_lon >= 354.0
    if not inside_lon or not area.south - 6.0 <= lat <= area.north + 6.0:
        raise GeoError(
            f"{crs} is made for {area.name}; the photos lie at lon {lon:.4f}, lat {lat:.4f}.",
            where="--crs",
            next_step=f"Leave --crs out to get {utm_crs(lon, lat)}, or name the CRS of that place.",
        )
