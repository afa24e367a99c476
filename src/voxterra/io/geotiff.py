"""Cloud-optimised GeoTIFF: surface models and orthophotos; reading of any raster GDAL opens.

Format: OGC 21-026, "Cloud Optimized GeoTIFF Standard"; written by GDAL's COG driver.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.geo import GeoFrame, projected_crs
from voxterra.core.raster import ColorRaster, Grid, SurfaceRaster
from voxterra.core.surface_source import SurfaceSource
from voxterra.core.vertical_plane import VerticalPlane
from voxterra.errors import FormatError
from voxterra.io.files.atomic import atomic_path
from voxterra.io.metadata import SCALE_UNKNOWN, vertical_datum

NODATA = -9999.0
_SOURCES = ", ".join(f"{source:d} {source.name.lower()}" for source in SurfaceSource)
# GeoTIFF keeps its name and unit; readers name the axes as they like.
_PLANE_WKT = (
    'ENGCRS["Voxterra vertical plane",EDATUM["vertical plane"],CS[Cartesian,2],'
    'AXIS["x",unspecified,ORDER[1]],AXIS["y",up,ORDER[2]],LENGTHUNIT["metre",1]]'
)
_COG = {"driver": "COG", "BLOCKSIZE": "512", "BIGTIFF": "IF_SAFER", "NUM_THREADS": "ALL_CPUS"}


def write_dsm(
    surface: SurfaceRaster,
    path: Path,
    frame: GeoFrame,
    *,
    accuracy: str | None = None,
    plane: VerticalPlane | None = None,
) -> None:
    """Two float32 bands: height, and source (`core.surface_source`); nodata -9999.

    Args:
        surface: heights; on a plane, distances in front of it.
        path: of the file.
        frame: of the world.
        accuracy: a line that says how well coordinates are known; it becomes the tag ACCURACY.
        plane: what the grid lies on; None: the map.

    Raises:
        OutputError: the file cannot be written.
    """
    heights = np.where(np.isnan(surface.heights_m), NODATA, surface.heights_m)
    bands = np.stack([heights.astype(np.float32), surface.source.astype(np.float32)])
    unit = "metre" if frame.scale_known else frame.unit
    options = {"compress": "DEFLATE", "PREDICTOR": "YES", "RESAMPLING": "NEAREST"}
    _write(
        path,
        bands,
        surface.grid,
        _wkt(frame, with_heights=True, plane=plane),
        options | {"nodata": NODATA},
        descriptions=(
            f"height, {vertical_datum(frame)}" if plane is None else "distance before the plane",
            f"source: {_SOURCES}",
        ),
        units=(unit, ""),
        tags=_tags(frame, accuracy, plane) | {"SOURCE_VALUES": _SOURCES},
    )


def write_ortho(
    ortho: ColorRaster,
    path: Path,
    frame: GeoFrame,
    *,
    compression: str = "deflate",
    quality: int = 90,
    accuracy: str | None = None,
    plane: VerticalPlane | None = None,
) -> None:
    """Red, green, blue, alpha.

    Args:
        ortho: the image.
        path: of the file.
        frame: of the world.
        compression: "deflate" (no loss), "webp", or "jpeg" (alpha becomes an internal mask).
        quality: of "webp" and "jpeg", 1..100.
        accuracy: a line that says how well coordinates are known; it becomes the tag ACCURACY.
        plane: what the grid lies on; None: the map.

    Raises:
        OutputError: the file cannot be written.
    """
    from rasterio.enums import ColorInterp

    options: dict[str, Any] = {"compress": compression.upper(), "RESAMPLING": "AVERAGE"}
    if compression == "deflate":
        options["PREDICTOR"] = "YES"
    else:
        options["QUALITY"] = str(quality)
    _write(
        path,
        np.moveaxis(ortho.rgba, 2, 0),
        ortho.grid,
        _wkt(frame, with_heights=False, plane=plane),
        options,
        colors=(ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha),
        tags=_tags(frame, accuracy, plane),
    )


def read_raster(path: Path) -> tuple[NDArray[Any], Grid, str | None, float | None]:
    """Any north-up raster of square cells.

    Returns:
        (B, H, W) bands in the file's type, the grid, the CRS as WKT or None, and the nodata value
        or None.

    Raises:
        FormatError: not a raster, rotated, or with cells that are not square.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # the error below says it
            dataset = rasterio.open(path)
        with dataset:
            t = dataset.transform
            if t.is_identity:
                raise FormatError(
                    "The raster does not say where it lies.",
                    where=str(path),
                    next_step="Give a GeoTIFF with a geotransform, such as products/dsm.tif.",
                )
            if t.b or t.d or abs(t.a + t.e) > 1e-6 * abs(t.a) or t.a <= 0:
                raise FormatError(
                    "The raster is not north-up with square cells.",
                    where=str(path),
                    next_step="Warp it first, for instance with gdalwarp -tr.",
                )
            grid = Grid(t.c, t.f, t.a, dataset.width, dataset.height)
            wkt = dataset.crs.to_wkt() if dataset.crs else None
            return dataset.read(), grid, wkt, dataset.nodata
    except RasterioError as error:
        raise FormatError(
            f"This is not a readable raster: {error}.",
            where=str(path),
            next_step="Give a GeoTIFF; gdalinfo FILE says what is wrong with it.",
        ) from error


def read_preview(path: Path, longest: int) -> tuple[NDArray[Any], Grid, float | None] | None:
    """A raster of our own, read small from its overviews.

    Args:
        path: of a product; None is returned when it is not there.
        longest: cells of the longer side, at most.

    Returns:
        (B, H, W) bands, the grid of these larger cells, and the nodata value or None.

    Raises:
        FormatError: it is damaged.
    """
    import rasterio
    from rasterio.errors import RasterioError

    if not path.is_file():
        return None
    try:
        with rasterio.open(path) as dataset:
            scale = max(1.0, max(dataset.width, dataset.height) / longest)
            width = max(1, round(dataset.width / scale))
            height = max(1, round(dataset.height / scale))
            bands = dataset.read(out_shape=(dataset.count, height, width))
            t = dataset.transform
            cell = t.a * dataset.width / width
            return bands, Grid(t.c, t.f, cell, width, height), dataset.nodata
    except RasterioError as error:
        raise FormatError(
            f"A raster of the run is damaged: {error}.",
            where=str(path),
            next_step="Write the products again: voxterra products RUN.",
        ) from error


def _wkt(frame: GeoFrame, *, with_heights: bool, plane: VerticalPlane | None) -> str | None:
    # GeoTIFF has no unknown unit: whatever CRS it holds, readers take its lengths for metres.
    if not frame.scale_known:
        return None
    if plane is not None:
        return _PLANE_WKT
    # GeoTIFF keys cannot hold a 3D projected CRS (GDAL moves it to a sidecar file): ellipsoidal
    # heights are named in the tags and the band's description.
    if frame.is_local or (with_heights and frame.heights == "egm96"):
        return str(frame.product_crs().to_wkt())
    return str(projected_crs(frame.map_crs).to_wkt())


def _tags(frame: GeoFrame, accuracy: str | None, plane: VerticalPlane | None) -> dict[str, str]:
    tags = {
        "AREA_OR_POINT": "Area",
        "TIFFTAG_SOFTWARE": "Voxterra",
        "VOXTERRA_FRAME": frame.describe(),
        "VERTICAL_DATUM": vertical_datum(frame),
    }
    if plane is not None:
        tags["VOXTERRA_FRAME"] = "vertical plane: x to the right, y up, seen from the front"
        tags["VOXTERRA_PLANE"] = json.dumps(plane.to_dict())
    if accuracy is not None:
        tags["ACCURACY"] = accuracy
    if not frame.scale_known:
        tags["SCALE"] = SCALE_UNKNOWN
    return tags


def _write(
    path: Path,
    bands: NDArray[Any],
    grid: Grid,
    wkt: str | None,
    options: dict[str, Any],
    *,
    descriptions: tuple[str, ...] = (),
    units: tuple[str, ...] = (),
    colors: tuple[Any, ...] = (),
    tags: dict[str, str],
) -> None:
    import rasterio
    from rasterio.crs import CRS
    from rasterio.errors import RasterioError
    from rasterio.transform import from_origin

    profile = {
        "count": len(bands),
        "dtype": bands.dtype.name,
        "width": grid.width,
        "height": grid.height,
        "transform": from_origin(grid.left, grid.top, grid.cell_size, grid.cell_size),
        "crs": None if wkt is None else CRS.from_wkt(wkt),
    }
    with atomic_path(path) as temporary:
        try:
            with (
                rasterio.Env(GDAL_PAM_ENABLED="NO"),
                rasterio.open(temporary, "w", **_COG, **profile, **options) as dataset,
            ):
                if colors:
                    dataset.colorinterp = colors
                dataset.write(bands)
                for index, text in enumerate(descriptions, 1):
                    dataset.set_band_description(index, text)
                if units:
                    dataset.units = units
                dataset.update_tags(**tags)
            _read_again(temporary, bands if options["compress"] == "DEFLATE" else None)
        except RasterioError as error:
            raise OSError(str(error)) from error


def _read_again(path: Path, bands: NDArray[Any] | None) -> None:
    """Read a new file through: GDAL says nothing when the disk is full as it closes a file.

    Args:
        path: of the file.
        bands: what must be in it; None where its compression changes values.

    Raises:
        RasterioError, OSError: it is not whole.
    """
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(path) as dataset:
        overviews = len(dataset.overviews(1))
    for level in (None, *range(overviews)):
        with rasterio.open(path, **({} if level is None else {"overview_level": level})) as dataset:
            for top in range(0, dataset.height, 512):
                rows = min(512, dataset.height - top)
                found = dataset.read(window=Window(0, top, dataset.width, rows))
                wanted = None if level is not None or bands is None else bands[:, top : top + rows]
                if wanted is not None and not np.array_equal(found, wanted):
                    raise OSError("what is in it is not what was written")
