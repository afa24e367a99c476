"""Sparse voxels to a triangle mesh.

`extract_mesh` marches the leaves themselves, each at its own size, and is closed where leaves of
different size meet (`kernels.voxels.mesh` says how). Nothing is resampled, so there are no more
faces than the voxels hold, and memory goes with the number of voxels at the surface.
`extract_tsdf` fuses the depth that the views render.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.depth import DepthMaps
from voxterra.core.mesh import TriMesh
from voxterra.core.progress import Progress, no_progress
from voxterra.core.voxels import VoxelModel, cell_size, corner_keys, decode_paths
from voxterra.errors import ReconstructionError, UsageError
from voxterra.kernels.voxels.lookup import corner_table, mark_mixed
from voxterra.kernels.voxels.mesh import crossing_points, leaf_lines, mark_coarser
from voxterra.kernels.voxels.polygons import fill_loops, follow_lines, mean_of_leaves
from voxterra.surface.fusion.config import FusionConfig
from voxterra.surface.voxels.mesh.clip import clip_to_box

logger = logging.getLogger(__name__)

Box = tuple[float, float, float, float, float, float]
CornerTable = tuple[NDArray[np.int32], NDArray[np.int64]]


@dataclass(frozen=True)
class _Lines:
    """Lines of the surface on the faces of P leaves, sorted by leaf and begin.

    Attributes:
        start: (P + 1,) int64 first line of each leaf.
        ends: (L, 2) int32 vertices, from and to.
        leaf: (P,) int64 rows of the model.
        edges: (V,) int64 edge of each vertex, corner * 3 + axis.
    """

    start: NDArray[np.int64]
    ends: NDArray[np.int32]
    leaf: NDArray[np.int64]
    edges: NDArray[np.int64]


def extract_mesh(
    model: VoxelModel, *, bounds: Box | None = None, progress: Progress = no_progress
) -> TriMesh:
    """The surface where the signed distance of a model is zero.

    Args:
        model: sparse voxels.
        bounds: world box (x_min, y_min, z_min, x_max, y_max, z_max) to clip to; None: the main
            bound, that is all leaves that lie in it.
        progress: called often.

    Returns:
        Mesh in world with vertex colours (degree 0 of the voxels around a vertex), faces
        counter-clockwise seen from free space. Closed but for where it meets the bound or where
        there are no voxels. The same model gives the same mesh.

    Raises:
        ReconstructionError: no voxel in the bound holds surface.
        UsageError: the bounds are no box.
    """
    chosen = _in_bounds(model, bounds)
    progress(0.0, "finding the voxels at the surface")
    keys = corner_keys(model.path, model.level)
    table = corner_table(keys, _finest(model), model.cube.inside)
    mixed = np.zeros(model.n_voxels, np.uint8)
    mark_mixed(model.path, model.level, keys, table, model.sdf, mixed)
    if not mixed[chosen].any():
        raise _nothing(bounds)
    progress(0.3, f"crossing {int(mixed.sum())} voxels")
    lines = _lines(model, keys, table, mixed, chosen)
    progress(0.6, f"filling {len(lines.leaf)} voxels")
    mesh = _fill(model, keys, table, lines)
    if bounds is not None:
        mesh = clip_to_box(mesh, np.array(bounds[:3]), np.array(bounds[3:]))
    if len(mesh.faces) == 0:
        raise _nothing(bounds)
    logger.info("extracted %d vertices, %d faces", len(mesh.vertices), len(mesh.faces))
    progress(1.0, f"{len(mesh.faces)} faces")
    return mesh


def everywhere(model: VoxelModel) -> Box:
    """World box (x_min, y_min, z_min, x_max, y_max, z_max) that holds all voxels of a model.

    The main bound leaves out what few photos show: the rim of a survey, the corner of a house.
    """
    return box_of(model.cube.bounds)


def box_of(bounds: NDArray[np.float64]) -> Box:
    """(2, 3) lower and upper corner as (x_min, y_min, z_min, x_max, y_max, z_max)."""
    return tuple(bounds.ravel().tolist())  # type: ignore[return-value]


def extract_tsdf(
    maps: DepthMaps,
    config: FusionConfig = FusionConfig(),
    *,
    progress: Progress = no_progress,
) -> TriMesh:
    """The surface that the rendered median depth of the training views agrees on.

    Args:
        maps: such as `surface.voxels.model.depth_maps.RenderedDepthMaps`.
        config: options of the fusion; `bounds_m` clips, and what lies in it gives the size of the
            cells.
        progress: called often.

    Returns:
        Mesh in world with vertex colours, open where no view looks.

    Raises:
        ReconstructionError: the depths hold no surface.
    """
    # Meshing the leaves must not need OpenCV, which the fusion imports.
    from voxterra.surface.fusion.fuse import fuse
    from voxterra.surface.fusion.statistics import depth_statistics

    statistics = depth_statistics(maps, config.bounds_m)
    return fuse(maps, config, statistics=statistics, progress=progress)


def _nothing(bounds: Box | None) -> ReconstructionError:
    if bounds is not None:
        return ReconstructionError(
            "There is no surface of the trained voxels in this box.",
            where=f"bound {' '.join(f'{value:g}' for value in bounds)}",
            next_step="Give another box, in the world of the cameras, or none.",
        )
    return ReconstructionError(
        "The trained voxels hold no surface inside the bound.",
        where="mesh",
        next_step="Train longer, or train in another bound (--bound_mode, --bound_scale).",
    )


def _in_bounds(model: VoxelModel, bounds: Box | None) -> NDArray[np.bool_]:
    """(N,) leaves inside of the main bound, or touching the given one."""
    low = model.lower
    high = low + model.edge[:, None].astype(np.float64)
    if bounds is None:
        # Half of a cell of the lattice is more than any rounding.
        inside = model.cube.main_bounds + np.array([[-0.5], [0.5]]) * model.cube.unit
        return np.asarray(((low > inside[0]) & (high < inside[1])).all(1))
    box = np.array(bounds, np.float64).reshape(2, 3)
    if not (np.isfinite(box).all() and (box[0] < box[1]).all()):
        raise UsageError(
            f"The bounds {bounds} are no box.",
            where="bounds",
            next_step="Give x_min y_min z_min x_max y_max z_max, each minimum below its maximum.",
        )
    return np.asarray(((high >= box[0]) & (low <= box[1])).all(1))


def _finest(model: VoxelModel) -> int:
    """Edge of the finest leaf on the lattice."""
    return int(cell_size(model.level.max(initial=0)))


def _lines(
    model: VoxelModel,
    keys: NDArray[np.int64],
    table: CornerTable,
    mixed: NDArray[np.uint8],
    chosen: NDArray[np.bool_],
) -> _Lines:
    touched = mixed.copy()
    mark_coarser(model.path, model.level, np.flatnonzero(mixed), touched)
    rows = np.flatnonzero(touched)
    count, none = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    given = (model.path, model.level, keys, table, model.sdf, rows, chosen)
    leaf, edge = np.empty(0, np.int32), np.empty((0, 2), np.int64)
    leaf_lines(*given, none, leaf, edge, count)
    start = np.cumsum(count) - count
    leaf, edge = np.empty(int(count.sum()), np.int32), np.empty((int(count.sum()), 2), np.int64)
    leaf_lines(*given, start, leaf, edge, count)
    used = np.zeros(3 * len(keys), np.bool_)
    used[edge[:, 0]] = True
    used[edge[:, 1]] = True
    number = np.cumsum(used, dtype=np.int32) - np.int32(1)
    ends = np.column_stack([number[edge[:, 0]], number[edge[:, 1]]])
    del edge, number
    order = np.argsort((leaf.astype(np.int64) << 32) | ends[:, 0])
    ends, leaf = ends[order], leaf[order]
    first = np.flatnonzero(np.diff(leaf, prepend=-1))
    return _Lines(
        np.append(first, len(leaf)), ends, leaf[first].astype(np.int64), np.flatnonzero(used)
    )


def _fill(model: VoxelModel, keys: NDArray[np.int64], table: CornerTable, lines: _Lines) -> TriMesh:
    n_lines, n_leaves, n_vertices = len(lines.ends), len(lines.leaf), len(lines.edges)
    lattice = np.empty((n_vertices, 3), np.int64)
    points = np.empty((n_vertices, 3), np.float32)
    crossing_points(
        lines.edges, keys, table, model.sdf, _finest(model),
        np.array(model.cube.origin), model.cube.unit, lattice, points,
    )  # fmt: skip
    following, led = np.empty(n_lines, np.int64), np.zeros(n_lines, np.uint8)
    follow_lines(lines.start, lines.ends, following, led)
    low, size = decode_paths(model.path[lines.leaf]), cell_size(model.level[lines.leaf])
    given = (lines.start, lines.ends, following, led)
    shape = (low, size, points, lattice, lines.edges % 3)
    n_faces, n_centers = np.zeros(n_leaves, np.int64), np.zeros(n_leaves, np.int64)
    faces, centers = np.empty((0, 3), np.int32), np.empty((0, 3), np.float32)
    center_leaf = np.empty(0, np.int64)
    none = np.zeros(n_leaves, np.int64)
    seen = np.zeros(n_lines, np.uint8)
    fill_loops(*given, seen, *shape, none, none, faces, centers, center_leaf, n_faces, n_centers)
    faces = np.empty((int(n_faces.sum()), 3), np.int32)
    centers = np.empty((int(n_centers.sum()), 3), np.float32)
    center_leaf = np.empty(len(centers), np.int64)
    starts = np.cumsum(n_faces) - n_faces, np.cumsum(n_centers) - n_centers
    seen[:] = 0
    fill_loops(*given, seen, *shape, *starts, faces, centers, center_leaf, n_faces, n_centers)
    colors = _colors(model, lines, center_leaf)
    return _compacted(np.concatenate([points, centers]), faces, colors)


def _colors(model: VoxelModel, lines: _Lines, center_leaf: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(V + C, 3) mean base colour of the leaves around each vertex, and of those added."""
    of_leaf = model.base_color[lines.leaf]
    total = np.zeros((len(lines.edges), 3), np.float32)
    weight = np.zeros(len(lines.edges), np.float32)
    line_leaf = np.repeat(np.arange(len(lines.leaf)), np.diff(lines.start))
    mean_of_leaves(lines.ends, line_leaf, of_leaf, total, weight)
    total /= np.maximum(weight, 1)[:, None]
    return np.asarray(np.rint(np.concatenate([total, of_leaf[center_leaf]]) * 255), np.uint8)


def _compacted(
    vertices: NDArray[np.float32], faces: NDArray[np.int32], colors: NDArray[np.uint8]
) -> TriMesh:
    """Without vertices that no face uses: loops of two lines enclose nothing."""
    used = np.zeros(len(vertices), np.bool_)
    used[faces] = True
    number = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return TriMesh(vertices[used], number[faces], colors[used])
