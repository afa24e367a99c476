"""Position and attitude of a photo from its table row, XMP and EXIF together."""

from __future__ import annotations

from voxterra.core.photos import Attitude, Gps, HeightReference
from voxterra.ingest.config import IngestConfig
from voxterra.io.exif import Exif
from voxterra.io.meta_csv import MetaRow
from voxterra.io.xmp import Xmp

NULL_ISLAND = "its GPS position is 0, 0: the receiver had no fix; position not used"
YAW_ALONE = "its row in the table gives yaw or pitch alone; attitude not used"


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
    candidates = [("exif", exif.lon, exif.lat), ("xmp", xmp.lon, xmp.lat)]
    if row is not None:
        candidates.append(("meta.csv", row.lon, row.lat))
    position = null = None
    for source, lon, lat in reversed(candidates):
        if lon is None or lat is None:
            continue
        if abs(lon) < 1e-6 and abs(lat) < 1e-6:
            null = NULL_ISLAND
        elif position is None:
            position = source, lon, lat
    if position is None:
        warnings += [null] if null else []
        return None
    source, lon, lat = position
    height, reference = _height(exif, xmp, row)
    horizontal = (xmp.sigma_horizontal_m, exif.sigma_horizontal_m)
    vertical = xmp.sigma_vertical_m
    if source == "meta.csv" and row is not None:
        # Accuracies of another measurement say nothing about the table's position.
        own_height = row.height_m is not None
        horizontal = (row.sigma_horizontal_m, None)
        vertical = row.sigma_vertical_m if own_height or row.sigma_vertical_m else vertical
    elif row is not None:
        horizontal = (row.sigma_horizontal_m or horizontal[0], horizontal[1])
        vertical = row.sigma_vertical_m or vertical
    sigma = horizontal[0] or horizontal[1]
    return Gps(lon, lat, height, reference, sigma, vertical, source)


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
