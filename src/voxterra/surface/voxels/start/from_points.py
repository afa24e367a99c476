"""The first surface from sparse points: oriented discs drawn into each view's depth map.

Every point gets the plane of its neighbours, faced to the cameras that see it, and a disc as wide
as its neighbours are away. Drawn into a depth map, discs hide what is behind them, and from there
on the points are carved and filled as depth maps are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from voxterra.core.camera import PinholeView
from voxterra.core.progress import Progress, no_progress
from voxterra.kernels.voxels.cpu.splat import splat_discs
from voxterra.surface.voxels.scene.scene import Scene, SceneView
from voxterra.surface.voxels.start.from_depth import (
    Look,
    camera_numbers,
    make_look,
    object_mask,
)

MIN_POINTS = 30
"""Fewer points make no surface."""
_MAX_POINTS = 300_000
_NEIGHBORS = 12
_STRAY = 4.0
"""A point this many times farther from its neighbours than usual is left out."""
_WIDTHS = (48, 720)
"""Least and largest width of the depth maps drawn [px]."""
_PIXELS_PER_SPACING = 2.5
_RADIUS = 1.3
"""Radius of a disc in distances to its fourth neighbour."""
_CONFIDENCE = 0.5
_GAP = 41
"""A gap between discs less wide than this is no empty view [px]."""


@dataclass(frozen=True)
class Discs:
    """Oriented points.

    Attributes:
        centers, normals: (N, 3) float64 in world, normals towards the cameras.
        radii: (N,) float64 [world units].
        spacing: median distance to the fourth neighbour [world units].
    """

    centers: NDArray[np.float64]
    normals: NDArray[np.float64]
    radii: NDArray[np.float64]
    spacing: float


def make_discs(scene: Scene, used: Sequence[int], seed: int) -> Discs:
    """Discs of the scene's points, stray ones left out.

    Args:
        scene: with points.
        used: indices of the views that may be used.
        seed: of the choice among very many points.
    """
    assert scene.points is not None
    points = np.asarray(scene.points.positions, np.float64)
    toward = _toward_cameras(scene, used, points)
    chosen = np.flatnonzero(np.isfinite(points).all(axis=1))
    if len(chosen) > _MAX_POINTS:
        chosen = np.random.default_rng(seed).choice(chosen, _MAX_POINTS, replace=False)
    points, toward = points[chosen], toward[chosen]
    tree = cKDTree(points)
    count = min(_NEIGHBORS + 1, len(points))
    away, near = tree.query(points, k=count)
    reach = away[:, min(4, count - 1)]
    spacing = float(np.median(reach))
    kept = (reach <= _STRAY * spacing) & (reach > 0)
    offsets = points[near] - points[near].mean(axis=1, keepdims=True)
    _, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", offsets, offsets))
    normals = axes[:, :, 0]
    flip = np.einsum("ni,ni->n", normals, toward) < 0
    normals = np.where(flip[:, None], -normals, normals)
    radii = _RADIUS * np.minimum(reach, 3.0 * spacing)
    return Discs(points[kept], normals[kept], radii[kept], spacing)


def disc_looks(
    scene: Scene, used: Sequence[int], discs: Discs, progress: Progress = no_progress
) -> list[Look]:
    """Depth maps of the discs in the views `used`, with the views' masks."""
    looks = []
    for done, index in enumerate(used):
        progress(done / max(1, len(used)), "drawing the points")
        looks.append(_draw(scene.views[index], discs))
    return looks


def _draw(view: SceneView, discs: Discs) -> Look:
    pose = view.view.cam_from_world
    centers = (discs.centers @ pose[:, :3].T + pose[:, 3]).astype(np.float32)
    normals = (discs.normals @ pose[:, :3].T).astype(np.float32)
    small = _small_view(view.view, centers, discs.spacing)
    camera = camera_numbers(small)
    depth = np.full((small.height, small.width), np.inf, np.float32)
    normal = np.zeros((small.height, small.width, 3), np.float32)
    splat_discs(centers, normals, discs.radii.astype(np.float32), camera, depth, normal)
    depth[np.isinf(depth)] = 0.0
    confidence = np.full(depth.shape, _CONFIDENCE, np.float32)
    known = depth > 0
    covered = ndimage.maximum_filter(known, _GAP)
    covered = ndimage.minimum_filter(covered, _GAP, mode="constant", cval=1)
    depth[covered & ~known] = -1.0
    # Between discs of a surface in front, those behind shine through: carve carefully.
    return make_look(camera, depth, normal, confidence, object_mask(view), around=7)


def _small_view(view: PinholeView, in_cam: NDArray[np.float32], spacing: float) -> PinholeView:
    """The view at the size where points are a few pixels apart."""
    ahead = in_cam[in_cam[:, 2] > 0]
    if len(ahead) == 0:
        return view.resized(_WIDTHS[0], max(1, round(_WIDTHS[0] * view.height / view.width)))
    u = view.K[0, 0] * ahead[:, 0] / ahead[:, 2] + view.K[0, 2]
    seen = (u >= 0) & (u < view.width)
    depth = float(np.median(ahead[seen, 2] if seen.any() else ahead[:, 2]))
    width = view.width * _PIXELS_PER_SPACING * depth / spacing / view.K[0, 0]
    width = round(float(np.clip(width, *_WIDTHS)))
    return view.resized(width, max(1, round(width * view.height / view.width)))


def _toward_cameras(
    scene: Scene, used: Sequence[int], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N, 3) mean direction from points to the cameras that see them, else to the nearest ones."""
    assert scene.points is not None
    total = np.zeros_like(points)
    for index in used:
        seen = scene.points.seen_by(index)
        ray = scene.views[index].view.center_in_world - points[seen]
        total[seen] += ray / np.maximum(np.linalg.norm(ray, axis=1, keepdims=True), 1e-12)
    alone = ~total.any(axis=1) & np.isfinite(points).all(axis=1)
    if alone.any():
        centers = np.array([scene.views[i].view.center_in_world for i in used])
        count = min(3, len(centers))
        nearest = cKDTree(centers).query(points[alone], k=count)[1].reshape(-1, count)
        total[alone] = (centers[nearest] - points[alone][:, None]).mean(axis=1)
    return total
