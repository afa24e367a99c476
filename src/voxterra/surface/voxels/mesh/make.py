"""The mesh of a trained model: its surface in a box, without what nothing supports.

A run and `voxterra mesh` both make it here. Torch is needed only where something is rendered: for
`method="tsdf"` and for `seen_in`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMaps
from voxterra.core.mesh import TriMesh
from voxterra.core.progress import Progress, no_progress, part
from voxterra.core.voxels import VoxelModel
from voxterra.errors import ReconstructionError
from voxterra.surface.fusion.config import FusionConfig
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.device import choose_device, require_torch
from voxterra.surface.voxels.mesh.clip import clip_to_box
from voxterra.surface.voxels.mesh.extract import Box, box_of, extract_mesh, extract_tsdf

logger = logging.getLogger(__name__)

Method = Literal["sdf", "tsdf"]


@dataclass(frozen=True)
class MeshOptions:
    """How to make a mesh.

    Attributes:
        method: sdf takes the surface from the voxels themselves, tsdf fuses the depths that the
            views see.
        bounds: world box (x_min, y_min, z_min, x_max, y_max, z_max) to clip to; None: the main
            bound of the training.
        voxel_size: edge of the cells of tsdf [world units]; None: from the size of a pixel.
        seen_in: views that must show a face for it to be kept; 0: faces need not be seen.
        measured_in: depth maps that must have measured a face for it to be kept; 0: none.
        device: where to render.
    """

    method: Method = "sdf"
    bounds: Box | None = None
    voxel_size: float | None = None
    seen_in: int = 0
    measured_in: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"


def make_mesh(
    model: VoxelModel,
    options: MeshOptions = MeshOptions(),
    *,
    views: Sequence[PinholeView] = (),
    maps: DepthMaps | None = None,
    progress: Progress = no_progress,
) -> TriMesh:
    """The mesh of a model, in world, with vertex colours.

    Args:
        model: trained voxels.
        options: see there.
        views: what the model was trained on, at that size; for tsdf and `seen_in`.
        maps: depth maps of these views; for `measured_in`.
        progress: called often.

    Raises:
        ReconstructionError: no surface is left.
        UsageError: the bounds are no box, or a GPU is asked for and there is none.
        MissingPartError: something has to be rendered, and torch is not installed.
    """
    share = 0.6 if options.seen_in else 1.0
    mesh = _extracted(model, options, tuple(views), part(progress, 0.0, share))
    if options.seen_in:
        mesh = _seen(mesh, model, views, options, part(progress, share, 1.0))
    if options.measured_in and maps is not None:
        mesh = _measured(mesh, maps, options.measured_in)
    return mesh


def _extracted(
    model: VoxelModel, options: MeshOptions, views: tuple[PinholeView, ...], progress: Progress
) -> TriMesh:
    if options.method == "sdf":
        return extract_mesh(model, bounds=options.bounds, progress=progress)
    require_torch()
    from voxterra.surface.voxels.model.depth_maps import depth_maps_of
    from voxterra.surface.voxels.model.render import to_device

    voxels = to_device(model, choose_device(VoxelConfig(device=options.device)))
    bounds = options.bounds or box_of(model.cube.main_bounds)
    config = FusionConfig(bounds_m=bounds, voxel_size_m=options.voxel_size)
    mesh = extract_tsdf(depth_maps_of(voxels, views), config, progress=progress)
    if options.bounds is None:
        return mesh
    # The fusion keeps whole blocks of cells.
    mesh = clip_to_box(mesh, np.array(bounds[:3]), np.array(bounds[3:]))
    if len(mesh.faces) == 0:
        raise ReconstructionError(
            "There is no surface in this box.",
            where=f"bound {' '.join(f'{value:g}' for value in bounds)}",
            next_step="Give another box, in the world of the cameras, or none.",
        )
    return mesh


def _seen(
    mesh: TriMesh,
    model: VoxelModel,
    views: Sequence[PinholeView],
    options: MeshOptions,
    progress: Progress,
) -> TriMesh:
    require_torch()
    from voxterra.surface.voxels.mesh.unseen import only_seen, seen_leaves
    from voxterra.surface.voxels.model.render import to_device

    voxels = to_device(model, choose_device(VoxelConfig(device=options.device)))
    leaves = seen_leaves(voxels, views, options.seen_in, progress=progress)
    kept = only_seen(mesh, voxels.octree, leaves)
    logger.info("%d of %d faces are seen", len(kept.faces), len(mesh.faces))
    if len(kept.faces) == 0:
        raise ReconstructionError(
            f"Fewer than {options.seen_in} photos show any of the surface that was trained.",
            where="mesh",
            next_step="Train longer (--n_iter).",
        )
    return kept


def _measured(mesh: TriMesh, maps: DepthMaps, min_views: int) -> TriMesh:
    require_torch()
    from voxterra.surface.voxels.mesh.unseen import only_measured

    kept = only_measured(mesh, (maps.load(i).measured() for i in range(len(maps.views))), min_views)
    logger.info("%d of %d faces are measured", len(kept.faces), len(mesh.faces))
    if len(kept.faces) == 0:
        raise ReconstructionError(
            f"Fewer than {min_views} depth maps measured any of the surface that was trained.",
            where="mesh",
            next_step="Train longer (--n_iter), or with smaller steps (--geo_lr).",
        )
    return kept
