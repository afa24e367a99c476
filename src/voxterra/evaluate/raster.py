"""A surface raster against a true raster or a reference point cloud.

A result is scored on the grid of the truth. When the two worlds differ by more than an offset
(`--align cameras`), rasters cannot be subtracted: the surface is moved in 3D and drawn again on the
truth's grid, seen from above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import TriMesh
from voxterra.core.raster import Grid, SurfaceRaster
from voxterra.core.surface_source import SurfaceSource
from voxterra.core.transforms import Similarity
from voxterra.errors import InputError
from voxterra.evaluate.statistics import nmad
from voxterra.io.truth.raster import TruthRaster, grid_points
from voxterra.kernels.raster.zbuffer import rasterize_height

Float = NDArray[np.float64]


@dataclass(frozen=True)
class RasterScore:
    """Heights of a result minus true heights, on the truth's grid.

    Attributes:
        align: how the result was aligned with the truth.
        grid: of the truth.
        difference_m: (H, W) result minus truth [m], NaN where either is unknown.
        scored: (H, W) bool: cells that count.
        source: (H, W) uint8 `SurfaceSource` of what a cell's value rests on, or None.
        removed_offset_m: subtracted from all differences; 0 if nothing was removed [m].
    """

    align: str
    grid: Grid
    difference_m: Float
    scored: NDArray[np.bool_]
    source: NDArray[np.uint8] | None = None
    removed_offset_m: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready figures over the scored cells; "measured" means 1 measured or 2 weak."""
        known = self.scored & np.isfinite(self.difference_m)
        d = self.difference_m[known]
        cells = int(self.scored.sum())
        out: dict[str, Any] = {
            "what": "raster",
            "align": self.align,
            "cell_size": self.grid.cell_size,
            "scored_cells": cells,
            "filled": len(d) / max(cells, 1),
            "removed_offset_m": self.removed_offset_m,
        }
        if self.source is not None:
            source = self.source[known]
            photos_agree = np.isin(source, (SurfaceSource.MEASURED, SurfaceSource.WEAK))
            out["measured"] = float(photos_agree.sum() / max(cells, 1))
            out["by_source"] = {
                s.name.lower(): _figures_of(d[source == s], cells)
                for s in SurfaceSource
                if s is not SurfaceSource.NONE
            }
        if len(d):
            absolute = np.abs(d)
            out |= {
                "median_m": float(np.median(d)),
                "nmad_m": nmad(d),
                "median_abs_m": float(np.median(absolute)),
                "mean_abs_m": float(absolute.mean()),
                "rmse_m": float(np.sqrt((d**2).mean())),
                "abs_p68_m": float(np.percentile(absolute, 68)),
                "abs_p90_m": float(np.percentile(absolute, 90)),
                "abs_p95_m": float(np.percentile(absolute, 95)),
            }
        return out


def _figures_of(d: Float, cells: int) -> dict[str, Any]:
    """Figures of the cells of one source: their share of all `cells`, and their differences."""
    out: dict[str, Any] = {"share": len(d) / max(cells, 1)}
    if len(d):
        out |= {
            "median_m": float(np.median(d)),
            "nmad_m": nmad(d),
            "rmse_m": float(np.sqrt((d**2).mean())),
            "abs_p90_m": float(np.percentile(np.abs(d), 90)),
        }
    return out


def score_heights(
    heights_m: NDArray[np.floating],
    truth: TruthRaster,
    *,
    align: str = "none",
    source: NDArray[np.uint8] | None = None,
    remove_offset: bool = False,
) -> RasterScore:
    """Score heights (H, W) that are already on the truth's grid; NaN = unknown.

    Raises:
        ValueError: the shape is not the truth's.
        InputError: not one cell to score.
    """
    if heights_m.shape != truth.heights_m.shape:
        raise ValueError(f"{heights_m.shape} cells are not on a grid of {truth.heights_m.shape}")
    scored = truth.scored & np.isfinite(truth.heights_m)
    difference = np.where(scored, heights_m.astype(np.float64) - truth.heights_m, np.nan)
    if not np.isfinite(difference).any():
        raise InputError(
            "Result and truth have no cell in common.",
            next_step="Check that both cover the same place, or give --align cameras.",
        )
    offset = float(np.nanmedian(difference)) if remove_offset else 0.0
    return RasterScore(align, truth.grid, difference - offset, scored, source, offset)


def drape(
    mesh: TriMesh | tuple[Float, NDArray[np.int32]],
    truth_from_world: Similarity,
    truth_frame: GeoFrame,
    grid: Grid,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Highest surface of a mesh over every cell centre of a grid on the truth's map.

    Args:
        mesh: in the world of the result; a mesh or its (vertices, faces).
        truth_from_world: into the world of the truth.
        truth_frame: of the truth's world on the map of `grid`.
        grid: cells to draw.

    Returns:
        heights (H, W) float32 [m], NaN without surface; face index (H, W) int32, -1 there.
    """
    vertices, faces = (mesh.vertices, mesh.faces) if isinstance(mesh, TriMesh) else mesh
    in_truth = truth_from_world.apply(np.asarray(vertices, np.float64))
    on_map = truth_frame.to_map(in_truth)
    return _draw(on_map, faces, grid)


def dsm_surface(dsm: SurfaceRaster) -> tuple[Float, NDArray[np.int32], NDArray[np.uint8]]:
    """The surface of a DSM as triangles between the centres of neighbouring known cells.

    Returns:
        vertices (V, 3) on the DSM's map, faces (F, 3), and (F,) uint8: the weakest of the sources
        of their corners.
    """
    known = np.isfinite(dsm.heights_m)
    index = np.full(known.shape, -1, np.int32)
    index[known] = np.arange(known.sum(), dtype=np.int32)
    x, y = dsm.grid.cell_centers()
    rows, cols = np.nonzero(known)
    vertices = np.column_stack([x[cols], y[rows], dsm.heights_m[known].astype(np.float64)])
    a, b = index[:-1, :-1], index[:-1, 1:]
    c, d = index[1:, :-1], index[1:, 1:]
    halves = []
    for corners in ((a, c, b), (b, c, d)):
        faces = np.stack(corners, axis=-1).reshape(-1, 3)
        halves.append(faces[(faces >= 0).all(axis=1)])
    faces = np.vstack(halves)
    return vertices, faces, dsm.source[known][faces].max(axis=1, initial=SurfaceSource.NONE)


def redraw_dsm(
    dsm: SurfaceRaster,
    frame: GeoFrame,
    truth_from_world: Similarity,
    truth_frame: GeoFrame,
    grid: Grid,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A DSM moved in 3D with its world and drawn on the truth's grid.

    Returns:
        heights (H, W) float32 [m], NaN unknown, and (H, W) uint8 their sources.
    """
    vertices, faces, source = dsm_surface(dsm)
    world = frame.from_map(vertices)
    heights, face = drape((world, faces), truth_from_world, truth_frame, grid)
    return heights, _of_faces(source, face)


def median_dsm(dsm: SurfaceRaster, crs: str, truth: TruthRaster) -> NDArray[np.float64]:
    """(H, W) median of the DSM's cells in every cell of the truth [m], NaN where there is none.

    For a reference made the same way from the points of a cloud: like is compared with like.
    """
    vertices = move_to_crs(dsm_surface(dsm)[0], crs, truth.crs)
    return grid_points(vertices, truth.grid)


def source_of_medians(dsm: SurfaceRaster, crs: str, truth: TruthRaster) -> NDArray[np.uint8]:
    """(H, W) for `median_dsm`: the weakest source of the DSM's cells in every cell of the truth."""
    known, grid = np.isfinite(dsm.heights_m), truth.grid
    points = move_to_crs(dsm_surface(dsm)[0], crs, truth.crs)
    columns = np.floor((points[:, 0] - grid.left) / grid.cell_size).astype(np.int64)
    rows = np.floor((grid.top - points[:, 1]) / grid.cell_size).astype(np.int64)
    inside = (columns >= 0) & (columns < grid.width) & (rows >= 0) & (rows < grid.height)
    out = np.full((grid.height, grid.width), SurfaceSource.NONE, np.uint8)
    np.maximum.at(out, (rows[inside], columns[inside]), dsm.source[known][inside])
    return out


def resample_dsm(
    dsm: SurfaceRaster, crs: str, truth: TruthRaster
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A DSM on the truth's grid, moved horizontally between the two CRSs only.

    Heights are taken as they are: both must be in one vertical datum.

    Returns:
        heights (H, W) float32 [m], NaN unknown, and (H, W) uint8 their sources.
    """
    vertices, faces, source = dsm_surface(dsm)
    heights, face = _draw(move_to_crs(vertices, crs, truth.crs), faces, truth.grid)
    return heights, _of_faces(source, face)


def move_to_crs(points: Float, crs: str, target_crs: str) -> Float:
    """(N, 3) points moved horizontally from one CRS to another; as they are if one is unknown."""
    if not crs or not target_crs or crs == target_crs:
        return points
    to_target = Transformer.from_crs(crs, target_crs, always_xy=True)
    return np.column_stack([*to_target.transform(points[:, 0], points[:, 1]), points[:, 2]])


def _draw(
    on_map: Float, faces: NDArray[np.int32], grid: Grid
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    xy = (on_map[:, :2] - [grid.left, grid.top]) / [grid.cell_size, -grid.cell_size]
    # float32 heights of a few hundred metres are good to 0.03 mm.
    return rasterize_height(xy, on_map[:, 2], faces, grid.width, grid.height)


def _of_faces(source: NDArray[np.uint8], face: NDArray[np.int32]) -> NDArray[np.uint8]:
    out = np.full(face.shape, SurfaceSource.NONE, np.uint8)
    out[face >= 0] = source[face[face >= 0]]
    return out
