"""Digital surface model: the highest surface over every cell of the map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxterra.core.raster import (
    SOURCE_FILLED,
    SOURCE_MEASURED,
    SOURCE_NONE,
    Grid,
    SurfaceRaster,
)
from voxterra.kernels.raster import rasterize_height

Float = NDArray[np.float64]


def height_raster(
    vertices_on_map: Float, faces: NDArray[np.int32], grid: Grid
) -> NDArray[np.float32]:
    """(H, W) float32 heights at the cell centres, NaN where there is no surface.

    Args:
        vertices_on_map: (V, 3) easting, northing [CRS units], height [m].
        faces: (F, 3).
        grid: of the raster.
    """
    cells = np.column_stack(
        [
            (vertices_on_map[:, 0] - grid.left) / grid.cell_size,
            (grid.top - vertices_on_map[:, 1]) / grid.cell_size,
        ]
    )
    heights, _ = rasterize_height(cells, vertices_on_map[:, 2], faces, grid.width, grid.height)
    return heights


def fill_gaps(heights: NDArray[np.float32], gap_cells: float) -> NDArray[np.float32]:
    """Heights with gaps up to `gap_cells` wide filled from around; the outside stays NaN.

    What is filled is the morphological closing of the measured area with a disc. Values come
    from inverse-distance weighting in four directions (GDAL's FillNodata), then smoothing.
    """
    from rasterio.fill import fillnodata

    measured = np.isfinite(heights)
    inside = closing(measured, gap_cells / 2)
    if gap_cells <= 0 or not (inside & ~measured).any():
        return heights
    filled = fillnodata(
        np.where(measured, heights, 0).astype(np.float32),
        measured.astype(np.uint8),
        max_search_distance=float(np.ceil(gap_cells)),
        smoothing_iterations=1,
        nodata=float("nan"),
    )
    out = heights.copy()
    gap = inside & ~measured
    out[gap] = filled[gap]
    return out


def closing(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """`mask` closed with a disc of `radius` cells, by distance transforms: no radius is dear."""
    import cv2

    margin = int(np.ceil(radius)) + 1
    padded = np.pad(mask, margin)
    if not mask.any():
        return mask.copy()
    grown = cv2.distanceTransform((~padded).astype(np.uint8), cv2.DIST_L2, 5) <= radius
    shrunk = cv2.distanceTransform(grown.astype(np.uint8), cv2.DIST_L2, 5) > radius
    closed = shrunk[margin:-margin, margin:-margin]
    return np.asarray(closed | mask)


def surface_raster(
    vertices_on_map: Float, faces: NDArray[np.int32], grid: Grid, gap_cells: float
) -> SurfaceRaster:
    """The surface model of a mesh, with gaps filled and marked.

    Args:
        vertices_on_map: (V, 3) easting, northing [CRS units], height [m].
        faces: (F, 3).
        grid: of the raster.
        gap_cells: widest gap that is filled [cells].
    """
    measured = height_raster(vertices_on_map, faces, grid)
    heights = fill_gaps(measured, gap_cells)
    source = np.full(heights.shape, SOURCE_NONE, np.uint8)
    source[np.isfinite(heights)] = SOURCE_FILLED
    source[np.isfinite(measured)] = SOURCE_MEASURED
    return SurfaceRaster(grid, heights, source)


def resample_heights(surface: SurfaceRaster, factor: int) -> NDArray[np.float32]:
    """Heights on a grid `factor` times finer, each cell with the height of the one it lies in."""
    return np.repeat(np.repeat(surface.heights_m, factor, axis=0), factor, axis=1)
