"""The first surface from masks alone: the visual hull of the object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from voxterra.core.progress import Progress, no_progress
from voxterra.errors import InputError
from voxterra.kernels.voxels.cpu import carve
from voxterra.kernels.voxels.cpu.splat import silhouette
from voxterra.surface.voxels.octree import Cube
from voxterra.surface.voxels.scene.scene import SceneView
from voxterra.surface.voxels.start.from_depth import Carved, camera_numbers, object_mask

GRID = 160
"""Cells along a side of the hull's grid."""
_BESIDE = 0.03
"""Part of the masks that may have a point beside them, yet it be inside."""
_SEEN = 0.25
"""Part of the masks whose photo must see a point of the hull, two at least."""
_CHUNK = 1 << 20


def hull_nodes(
    views: Sequence[SceneView],
    center: Sequence[float],
    edge: float,
    cells: int,
    progress: Progress = no_progress,
    *,
    seen: float = _SEEN,
) -> NDArray[np.bool_]:
    """(cells + 1,)^3 whether the nodes of a cube's grid lie in the visual hull.

    Args:
        views: with masks; those without, and empty masks, say nothing.
        center, edge: of the cube [world units].
        cells: along a side of the grid.
        seen: part of the masks whose photo must see a node, two at least.
    """
    masks = [(camera_numbers(v.view.resized(m.shape[1], m.shape[0])), m) for v, m in _masks(views)]
    enough = 1 + int(_BESIDE * len(masks))
    least = max(2, int(np.ceil(seen * len(masks))))
    ends = [np.linspace(c - edge / 2, c + edge / 2, cells + 1) for c in center]
    inside = np.zeros((cells + 1,) * 3, bool)
    slab = max(1, _CHUNK // (cells + 1) ** 2)
    for first in range(0, cells + 1, slab):
        progress(first / (cells + 1), "carving by the masks")
        part = slice(first, first + slab)
        mesh = np.meshgrid(ends[0][part], ends[1], ends[2], indexing="ij")
        points = np.stack([m.ravel() for m in mesh], axis=1).astype(np.float32)
        counts = np.zeros((len(points), carve.COUNTS), np.int32)
        for camera, mask in masks:
            silhouette(points, counts, camera, mask, enough)
        kept = (counts[:, carve.BESIDE] < enough) & (counts[:, carve.SEEN] >= least)
        inside[part] = kept.reshape(-1, cells + 1, cells + 1)
    return inside


def hull_field(views: Sequence[SceneView], cube: Cube, progress: Progress = no_progress) -> Carved:
    """Signed distance to the visual hull inside the main bound.

    Raises:
        InputError: the masks agree on nothing inside the main bound.
    """
    cell = cube.inside_edge / GRID
    inside = hull_nodes(views, cube.center, cube.inside_edge, GRID, progress)
    if not inside.any() or inside.all():
        raise InputError(
            "The masks agree on no object inside the bound.",
            where="masks",
            next_step="Check that the masks show the object white, and that the bound holds it.",
        )
    away = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    # Between the last node inside and the first outside lies the surface; the blur takes off the
    # stairs of the grid.
    away = (away - 0.5 * np.sign(away)) * cell
    grid = ndimage.gaussian_filter(away.astype(np.float32), 0.7)
    half = cube.inside_edge / 2
    box = np.array([*cube.center, half], np.float32)

    def field(points: NDArray[np.float32]) -> NDArray[np.float32]:
        points = np.ascontiguousarray(points, np.float32)
        value = np.zeros(len(points), np.float32)
        carve.finish(
            points, np.full(len(points), carve.UNKNOWN, np.uint8), value, grid, box,
            np.float32(cell),
        )  # fmt: skip
        return value

    return Carved(field, cell, 0.0, float((grid < 0).mean()), 0.0)


def _masks(views: Sequence[SceneView]) -> list[tuple[SceneView, NDArray[np.uint8]]]:
    pairs = [(view, object_mask(view)) for view in views]
    return [(view, mask) for view, mask in pairs if mask.size]
