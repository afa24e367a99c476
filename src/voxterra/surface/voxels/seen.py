"""What no photo shows is no surface: faces that the training made up are taken away.

Training starts from a closed guess, and where no photo looks nothing moves it: behind what is seen,
and beyond the edges of the photos. A voxel counts as seen by a view where some pixel takes more
than a little of its colour from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from voxterra.core.camera import PinholeView
from voxterra.core.mesh import TriMesh
from voxterra.core.progress import Progress, no_progress
from voxterra.surface.voxels.octree import Octree
from voxterra.surface.voxels.octree_query import locate
from voxterra.surface.voxels.render import Voxels, kernel_view, rasterize

MIN_WEIGHT = 0.3
"""Least blending weight in a pixel that counts as seen."""


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
        progress: told after each view.
    """
    count = torch.zeros(len(voxels), dtype=torch.int32, device=voxels.device)
    for done, view in enumerate(views, 1):
        kernel = kernel_view(view, voxels.octree.cube, voxels.device)
        weight = rasterize(voxels, kernel, max_weight=True)[3].max_weight
        assert weight is not None  # it was asked for
        count += weight > MIN_WEIGHT
        progress(done / len(views), f"{done}/{len(views)} views")
    return _with_neighbours(voxels.octree, count >= min(min_views, len(views)))


def only_seen(mesh: TriMesh, octree: Octree, seen: Tensor) -> TriMesh:
    """The faces of a model's mesh that lie in the leaves `seen` (bool[N]), with their vertices."""
    centers = mesh.vertices[mesh.faces].mean(axis=1, dtype=np.float64)
    leaf = locate(octree, torch.from_numpy(centers).to(seen.device))
    kept = ((leaf >= 0) & seen[leaf.clamp(min=0)]).cpu().numpy()
    faces = mesh.faces[kept]
    used = np.zeros(len(mesh.vertices), np.bool_)
    used[faces] = True
    number = np.cumsum(used, dtype=np.int32) - np.int32(1)
    colors = None if mesh.colors is None else mesh.colors[used]
    return TriMesh(mesh.vertices[used], number[faces], colors)


def _with_neighbours(octree: Octree, leaves: Tensor) -> Tensor:
    """`leaves` (bool[N]) and all that share a corner with one of them."""
    corner = torch.zeros(octree.corner_count, dtype=torch.bool, device=leaves.device)
    corner[octree.corner_index[leaves].long().flatten()] = True
    out = leaves.clone()
    for c in range(8):
        out |= corner[octree.corner_index[:, c].long()]
    return out
