"""Rasters on the map: north-up grids in a CRS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Grid:
    """A north-up grid of square cells in a map CRS.

    Attributes:
        left, top: map coordinates of the outer corner of the upper-left cell [CRS units].
        cell_size: edge of a cell [CRS units].
        width, height: number of columns and rows.
    """

    left: float
    top: float
    cell_size: float
    width: int
    height: int

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top)."""
        return (
            self.left,
            self.top - self.height * self.cell_size,
            self.left + self.width * self.cell_size,
            self.top,
        )

    def cell_centers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x of the columns (width,) and y of the rows (height,), top row first."""
        x = self.left + (np.arange(self.width, dtype=np.float64) + 0.5) * self.cell_size
        y = self.top - (np.arange(self.height, dtype=np.float64) + 0.5) * self.cell_size
        return x, y


@dataclass(frozen=True)
class SurfaceRaster:
    """A digital surface model.

    Attributes:
        grid: where it lies.
        heights_m: (H, W) float32, NaN where nothing is known [m, in the GeoFrame's vertical datum].
        source: (H, W) uint8 `core.surface_source.SurfaceSource`: the second band of `dsm.tif`.
    """

    grid: Grid
    heights_m: NDArray[np.float32]
    source: NDArray[np.uint8]


@dataclass(frozen=True)
class ColorRaster:
    """An orthophoto: (H, W, 4) uint8 RGBA on a grid, alpha 0 where nothing is known."""

    grid: Grid
    rgba: NDArray[np.uint8]
