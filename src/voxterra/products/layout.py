"""Where the rasters lie: ground sample distance, extent, and cells in the world."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import TriMesh
from voxterra.core.raster import Grid

Float = NDArray[np.float64]
_NICE = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)
_MOST_POINTS = 20_000


@dataclass(frozen=True)
class Lattice:
    """Cells of a raster in the world: `world = base + height * up`, bilinear between nodes.

    Attributes:
        base, up: (R, C, 3) float64 at the nodes.
        step: cells between nodes; the first node is the raster's upper-left outer corner.
    """

    base: Float
    up: Float
    step: int

    def points(self, rows: ArrayLike, columns: ArrayLike, heights: ArrayLike) -> Float:
        """(N, 3) world points at (N,) fractional rows and columns (cell centres at +0.5)."""
        r, c = np.asarray(rows) / self.step, np.asarray(columns) / self.step
        r0 = np.minimum(r.astype(int), self.base.shape[0] - 2)
        c0 = np.minimum(c.astype(int), self.base.shape[1] - 2)
        fr, fc = (r - r0)[:, None], (c - c0)[:, None]

        def at(node: Float) -> Float:
            top = node[r0, c0] * (1 - fc) + node[r0, c0 + 1] * fc
            bottom = node[r0 + 1, c0] * (1 - fc) + node[r0 + 1, c0 + 1] * fc
            return np.asarray(top * (1 - fr) + bottom * fr)

        return at(self.base) + np.asarray(heights)[:, None] * at(self.up)


def lattice(grid: Grid, frame: GeoFrame, height: float, step: int = 64) -> Lattice:
    """Nodes over `grid`, exact at the given map height and 100 m above it."""
    columns = np.arange(0, grid.width + step, step)
    rows = np.arange(0, grid.height + step, step)
    x, y = np.meshgrid(grid.left + columns * grid.cell_size, grid.top - rows * grid.cell_size)
    low = frame.from_map(np.column_stack([x.ravel(), y.ravel(), np.full(x.size, height)]))
    high = frame.from_map(np.column_stack([x.ravel(), y.ravel(), np.full(x.size, height + 100)]))
    up = (high - low) / 100.0
    shape = (len(rows), len(columns), 3)
    return Lattice((low - height * up).reshape(shape), up.reshape(shape), step)


def photo_gsd(mesh: TriMesh, views: Sequence[PinholeView]) -> float:
    """Size of a view's pixel on the surface: median over the views of each view's median.

    Views are the undistorted photos that the run keeps, which a preset may have made smaller than
    the files: no colours finer than theirs can be shown.

    World units; 0 when no view sees the surface.
    """
    used = np.unique(mesh.faces)
    points = mesh.vertices[used[:: max(1, len(used) // _MOST_POINTS)]].astype(np.float64)
    medians = []
    for view in views:
        pixels, depth = view.project(points)
        inside = (depth > 0) & (pixels >= 0).all(1) & (pixels < [view.width, view.height]).all(1)
        if inside.any():
            medians.append(np.median(depth[inside]) / view.K[0, 0])
    return float(np.median(medians)) if medians else 0.0


def look_across(views: Sequence[PinholeView]) -> bool:
    """Whether most photos look less than 30 degrees below the horizon, as at a facade or a room.

    Maps made of them hold what little can be seen from above.
    """
    return bool(views) and float(np.median([v.cam_from_world[2, 2] for v in views])) > -0.5


def nice(size: float) -> float:
    """The nearest round number: one or two digits such as 0.07, 0.12, 0.25."""
    power = 10.0 ** math.floor(math.log10(size))
    factor = min(_NICE, key=lambda f: abs(math.log(f * power / size)))
    return float(f"{factor * power:.3g}")


def choose_grids(xy_on_map: Float, gsd: float, dsm_factor: int, max_px: int) -> tuple[Grid, Grid]:
    """Grids of the surface model and of the orthophoto; both cover the same cells of the map.

    Edges are whole multiples of the surface model's cell size. Far strays do not enlarge the
    area: it ends half an extent outside the middle 98 % of the vertices.

    Args:
        xy_on_map: (V, 2) vertices [CRS units].
        gsd: wanted cell size of the orthophoto [CRS units].
        dsm_factor: orthophoto cells in a surface model cell.
        max_px: most orthophoto cells; where they do not suffice, cells are larger than `gsd`.
    """
    low, high = np.quantile(xy_on_map, [0.01, 0.99], axis=0)
    low, high = low - (high - low) / 2, high + (high - low) / 2
    low = np.maximum(low, xy_on_map.min(axis=0))
    high = np.minimum(high, xy_on_map.max(axis=0))
    size = gsd
    while True:
        cell = size * dsm_factor
        first, last = np.floor(low / cell), np.ceil(high / cell)
        columns, rows = (int(n) for n in np.maximum(last - first, 1))
        if columns * rows * dsm_factor**2 <= max_px or columns * rows == 1:
            break
        size = nice(size * 1.12) if nice(size * 1.12) > size else size * 1.25
    left, top = float(first[0]) * cell, float(first[1] + rows) * cell
    dsm = Grid(round(left, 9), round(top, 9), round(cell, 12), columns, rows)
    ortho = Grid(dsm.left, dsm.top, size, columns * dsm_factor, rows * dsm_factor)
    return dsm, ortho
