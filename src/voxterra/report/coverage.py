"""How many photos see each place, and how much of each photo has a depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.depth import DepthMap, DepthMaps
from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import TriMesh
from voxterra.core.progress import Progress, no_progress
from voxterra.core.raster import Grid
from voxterra.core.surface_source import SurfaceSource
from voxterra.kernels.raster.zbuffer import rasterize_height

Float = NDArray[np.float64]

_CELLS = 360  # of the longer side: finer than what a page shows is not needed
_BEHIND = 1.03  # of a pixel's depth: what lies farther is hidden by what the pixel shows


@dataclass(frozen=True)
class ViewDepth:
    """Depth of one photo.

    Attributes:
        name: of the photo.
        known: share of its pixels with a depth, in [0, 1].
        confidence: mean over these, in [0, 1].
        median_depth: [world units]; 0 when nothing is known.
        pixel: size of a pixel of the photo as delivered, at the median depth [world units].
        measured: share of its pixels whose depth several photos agree on, in [0, 1].
    """

    name: str
    known: float
    confidence: float
    median_depth: float
    pixel: float
    measured: float


@dataclass(frozen=True)
class SeenFromAbove:
    """The surface from above, and how many photos show it.

    Attributes:
        grid: on the map.
        heights: (H, W) float32 [m or model units], NaN where there is no surface.
        counts: (H, W) int32 photos that show the place, 0 too where there is no surface.
    """

    grid: Grid
    heights: NDArray[np.float32]
    counts: NDArray[np.int32]

    def share(self, least: int, most: int | None = None) -> float:
        """Share of the surface's cells that `least` to `most` photos show."""
        seen = self.counts[np.isfinite(self.heights)]
        if not seen.size:
            return 0.0
        chosen = seen >= least
        return float((chosen if most is None else chosen & (seen <= most)).mean())


@dataclass(frozen=True)
class Coverage:
    """What photos show of the surface, and depth of it.

    Attributes:
        above: the surface from above; None where there is no mesh.
        views: one a photo with depth.
    """

    above: SeenFromAbove | None
    views: tuple[ViewDepth, ...]


def survey(
    mesh: TriMesh | None, maps: DepthMaps, frame: GeoFrame, *, progress: Progress = no_progress
) -> Coverage:
    """Read all depth maps once.

    A photo shows a place when it lies inside its frame and not behind a surface that the photo's
    depth map knows; where the depth map knows nothing, nothing is known to hide it.

    Args:
        mesh: in world; None where there is none.
        maps: depth maps.
        frame: of the map.
        progress: called per photo.
    """
    above = None if mesh is None else _from_above(mesh, frame)
    known = np.zeros((0, 0), np.bool_) if above is None else np.isfinite(above.heights)
    places = np.zeros((0, 3))
    if above is not None:
        x, y = np.meshgrid(*above.grid.cell_centers())
        places = frame.from_map(np.column_stack([x[known], y[known], above.heights[known]]))
    seen = np.zeros(len(places), np.int32)
    views = []
    for index in range(len(maps.views)):
        progress(index / len(maps.views), f"coverage {index + 1}/{len(maps.views)} photos")
        depth = maps.load(index)
        seen += _shows(depth, places)
        views.append(_of_view(depth))
    if above is not None:
        above.counts[known] = seen
    return Coverage(above, tuple(views))


def _from_above(mesh: TriMesh, frame: GeoFrame) -> SeenFromAbove:
    """The surface, with no photo counted yet."""
    on_map = frame.to_map(mesh.vertices.astype(np.float64))
    grid = _grid(on_map[np.unique(mesh.faces)])
    xy = np.column_stack(
        [(on_map[:, 0] - grid.left) / grid.cell_size, (grid.top - on_map[:, 1]) / grid.cell_size]
    )
    heights, _ = rasterize_height(xy, on_map[:, 2], mesh.faces, grid.width, grid.height)
    return SeenFromAbove(grid, heights, np.zeros(heights.shape, np.int32))


def _grid(on_map: Float) -> Grid:
    """Cells over the surface, without far strays."""
    low, high = np.quantile(on_map[:, :2], [0.005, 0.995], axis=0)
    margin = 0.05 * (high - low)
    low = np.maximum(low - margin, on_map[:, :2].min(axis=0))
    high = np.minimum(high + margin, on_map[:, :2].max(axis=0))
    cell = float((high - low).max()) / _CELLS or 1.0
    width, height = (max(1, int(n)) for n in np.ceil((high - low) / cell - 1e-9))
    return Grid(float(low[0]), float(low[1]) + height * cell, cell, width, height)


def _shows(depth: DepthMap, places: Float) -> NDArray[np.bool_]:
    """(N,) whether a photo shows each place (N, 3) in world."""
    pixels, z = depth.view.project(places)
    inside = (z > 0) & (pixels >= 0).all(1)
    inside &= (pixels < [depth.view.width, depth.view.height]).all(1)
    columns, rows = pixels[inside].astype(np.int64).T
    at = depth.depth[rows, columns]
    inside[inside] = (at == 0) | (z[inside] <= _BEHIND * at)
    return inside


def _of_view(depth: DepthMap) -> ViewDepth:
    known = depth.depth > 0
    share = float(known.mean())
    if not known.any():
        return ViewDepth(depth.view.name, 0.0, 0.0, 0.0, 0.0, 0.0)
    median = float(np.median(depth.depth[known]))
    # The photo as delivered is that much finer than the depth map.
    finer = depth.view.camera.width / depth.view.width
    pixel = median / (float(depth.view.K[0, 0]) * finer)
    confidence = float(depth.confidence[known].mean())
    measured = float((depth.support == SurfaceSource.MEASURED).mean())
    return ViewDepth(depth.view.name, share, confidence, median, pixel, measured)
