"""Depth maps to one triangle mesh.

A sparse truncated signed distance volume (Curless & Levoy 1996; blocks as in Niessner et al.
2013), integrated and meshed region by region, so that memory is bounded by one region, the
finished mesh and a cache of depth maps. Regions borrow the next layer of blocks from their
neighbours and compute it again, to the same bits; vertices on shared lattice edges are therefore
equal and are welded by the number of their edge.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxterra.core.depth import DepthMaps
from voxterra.core.mesh import TriMesh
from voxterra.core.progress import Progress, no_progress, part
from voxterra.core.surface_source import SurfaceSource
from voxterra.errors import ReconstructionError
from voxterra.kernels.fusion.blocks import BLOCK
from voxterra.kernels.fusion.marching_cubes import (
    case_table,
    count_triangles,
    edge_vertices,
    emit_triangles,
)
from voxterra.kernels.fusion.tsdf import VOXELS, finish_blocks, integrate_view
from voxterra.surface.fusion.allocate import Volume, allocate, no_surface
from voxterra.surface.fusion.checkpoint import KeptWork, Piece
from voxterra.surface.fusion.config import FusionConfig
from voxterra.surface.fusion.statistics import DepthStatistics, depth_statistics
from voxterra.surface.fusion.views import ViewCache

logger = logging.getLogger(__name__)

REGION = 24
"""Edge of a region [blocks]."""
# A cell that reaches deeper than this below the surface [voxels] has no surface of its own: it
# lies at a rim, where free space meets what the views know nothing of.
_DEEPEST = 2.0


def fuse(
    maps: DepthMaps,
    config: FusionConfig = FusionConfig(),
    *,
    statistics: DepthStatistics | None = None,
    work_dir: Path | None = None,
    progress: Progress = no_progress,
) -> TriMesh:
    """Fuse depth maps into a mesh with vertex colours.

    Args:
        maps: depth maps in one world frame. `load` may be called several times a view.
        config: options.
        statistics: of `maps`; None: those of all their depths.
        work_dir: folder that keeps what is done, so that a call with the same arguments goes on
            where this one is broken off.
        progress: told how far it is.

    Returns:
        Mesh in world, faces counter-clockwise seen from free space, open where nothing was seen.
        Its `face_source` says which faces are weak.
        The same input gives the same mesh.

    Raises:
        ReconstructionError: the depth maps hold no surface.
    """
    if len(maps.views) == 0:
        raise ReconstructionError(
            "There are no depth maps.",
            where="depth maps",
            next_step="Add photos that overlap by 60 % or more and show texture.",
        )
    statistics = statistics or depth_statistics(maps)
    kept = KeptWork(work_dir)
    volume = kept.volume()
    if volume is None:
        volume = allocate(maps, statistics, config, progress=part(progress, 0.0, 0.3))
        kept.keep_volume(volume)
    cache = ViewCache(
        maps, volume.max_footprint, config.view_cache_mb << 20, keep_weak=config.keep_weak
    )
    pieces = []
    regions = _regions(volume)
    report = part(progress, 0.3, 0.95)
    for index, owned in enumerate(regions):
        report(index / len(regions), f"fusing: {index}/{len(regions)} regions")
        piece = kept.piece(index)
        if piece is None:
            piece = _mesh_region(volume, owned, cache, statistics, config)
            kept.keep_piece(index, piece)
        if len(piece.faces):
            pieces.append(piece)
    if not pieces:
        raise no_surface(volume.voxel, statistics, config)
    progress(0.95, "joining regions")
    mesh = _weld(pieces)
    logger.info("fused %d vertices, %d faces", len(mesh.vertices), len(mesh.faces))
    progress(1.0, f"{len(mesh.faces)} faces")
    return mesh


def _regions(volume: Volume) -> list[NDArray[np.int64]]:
    """Rows of the blocks of each region, in snake order so that neighbours share views."""
    cell = (volume.coords - volume.coords.min(0)) // REGION
    size = cell.max(0) + 1
    x = np.where(cell[:, 1] % 2 == 1, size[0] - 1 - cell[:, 0], cell[:, 0])
    number = (cell[:, 1].astype(np.int64) * size[0] + x) * size[2] + cell[:, 2]
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    return np.split(order, starts[1:])


def _mesh_region(
    volume: Volume,
    owned: NDArray[np.int64],
    cache: ViewCache,
    statistics: DepthStatistics,
    config: FusionConfig,
) -> Piece:
    borrowed = np.setdiff1d(volume.neighbors[owned], owned)
    rows = np.concatenate([owned, borrowed[borrowed >= 0]])
    coords = np.ascontiguousarray(volume.coords[rows])
    local = np.full(len(volume.coords) + 1, -1, np.int32)
    local[rows] = np.arange(len(rows), dtype=np.int32)
    # Index -1 (no neighbour) reads the last element of `local`, which is -1.
    neighbors = local[volume.neighbors[rows]]
    fused = _integrate(volume, coords, cache, statistics, config)
    return _march(volume, fused, neighbors, coords, len(owned))


@dataclass(frozen=True)
class _Fused:
    """Voxels of blocks: signed distances (B, 512), colours (B, 512, 3), sources (B, 512)."""

    field: NDArray[np.float32]
    colors: NDArray[np.float32]
    sources: NDArray[np.uint8]


def _integrate(
    volume: Volume,
    coords: NDArray[np.int32],
    cache: ViewCache,
    statistics: DepthStatistics,
    config: FusionConfig,
) -> _Fused:
    """Voxels of blocks from all views."""
    acc = np.zeros((len(coords), VOXELS, 6), np.float32)
    counts = np.zeros((len(coords), VOXELS, 3), np.uint8)
    low = coords.min(0) * (BLOCK * volume.voxel)
    high = (coords.max(0) + 1) * (BLOCK * volume.voxel)
    for index in cache.seeing(low, high):
        view = cache.get(index)
        pose = np.ascontiguousarray(view.view.cam_from_world, np.float64)
        integrate_view(
            acc, counts, coords, volume.voxel, view.depth, view.sample,
            pose, view.intrinsics, view.far, volume.band, statistics.depth,
        )  # fmt: skip
    fused = _Fused(
        np.empty((len(coords), VOXELS), np.float32),
        np.empty((len(coords), VOXELS, 3), np.float32),
        np.empty((len(coords), VOXELS), np.uint8),
    )
    finish_blocks(
        acc, counts, config.min_views, config.keep_weak, config.free_weight,
        np.float32(volume.voxel), fused.field, fused.colors, fused.sources,
    )  # fmt: skip
    return fused


def _march(
    volume: Volume,
    fused: _Fused,
    neighbors: NDArray[np.int32],
    coords: NDArray[np.int32],
    n_owned: int,
) -> Piece:
    table, table_count = case_table()
    field = fused.field
    lowest = np.float32(-_DEEPEST * volume.voxel)
    count = np.zeros(n_owned, np.int64)
    count_triangles(field, neighbors, n_owned, lowest, table_count, count)
    start = np.cumsum(count) - count
    faces = np.empty((int(count.sum()), 3), np.int64)
    used = np.zeros(len(field) * VOXELS * 3, np.uint8)
    emit_triangles(field, neighbors, n_owned, lowest, table, table_count, start, faces, used)
    edges = np.flatnonzero(used)
    number = np.cumsum(used, dtype=np.int32)
    keys = np.empty(len(edges), np.int64)
    vertices = np.empty((len(edges), 3), np.float32)
    vertex_colors = np.empty((len(edges), 3), np.uint8)
    vertex_sources = np.empty(len(edges), np.uint8)
    base = volume.coords.min(0).astype(np.int64)
    edge_vertices(
        edges, field, fused.colors, fused.sources, neighbors, coords, volume.voxel, base,
        keys, vertices, vertex_colors, vertex_sources,
    )  # fmt: skip
    return Piece(keys, vertices, vertex_colors, vertex_sources, number[faces] - 1)


def _weld(pieces: list[Piece]) -> TriMesh:
    """One mesh; vertices of the same lattice edge become one, in the order of the edges."""
    keys = np.concatenate([p.keys for p in pieces])
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    offsets = np.cumsum([0] + [len(p.keys) for p in pieces])
    faces = np.concatenate(
        [inverse[p.faces + o].astype(np.int32) for p, o in zip(pieces, offsets[:-1], strict=True)]
    )
    vertices = np.concatenate([p.vertices for p in pieces])[first]
    colors = np.concatenate([p.colors for p in pieces])[first]
    sources = np.concatenate([p.sources for p in pieces])[first]
    face_source = sources[faces].max(axis=1)  # a face is as good as its worst corner
    measured = bool((face_source == SurfaceSource.MEASURED).all())
    return TriMesh(vertices, faces, colors, face_source=None if measured else face_source)
