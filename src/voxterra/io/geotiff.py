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
_CLASSES = {
    SurfaceSource.MEASURED: ("measured: several photos agree", (0, 158, 115)),
    SurfaceSource.WEAK: ("weak: one other photo agrees", (240, 228, 66)),
    SurfaceSource.COARSE: ("coarse: matched at a coarse size", (230, 159, 0)),
    SurfaceSource.FILLED: ("filled: invented from what lies around", (213, 94, 0)),
}
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
        # Without a unit of its own, GDAL gives the band that of the vertical CRS.
        units=(unit, "class"),
        tags=_tags(frame, accuracy, plane) | {"SOURCE_VALUES": _SOURCES},
    )


def write_dsm_source(
    surface: SurfaceRaster, path: Path, frame: GeoFrame, *, accuracy: str | None = None
) -> Path:
    """The source of every cell as classes: one uint8 band with a colour table; nodata 0.

    GeoTIFF holds no names of classes: they stand, with how many cells each has, in GDAL's file
    PATH.aux.xml beside it, as categories and as a raster attribute table.

    Returns:
        Path of that file.

    Raises:
        OutputError: a file cannot be written.
    """
    _write(
        path,
        surface.source[None],
        surface.grid,
        _wkt(frame, with_heights=False, plane=None),
        {"compress": "DEFLATE", "RESAMPLING": "NEAREST", "nodata": int(SurfaceSource.NONE)},
        descriptions=("source of the surface model",),
        palette={int(source): color for source, (_, color) in _CLASSES.items()},
        tags=_tags(frame, accuracy, None) | {"SOURCE_VALUES": _SOURCES},
    )
    names = path.with_name(f"{path.name}.aux.xml")
    counts = np.bincount(surface.source.ravel(), minlength=len(SurfaceSource))
    with atomic_path(names) as temporary:
        temporary.write_bytes(_class_names(counts))
    return names


def _class_names(counts: NDArray[np.int64]) -> bytes:
    """GDAL's XML of categories and of a raster attribute table (its PAM format)."""
    from xml.etree import ElementTree as xml

    root = xml.Element("PAMDataset")
    band = xml.SubElement(root, "PAMRasterBand", band="1")
    categories = xml.SubElement(band, "CategoryNames")
    for source in SurfaceSource:
        name = _CLASSES[source][0] if source in _CLASSES else ""
        xml.SubElement(categories, "Category").text = name
    table = xml.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    # Name, type (0 integer, 2 string) and usage, as `GDALRATFieldUsage` counts them.
    columns = (("Value", 0, 5), ("Class", 2, 2), ("Count", 0, 1), ("Red", 0, 6), ("Green", 0, 7),
               ("Blue", 0, 8))  # fmt: skip
    for index, column in enumerate(columns):
        field = xml.SubElement(table, "FieldDefn", index=str(index))
        for tag, value in zip(("Name", "Type", "Usage"), column, strict=True):
            xml.SubElement(field, tag).text = str(value)
    for index, (source, (name, color)) in enumerate(_CLASSES.items()):
        row = xml.SubElement(table, "Row", index=str(index))
        for value in (int(source), name, counts[source], *color):
            xml.SubElement(row, "F").text = str(value)
    xml.indent(root)
    text: bytes = xml.tostring(root, encoding="utf-8")
    return text + b"\n"


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
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # the error below reports it
            dataset = rasterio.open(path)
        with dataset:
            t = dataset.transform
            if t.is_identity:
                raise FormatError(
                    "The raster has no position on the map.",
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
            next_step="Give a GeoTIFF; gdalinfo FILE shows what is wrong with it.",
        ) from error


def read_preview(path: Path, longest: int) -> tuple[NDArray[Any], Grid, float | None] | None:
    """A raster of our own, read small from its overviews; an internal mask becomes the last band.

    Args:
        path: of a product; None is returned when it is not there.
        longest: cells of the longer side, at most.

    Returns:
        (B, H, W) bands, the grid of these larger cells, and the nodata value or None.

    Raises:
        FormatError: it is damaged.
    """
    import rasterio
    from rasterio.enums import MaskFlags
    from rasterio.errors import RasterioError

    if not path.is_file():
        return None
    try:
        with rasterio.open(path) as dataset:
            scale = max(1.0, max(dataset.width, dataset.height) / longest)
            width = max(1, round(dataset.width / scale))
            height = max(1, round(dataset.height / scale))
            bands = dataset.read(out_shape=(dataset.count, height, width))
            # An orthophoto as JPEG has this in place of alpha.
            if dataset.mask_flag_enums[0] == [MaskFlags.per_dataset]:
                mask = dataset.dataset_mask(out_shape=(height, width))
                bands = np.concatenate([bands, mask[None]])
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
    # GeoTIFF has no unknown unit: readers take lengths as metres with any CRS.
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
    palette: dict[int, tuple[int, int, int]] | None = None,
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
                if palette:
                    dataset.write_colormap(1, palette)
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
    """Read a new file completely: GDAL reports no full disk when it closes a file.

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
                    raise OSError("its content is not what was written")
