"""The world on the map.

`world` is a local metric frame, x east, y north, z up (ENU), tangent to the WGS 84 ellipsoid at
the origin of a `GeoFrame`. World to map always goes point by point through ECEF, because a
projected CRS has scale and convergence that no added offset accounts for.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Proj, Transformer
from pyproj.crs import CompoundCRS
from pyproj.exceptions import CRSError, ProjError
from pyproj.transformer import AreaOfInterest, TransformerGroup

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


@cache
def _map_from_lonlat(crs: str, lon: float, lat: float) -> Transformer:
    """PROJ's best operation at a place that needs no missing grid.

    One operation for both directions: if it chose again for each call, PROJ might use another one
    for the way back, half a metre off for old national datums.
    """
    area = AreaOfInterest(
        (lon - 0.05 + 180.0) % 360.0 - 180.0,
        max(lat - 0.05, -90.0),
        (lon + 0.05 + 180.0) % 360.0 - 180.0,
        min(lat + 0.05, 90.0),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "a better one would need a grid"
        group = TransformerGroup(
            "EPSG:4326", projected_crs(crs), always_xy=True, area_of_interest=area
        )
    if group.transformers:
        return group.transformers[0]
    return Transformer.from_crs("EPSG:4326", projected_crs(crs), always_xy=True)


@dataclass(frozen=True)
class GeoFrame:
    """Place of the world frame on Earth, and CRS and vertical datum of the products.

    Attributes:
        kind: "geo", or "local" when nothing places the world on Earth.
        lon, lat: of the origin [deg, WGS 84]; 0 for a local frame.
        height_ellipsoidal_m: of the origin [m].
        crs: projected CRS of the products, such as "EPSG:32632"; "" for the UTM zone of the
            origin, and for a local frame.
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
    def map_crs(self) -> str:
        """`crs`, or the UTM zone of the origin; "" for a local frame.

        Raises:
            GeoError: no CRS is named, and there is no UTM zone so near the poles.
        """
        return self.crs or ("" if self.is_local else utm_crs(self.lon, self.lat))

    @property
    def unit(self) -> str:
        """Unit of world coordinates: "m", or "model units" when the scale is unknown."""
        return "m" if self.scale_known else "model units"

    def describe(self) -> str:
        """One line for people: CRS and vertical datum, or that they are unknown."""
        if self.is_local:
            scale = "metres" if self.scale_known else "scale unknown"
            return f"local frame, not on the map ({scale})"
        datum = "EGM96 heights (EPSG:5773)" if self.heights == "egm96" else "ellipsoidal heights"
        crs = projected_crs(self.map_crs)
        code = ":".join(crs.to_authority() or ())
        return f"{code} {crs.name}, {datum}".lstrip()

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
        to_lonlat_h = _transformer("EPSG:4978", "EPSG:4979")
        lon, lat, h = to_lonlat_h.transform(ecef[:, 0], ecef[:, 1], ecef[:, 2])
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
        east, north = self._map_operation().transform(lon, lat)
        return np.column_stack([east, north, h - self._datum_offset(lon, lat)])

    def from_map(self, points_on_map: Float) -> Float:
        """Inverse of `to_map`: (N, 3) world points of easting, northing, height."""
        points = np.asarray(points_on_map, float).reshape(-1, 3)
        if self.is_local or not len(points):
            return points.copy()
        operation = self._map_operation()
        lon, lat = operation.transform(points[:, 0], points[:, 1], direction="INVERSE")
        # A datum shift without heights inverts to a millimetre only; one correction makes it exact.
        east, north = operation.transform(lon, lat)
        lon, lat = operation.transform(
            2 * points[:, 0] - east, 2 * points[:, 1] - north, direction="INVERSE"
        )
        h = points[:, 2] + self._datum_offset(lon, lat)
        return self.from_lonlat(np.column_stack([lon, lat, h]))

    def map_unit_m(self) -> float:
        """Metres in one horizontal unit of the CRS (0.3048... for feet); 1 for a local frame."""
        if self.is_local:
            return 1.0
        return float(projected_crs(self.map_crs).axis_info[0].unit_conversion_factor)

    def product_crs(self) -> CRS:
        """CRS with its vertical part, as written into products.

        A local frame gets an engineering CRS without an EPSG code.
        """
        if self.is_local:
            unit = "metre" if self.scale_known else "unknown"
            name = "Voxterra local frame" + ("" if self.scale_known else ", scale unknown")
            return CRS.from_wkt(_LOCAL_WKT.format(name=name, unit=unit))
        horizontal = projected_crs(self.map_crs)
        if self.heights == "egm96":
            return CompoundCRS(f"{horizontal.name} + EGM96 height", [horizontal, CRS(5773)])
        return horizontal.to_3d()

    def datum_name(self) -> str:
        """Of the CRS, such as "NAD83"; "" for a local frame."""
        if self.is_local:
            return ""
        geodetic = projected_crs(self.map_crs).geodetic_crs
        return geodetic.name if geodetic else "an unknown datum"

    def map_accuracy_m(self) -> float | None:
        """Accuracy that PROJ states for the way from WGS 84 to the CRS [m]; None when unknown.

        It is that of the tie between the datums, which no survey can improve on.
        """
        if self.is_local:
            return 0.0
        accuracy = self._map_operation().accuracy
        return accuracy if accuracy is not None and accuracy >= 0 else None

    def map_scale(self) -> float:
        """Length on the map over length on the ellipsoid at the origin (UTM: 0.9996 to 1.001)."""
        if self.is_local:
            return 1.0
        try:
            factors = Proj(projected_crs(self.map_crs)).get_factors(self.lon, self.lat)
        except ProjError:
            return 1.0
        return float(np.sqrt(factors.areal_scale))

    def _map_operation(self) -> Transformer:
        return _map_from_lonlat(self.map_crs, self.lon, self.lat)

    def _datum_offset(self, lon: Float, lat: Float) -> Float | float:
        return undulation_m(lon, lat) if self.heights == "egm96" else 0.0

    def _require_geo(self) -> None:
        if self.is_local:
            raise GeoError(
                "This model is not on the map: its frame is local.",
                next_step="Give photos with GPS, or a meta.csv with positions.",
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
            f"'{_short(crs)}' is not a CRS that PROJ knows.",
            where="--crs",
            next_step="Give a projected CRS such as EPSG:32632; see https://epsg.io.",
        ) from error
    if not parsed.is_projected or parsed.is_compound:
        raise GeoError(
            f"{_short(crs)} ({parsed.name}) is not a projected, horizontal CRS.",
            where="--crs",
            next_step="Give a projected CRS such as a UTM zone; choose heights with --heights.",
        )
    if any(axis.direction == "west" for axis in parsed.axis_info):
        raise GeoError(
            f"{_short(crs)} ({parsed.name}) counts to the west and south.",
            where="--crs",
            next_step="Give a CRS whose axes point east and north, such as a UTM zone.",
        )
    return parsed


def utm_crs(lon: float, lat: float) -> str:
    """EPSG code of the WGS 84 UTM zone of a place, with the exceptions of Norway and Svalbard.

    Raises:
        GeoError: latitude outside UTM's range of -80 to 84 degrees.
    """
    if not -80.0 <= lat <= 84.0:
        raise GeoError(
            f"Latitude {lat:.2f} is outside the UTM zones.",
            where="GPS of the photos",
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
    """Raise GeoError if a place is too far outside the area of `crs` for valid coordinates."""
    area = projected_crs(crs).area_of_use
    if area is None:
        return
    width = (area.east - area.west) % 360.0 or 360.0
    inside_lon = width > 348.0 or (lon - area.west + 6.0) % 360.0 <= width + 12.0
    if not inside_lon or not area.south - 6.0 <= lat <= area.north + 6.0:
        raise GeoError(
            f"{_short(crs)} is made for {area.name.rstrip('.')}; the photos lie at "
            f"lon {lon:.4f}, lat {lat:.4f}.",
            where="--crs",
            next_step="Leave --crs out to get the UTM zone, or name the CRS of that place.",
        )


def _short(crs: str) -> str:
    return crs if len(crs) <= 40 else f"{crs[:37]}..."
