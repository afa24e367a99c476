"""What no photo shows is no surface: faces that the training made up are taken away.

Training starts from a closed guess, and where no photo looks nothing moves it: behind what is seen,
and beyond the edges of the photos. A voxel counts as seen by a view where some pixel takes more
than a little of its colour from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap
from voxterra.core.mesh import TriMesh
from voxterra.core.progress import Progress, no_progress
from voxterra.surface.voxels.model.render import Voxels, kernel_view, rasterize
from voxterra.surface.voxels.octree import Octree
from voxterra.surface.voxels.octree.query import locate, with_neighbours

MIN_WEIGHT = 0.3
"""Least blending weight in a pixel that counts as seen."""
MEASURED_PX = 1.5
"""A surface this near to a depth map, in footprints of its pixels, was measured."""
FEW_LOOK = 3
"""Where no more views look, one that measured is enough."""


@torch.no_grad()
def seen_leaves(
    voxels: Voxels,
    views: Sequence[PinholeView],
    min_views: int = 2,
    *,
    progress: Progress = no_progress,
) -> Tensor:
    """bool[N]: leaves that at least `min_views` of the views see, and those that touch one.

    Args:
        voxels: the model on its device.
        views: at the size they were trained on; smaller ones miss small voxels.
        min_views: at least; no more than there are views.
        progress: called after each view.
    """
    count = torch.zeros(len(voxels), dtype=torch.int32, device=voxels.device)
    for done, view in enumerate(views, 1):
        kernel = kernel_view(view, voxels.octree.cube, voxels.device)
        weight = rasterize(voxels, kernel, max_weight=True)[3].max_weight
        assert weight is not None  # it was asked for
        count += weight > MIN_WEIGHT
        progress(done / len(views), f"{done}/{len(views)} views")
    return with_neighbours(voxels.octree, count >= min(min_views, len(views)))


def only_seen(mesh: TriMesh, octree: Octree, seen: Tensor) -> TriMesh:
    """The faces of a model's mesh that lie in the leaves `seen` (bool[N]), with their vertices."""
    leaf = locate(octree, torch.from_numpy(_centers(mesh)).to(seen.device))
    return _with_faces(mesh, ((leaf >= 0) & seen[leaf.clamp(min=0)]).cpu().numpy())


def only_measured(
    mesh: TriMesh,
    maps: Iterable[DepthMap],
    min_views: int = 2,
    *,
    pixels: float = MEASURED_PX,
) -> TriMesh:
    """The faces of a mesh that lie where depth maps measured them, with their vertices.

    A start from depth maps fills what they left unknown, and photos seldom show enough of such
    places to make a guess right: where stereo found nothing there is little to be seen.

    Args:
        mesh: in world.
        maps: of the views that it was made from.
        min_views: depth maps that must have measured a face; one is enough where no more than
            `FEW_LOOK` views have it in their image (the rule of the fusion).
        pixels: a face is measured if its middle lies this near to the depth in its pixel, in
            footprints of a depth pixel (depth over focal length).
    """
    centers = _centers(mesh)
    measured = np.zeros(len(centers), np.int32)
    looking = np.zeros(len(centers), np.int32)
    for depth_map in maps:
        view = depth_map.view
        xy, depth = view.project(centers)
        inside = (depth > 0) & (xy >= 0).all(1) & (xy < [view.width, view.height]).all(1)
        at = np.flatnonzero(inside)
        column, row = xy[at].astype(np.int64).T
        known = depth_map.depth[row, column].astype(np.float64)
        tolerance = pixels * known / np.sqrt(view.K[0, 0] * view.K[1, 1])
        measured[at] += (known > 0) & (np.abs(depth[at] - known) < tolerance)
        looking[at] += 1
    return _with_faces(mesh, measured >= np.where(looking <= FEW_LOOK, 1, max(1, min_views)))


def _centers(mesh: TriMesh) -> NDArray[np.float64]:
    return np.asarray(mesh.vertices[mesh.faces].mean(axis=1, dtype=np.float64))


def _with_faces(mesh: TriMesh, kept: NDArray[np.bool_]) -> TriMesh:
    faces = mesh.faces[kept]
    used = np.zeros(len(mesh.vertices), np.bool_)
    used[faces] = True
    number = np.cumsum(used, dtype=np.int32) - np.int32(1)
    colors = None if mesh.colors is None else mesh.colors[used]
    return TriMesh(mesh.vertices[used], number[faces], colors)
