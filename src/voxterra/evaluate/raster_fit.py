"""A DSM laid on a reference by its own shape, where frames differ by more than one offset."""

from __future__ import annotations

import numpy as np

from voxterra.core.mesh import TriMesh
from voxterra.core.raster import SurfaceRaster
from voxterra.core.surface_source import SurfaceSource
from voxterra.core.transforms import Similarity
from voxterra.errors import InputError
from voxterra.evaluate.raster import Float, dsm_surface, median_dsm, move_to_crs
from voxterra.evaluate.surface import refine_on_surface
from voxterra.io.truth.raster import TruthRaster, grid_points
from voxterra.io.truth.surface import TruthSurface
from voxterra.kernels.mesh.closest import build_triangle_tree

_POINTS = 20_000


def fitted_dsm(dsm: SurfaceRaster, crs: str, truth: TruthRaster) -> tuple[Float, Similarity]:
    """Medians of a DSM's cells on the truth's grid, after the similarity that fits it best.

    The fit (`refine_on_surface`) starts from one vertical offset, and takes out shift, turn, tilt
    and scale: what is left is the difference in shape.

    Returns:
        heights (H, W) [m], NaN where there is none, and the similarity about the grid's centre.

    Raises:
        InputError: no cell in common to start from.
    """
    offset = np.nanmedian(_difference(dsm, crs, truth))
    x, y = truth.grid.cell_centers()
    center = np.array([x.mean(), y.mean(), np.nanmedian(truth.heights_m)])
    everywhere = np.full(truth.heights_m.shape, SurfaceSource.MEASURED, np.uint8)
    known = np.where(truth.scored, truth.heights_m, np.nan).astype(np.float32)
    vertices, faces, _ = dsm_surface(SurfaceRaster(truth.grid, known, everywhere))
    if not len(faces):
        raise InputError(
            "The reference has no two neighbouring cells to fit a surface to.",
            next_step="Give a denser reference, or a larger --cell-size.",
        )
    mesh = TriMesh((vertices - center).astype(np.float32), faces)
    points = move_to_crs(dsm_surface(dsm)[0], crs, truth.crs) - center
    start = Similarity(1.0, np.eye(3), np.array([0.0, 0.0, -offset]))
    transform = refine_on_surface(
        points[:: max(len(points) // _POINTS, 1)],
        TruthSurface(mesh, np.ones(len(faces), bool)),
        build_triangle_tree(mesh.vertices, mesh.faces),
        start,
    )
    return grid_points(transform.apply(points) + center, truth.grid), transform


def _difference(dsm: SurfaceRaster, crs: str, truth: TruthRaster) -> Float:
    difference = np.where(truth.scored, median_dsm(dsm, crs, truth) - truth.heights_m, np.nan)
    if not np.isfinite(difference).any():
        raise InputError(
            "Result and truth have no cell in common.",
            next_step="Check that both cover the same place.",
        )
    return difference
