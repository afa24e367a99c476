"""Position and attitude of a photo from its table row, XMP and EXIF together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyproj import Geod

from voxterra.core.photos import Attitude, Gps, HeightReference
from voxterra.core.wording import distance, listed
from voxterra.ingest.config import IngestConfig
from voxterra.io.exif import Exif
from voxterra.io.meta_csv import MetaRow
from voxterra.io.xmp import Xmp

NULL_ISLAND = "its GPS position is 0, 0: the receiver had no fix; position not used"
TABLE = "meta.csv"
YAW_ALONE = "its row in the table gives yaw or pitch alone: give both; attitude not used"

Recorded = tuple[str, float, float]
"""Where a position comes from, its longitude and latitude [deg]."""

# Two receivers that both had a fix never differ by so much [m].
_CONTRADICTION_M = 200.0


def place(
    exif: Exif, xmp: Xmp, row: MetaRow | None, config: IngestConfig
) -> tuple[Gps | None, Attitude | None, list[str]]:
    """GPS, attitude and warnings. A table row wins over XMP, XMP over EXIF, value by value."""
    warnings: list[str] = []
    gps = _gps(exif, xmp, row, warnings)
    if gps is not None and config.gps_heights != "auto":
        gps = Gps(**{**vars(gps), "height_reference": config.gps_heights})
    return gps, _attitude(xmp, row, warnings), warnings


def _gps(exif: Exif, xmp: Xmp, row: MetaRow | None, warnings: list[str]) -> Gps | None:
    recorded = _recorded(exif, xmp, row)
    positions = [p for p in recorded if not _is_null(p)]
    if not positions:
        warnings += [NULL_ISLAND] if recorded else []
        return None
    source, lon, lat = positions[0]
    height, reference = _height(exif, xmp, row)
    horizontal = (xmp.sigma_horizontal_m, exif.sigma_horizontal_m)
    vertical = xmp.sigma_vertical_m
    if source == TABLE and row is not None:
        # Accuracies of another measurement say nothing about the table's position.
        own_height = row.height_m is not None
        horizontal = (row.sigma_horizontal_m, None)
        vertical = row.sigma_vertical_m if own_height or row.sigma_vertical_m else vertical
    elif row is not None:
        horizontal = (row.sigma_horizontal_m or horizontal[0], horizontal[1])
        vertical = row.sigma_vertical_m or vertical
    sigma = horizontal[0] or horizontal[1]
    return Gps(lon, lat, height, reference, sigma, vertical, source)


def _recorded(exif: Exif, xmp: Xmp, row: MetaRow | None) -> list[Recorded]:
    """All positions of a photo, the one that wins first."""
    candidates = [("xmp", xmp.lon, xmp.lat), ("exif", exif.lon, exif.lat)]
    if row is not None:
        candidates.insert(0, (TABLE, row.lon, row.lat))
    return [(s, lon, lat) for s, lon, lat in candidates if lon is not None and lat is not None]


def _is_null(position: Recorded) -> bool:
    return abs(position[1]) < 1e-6 and abs(position[2]) < 1e-6


def table_against_photos(
    read: Iterable[tuple[str, Exif, Xmp]], rows: Mapping[str, MetaRow]
) -> list[str]:
    """A warning when the table puts photos far from where they themselves say that they were.

    Args:
        read: photo ids, and the metadata of their files.
        rows: rows of the table by photo id.
    """
    named = []
    for name, exif, xmp in read:
        positions = [p for p in _recorded(exif, xmp, rows.get(name)) if not _is_null(p)]
        if len(positions) > 1 and positions[0][0] == TABLE:
            (_, lon, lat), (_, own_lon, own_lat) = positions[:2]
            far = Geod(ellps="WGS84").inv(lon, lat, own_lon, own_lat)[2]
            if far >= _CONTRADICTION_M:
                named.append(f"{name} (line {rows[name].line}, {distance(far)})")
    if not named:
        return []
    photos = "1 photo" if len(named) == 1 else f"{len(named)} photos"
    return [
        f"{TABLE} puts {photos} far from the position in the photo itself: {listed(named)}; the "
        "table's positions are used: correct its lines if they are wrong (lat and lon swapped, a "
        "sign missing), or empty their cells to use the photos' own positions"
    ]


def _height(exif: Exif, xmp: Xmp, row: MetaRow | None) -> tuple[float | None, HeightReference]:
    if row is not None and row.height_m is not None:
        return row.height_m, "egm96" if row.height_reference == "unknown" else row.height_reference
    if exif.height_m is not None and (exif.height_is_ellipsoidal or xmp.height_m is None):
        if exif.height_is_ellipsoidal or xmp.height_reference == "ellipsoidal":
            return exif.height_m, "ellipsoidal"
        return exif.height_m, "egm96"
    if xmp.height_m is not None:
        return xmp.height_m, "egm96" if xmp.height_reference == "unknown" else xmp.height_reference
    return None, "unknown"


def _attitude(xmp: Xmp, row: MetaRow | None, warnings: list[str]) -> Attitude | None:
    if row is None or (row.yaw_deg is None and row.pitch_deg is None):
        return xmp.attitude
    if row.yaw_deg is None or row.pitch_deg is None:
        warnings.append(YAW_ALONE)
        return xmp.attitude
    return Attitude(row.yaw_deg, row.pitch_deg, row.roll_deg or 0.0)
