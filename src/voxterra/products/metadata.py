"""The contents of `metadata.json`: what the products are, where they lie, how good they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from voxterra.core.gaps import component_gaps, distance_apart_m
from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference
from voxterra.core.photos import PhotoSet
from voxterra.core.raster import SurfaceRaster
from voxterra.core.registration import UnregisteredPhoto
from voxterra.core.sites import sites_of
from voxterra.core.surface_source import SurfaceSource
from voxterra.core.version import VERSION
from voxterra.io.metadata import frame_summary, map_unit

FORMAT = "voxterra metadata 1"
_PACKAGES = (
    "pycolmap",
    "numba",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "rasterio",
    "pyproj",
    "laspy",
)


def describe(
    georeference: Georeference,
    photos: PhotoSet,
    products: Sequence[dict[str, Any]],
    coverage: dict[str, Any],
    *,
    skipped: Mapping[str, str],
    license: str | None,
    run_info: dict[str, Any],
) -> dict[str, Any]:
    """The contents of `metadata.json`.

    Args:
        georeference: frame, components and their fit.
        photos: of the project.
        products: name, path, kind, description, size and hash of every other file.
        coverage: numbers of the surface, and the facts of all products.
        skipped: exporter -> why, of those that were asked for and made nothing.
        license: of the products, or None.
        run_info: "created" (ISO 8601; now when missing), "config" (resolved, of all stages),
            "software" (further versions) and whatever else the run wants to record.
    """
    frame = georeference.frame
    run_info = dict(run_info)
    summary = frame_summary(frame)
    return {
        "format": FORMAT,
        "created": run_info.pop("created", None) or datetime.now(UTC).isoformat(timespec="seconds"),
        "license": license,
        "crs": summary["crs"],
        "crs_wkt": summary["crs_wkt"],
        "vertical_datum": summary["vertical_datum"],
        "origin": None
        if frame.is_local
        else {
            "lon": frame.lon,
            "lat": frame.lat,
            "height_ellipsoidal_m": frame.height_ellipsoidal_m,
            "on_map": summary["origin_on_map"],
        },
        "scale": {"known": frame.scale_known, "unit": frame.unit},
        "transform": {
            "ecef_from_world": summary["ecef_from_world"],
            "matrix_order": "rows",
            "world": frame.describe()
            if frame.is_local
            else "local tangent plane at the origin: x east, y north, z up, metres",
            "map_from_world": "the world itself"
            if frame.is_local
            else "point by point: world -> ECEF -> lon, lat, height -> CRS; never an added offset",
        },
        "frame": frame.to_dict(),
        "accuracy": accuracy(georeference),
        "coverage": coverage,
        "photos": photo_list(georeference, photos),
        "products": list(products),
        "skipped": dict(skipped),
        "software": run_info.pop("software", {}) | software_versions(),
        "config": run_info.pop("config", None),
        "run": run_info,
    }


def accuracy(georeference: Georeference) -> dict[str, Any]:
    """What is known of the accuracy: one entry a component, with all warnings."""
    components, mappable = [], georeference.mappable_indices()
    folders = {i: site.folder for site in sites_of(georeference) for i in site.components}
    pairs = zip(georeference.components, georeference.placements, strict=True)
    for index, (component, placement) in enumerate(pairs):
        entry = placement.to_dict()
        del entry["residuals"]  # they stand with the photos
        entry["frame"] = georeference.frame_of(index).describe()
        entry["in_products"] = index in mappable
        if georeference.numbers:  # of a part of a project, as its report counts them
            entry["number"] = georeference.number(index)
        if index in folders:
            entry["products_in"] = folders[index]
            entry["distance_m"] = distance_apart_m(georeference, index)
        entry["photos"] = len(component.images)
        entry["sparse_points"] = len(component.points)
        errors = component.points.errors_px
        entry["mean_reprojection_error_px"] = float(np.mean(errors)) if len(errors) else None
        entry["outliers"] = list(placement.outliers)
        components.append(entry)
    tie_m = georeference.frame.map_accuracy_m()
    return {
        "statement": accuracy_line(georeference),
        "check_points": 0,
        "datum_tie_accuracy_m": None if georeference.frame.is_local else tie_m,
        "note": "residuals are model minus GPS: a measure of the GPS, not of the model; "
        "no check points were used",
        "components": components,
        "gaps": [vars(gap) for gap in component_gaps(georeference)],
        "warnings": list(georeference.all_warnings),
    }


def accuracy_line(georeference: Georeference) -> str:
    """How well coordinates are known, in one line of ASCII that goes onto every product.

    Standard deviations are the largest of the components that are in the products.
    """
    frame = georeference.frame
    placements = [georeference.placements[index] for index in georeference.mappable_indices()]
    if frame.is_local or not placements:
        scale = "; scale unknown" if not frame.scale_known else ""
        return f"unknown: not placed on the map{scale}; no check points used"

    def most(name: str) -> float | None:
        values = [getattr(placement, name) for placement in placements]
        return None if None in values else max(values)

    def stated(name: str, unit: str, factor: float = 1.0) -> str:
        value = most(name)
        return _with_unit(None if value is None else factor * value, unit)

    parts = (
        f"position {stated('position_sigma_horizontal_m', 'm')} horizontal",
        f"{stated('position_sigma_vertical_m', 'm')} vertical",
        f"tilt {stated('tilt_sigma_deg', 'deg')}",
        f"heading {stated('heading_sigma_deg', 'deg')}",
        f"scale {stated('scale_sigma', '%', 100)}",
    )
    horizontal, vertical = stated("rmse_horizontal_m", "m"), stated("rmse_vertical_m", "m")
    fit = f"GPS residuals {horizontal} horizontal, {vertical} vertical RMS"
    lags = [p.lag.distance_m for p in placements if p.lag is not None]
    if lags:
        fit += f" after taking off a lag of {', '.join(_with_unit(lag, 'm') for lag in lags)}"
    return f"estimated (1 sigma): {', '.join(parts)}; {fit}; no check points used"


def _with_unit(value: float | None, unit: str) -> str:
    """Two digits: more would claim to know the accuracy itself too well."""
    if value is None:
        return "unknown"
    return f"{value:.0f} {unit}" if abs(value) >= 10 else f"{value:.2g} {unit}"


def photo_list(georeference: Georeference, photos: PhotoSet) -> list[dict[str, Any]]:
    """Every photo and rejected file: id, hash, component, GPS residual, or why it is not used."""
    component_of = {
        image.name: index
        for index, component in enumerate(georeference.components)
        for image in component.images
    }
    residuals = {r.name: vars(r) for p in georeference.placements for r in p.residuals}
    why = {p.name: p for p in georeference.unregistered}
    entries: list[dict[str, Any]] = [
        {
            "id": photo.id,
            "sha256": photo.sha256,
            "width": photo.width,
            "height": photo.height,
            "registered": photo.id in component_of,
            "component": component_of.get(photo.id),
            "gps_residual": residuals.get(photo.id),
            "warnings": list(photo.warnings),
        }
        | ({"unregistered": _without_name(why[photo.id])} if photo.id in why else {})
        for photo in photos.photos
    ]
    entries += [{"id": r.name, "registered": False, "rejected": r.reason} for r in photos.rejected]
    return entries


def _without_name(photo: UnregisteredPhoto) -> dict[str, str]:
    return {key: value for key, value in photo.to_dict().items() if key != "name"}


def coverage_of(surface: SurfaceRaster, frame: GeoFrame) -> dict[str, Any]:
    """How much of the map a surface model covers, by source, each number with its unit.

    Cells and areas are in units of the CRS, which may be feet, or in model units.
    """
    cell, unit = surface.grid.cell_size**2, map_unit(frame)
    counts = np.bincount(surface.source.ravel(), minlength=len(SurfaceSource))
    cells = {s.name.lower(): int(counts[s]) for s in SurfaceSource if s is not SurfaceSource.NONE}
    return {
        "dsm_cell_size": surface.grid.cell_size,
        "dsm_cell_unit": unit,
        **{f"dsm_cells_{name}": count for name, count in cells.items()},
        **{f"area_{name}": count * cell for name, count in cells.items()},
        "area_unit": f"square {unit}",
    }


def software_versions() -> dict[str, str | None]:
    """Versions of Voxterra and of the packages its results depend on; None = not installed."""
    versions: dict[str, str | None] = {"voxterra": VERSION}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    import rasterio

    versions["gdal"] = rasterio.__gdal_version__
    return versions
