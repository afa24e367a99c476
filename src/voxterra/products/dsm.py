"""Digital surface model: the highest surface over every cell of the map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxterra.core.raster import Grid, SurfaceRaster
from voxterra.core.surface_source import SurfaceSource
from voxterra.kernels.raster.zbuffer import rasterize_height
from voxterra.products.gaps import fill_gaps

Float = NDArray[np.float64]

LEVEL_M = 0.3
"""What still counts as one level of the ground around a gap [m]."""


def height_raster(
    vertices_on_map: Float, faces: NDArray[np.int32], grid: Grid
) -> NDArray[np.float32]:
    """(H, W) float32 heights at the cell centres, NaN where there is no surface.

    Args:
        vertices_on_map: (V, 3) easting, northing [CRS units], height [m].
        faces: (F, 3).
        grid: of the raster.
    """
    return _from_above(vertices_on_map, faces, grid)[0]


def _from_above(
    vertices_on_map: Float, faces: NDArray[np.int32], grid: Grid
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    cells = np.column_stack(
        [
            (vertices_on_map[:, 0] - grid.left) / grid.cell_size,
            (grid.top - vertices_on_map[:, 1]) / grid.cell_size,
        ]
    )
    return rasterize_height(cells, vertices_on_map[:, 2], faces, grid.width, grid.height)


def surface_raster(
    vertices_on_map: Float,
    faces: NDArray[np.int32],
    grid: Grid,
    gap_cells: float,
    *,
    face_source: NDArray[np.uint8] | None = None,
    map_unit_m: float = 1.0,
    level: float = LEVEL_M,
) -> SurfaceRaster:
    """The surface model of a mesh, with gaps filled and every cell's source.

    Args:
        vertices_on_map: (V, 3) easting, northing [CRS units], height [m].
        faces: (F, 3).
        grid: of the raster.
        gap_cells: widest gap that is filled [cells].
        face_source: (F,) `SurfaceSource` of the faces; None: all are measured.
        map_unit_m: metres in a horizontal unit of the CRS.
        level: differences that do not make a step [m].
    """
    known, face = _from_above(vertices_on_map, faces, grid)
    source = np.full(known.shape, SurfaceSource.NONE, np.uint8)
    seen = face >= 0
    source[seen] = SurfaceSource.MEASURED if face_source is None else face_source[face[seen]]
    del face
    heights = fill_gaps(known, gap_cells, grid.cell_size * map_unit_m, level)
    source[np.isfinite(heights) & ~seen] = SurfaceSource.FILLED
    return SurfaceRaster(grid, heights, source)


def resample_heights(surface: SurfaceRaster, factor: int) -> NDArray[np.float32]:
    """Heights on a grid `factor` times finer, each cell with the height of the one it lies in."""
    return np.repeat(np.repeat(surface.heights_m, factor, axis=0), factor, axis=1)
