"""True heights on a grid: a DSM with its mask, or a reference point cloud turned into one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from voxterra.core.raster import Grid
from voxterra.errors import FormatError, InputError
from voxterra.io.geotiff import read_raster
from voxterra.io.las import read_las


@dataclass(frozen=True)
class TruthRaster:
    """True heights.

    Attributes:
        grid: where they lie.
        heights_m: (H, W) float64, NaN where unknown [m].
        scored: (H, W) bool: cells that count.
        crs: horizontal CRS as text, "" when not stated.
        is_reference: True for a reference that is itself an estimate (a point cloud): its
            vertical offset means nothing.
    """

    grid: Grid
    heights_m: NDArray[np.float64]
    scored: NDArray[np.bool_]
    crs: str = ""
    is_reference: bool = False


def read_truth_raster(
    path: Path, *, min_views: int = 3, cell_size: float | None = None
) -> TruthRaster:
    """A DSM (with `views.tif` beside it when there is one) or a LAS/LAZ point cloud.

    Args:
        path: the file, or a data set's folder that holds `truth/dsm.tif` or
            `reference/model.laz`.
        min_views: cells that fewer photos see are not scored.
        cell_size: of the grid a point cloud is put on; None = twice the spacing of its points.

    Raises:
        InputError: no such file.
        FormatError: not a raster or point cloud.
    """
    path = Path(path)
    candidates = (path, path / "dsm.tif", path / "truth/dsm.tif", path / "reference/model.laz")
    found = next((p for p in candidates if p.is_file()), None)
    if found is None:
        raise InputError(
            "There is no true raster at this place.",
            where=str(path),
            next_step="Give a DSM as GeoTIFF or a LAS/LAZ point cloud.",
        )
    if found.suffix.lower() in (".las", ".laz"):
        return _from_cloud(found, cell_size)
    heights, grid, crs = read_heights(found)
    scored = np.isfinite(heights)
    views = found.with_name("views.tif")
    if views.is_file():
        count, views_grid, _ = read_heights(views)
        if views_grid != grid:
            raise FormatError(
                "views.tif is on another grid than the DSM.",
                where=str(views),
                next_step="Warp it to the grid of the DSM, or move it away to score all cells.",
            )
        scored &= count >= min_views
    return TruthRaster(grid, heights, scored, crs)


def grid_points(xyz: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """(H, W) median height of the points (N, 3) in every cell; NaN where there is none."""
    col = np.floor((xyz[:, 0] - grid.left) / grid.cell_size).astype(np.int64)
    row = np.floor((grid.top - xyz[:, 1]) / grid.cell_size).astype(np.int64)
    inside = (col >= 0) & (col < grid.width) & (row >= 0) & (row < grid.height)
    cell, z = (row * grid.width + col)[inside], xyz[inside, 2]
    order = np.lexsort((z, cell))
    cell, z = cell[order], z[order]
    cells, start, count = np.unique(cell, return_index=True, return_counts=True)
    out = np.full(grid.width * grid.height, np.nan)
    out[cells] = 0.5 * (z[start + (count - 1) // 2] + z[start + count // 2])
    return out.reshape(grid.height, grid.width)


def read_heights(path: Path) -> tuple[NDArray[np.float64], Grid, str]:
    """First band (H, W) of a raster with NaN for nodata, its grid, and its horizontal CRS.

    Raises:
        FormatError: not a north-up raster of square cells.
    """
    bands, grid, wkt, nodata = read_raster(path)
    values = bands[0].astype(np.float64)
    if nodata is not None:
        values[bands[0] == nodata] = np.nan
    return values, grid, _horizontal(CRS.from_wkt(wkt) if wkt else None)


def _from_cloud(path: Path, cell_size: float | None) -> TruthRaster:
    cloud, crs = read_las(path)
    xyz = np.asarray(cloud.positions_in_world, np.float64)
    if not len(xyz):
        raise FormatError(
            "The point cloud is empty.",
            where=str(path),
            next_step="Give a point cloud with points in it.",
        )
    low, high = xyz[:, :2].min(axis=0), xyz[:, :2].max(axis=0)
    if cell_size is None:
        spacing = float(np.sqrt(np.prod(high - low) / len(xyz)))
        cell_size = max(round(2.0 * spacing, 2), 0.01)
    width, height = (np.ceil((high - low) / cell_size).astype(int) + 1).tolist()
    grid = Grid(float(low[0]), float(high[1]), cell_size, width, height)
    heights = grid_points(xyz, grid)
    return TruthRaster(grid, heights, np.isfinite(heights), _horizontal(crs), is_reference=True)


def _horizontal(crs: CRS | None) -> str:
    """EPSG code of the map part of a CRS where it has one, else its WKT; "" without a CRS."""
    if crs is None:
        return ""
    if crs.is_compound:
        crs = crs.sub_crs_list[0]
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())
