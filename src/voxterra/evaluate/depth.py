"""Depth maps against true depth.

The photo's pixel is what truth and result have in common: a true depth of pixel p is compared with
the estimate on the ray that the *estimated* camera gives to p. Depth along the optical axis is the
same number for the distorted and the undistorted pixel of one ray.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import Camera, PinholeView
from voxterra.core.depth import DepthMaps
from voxterra.core.progress import Progress, no_progress
from voxterra.errors import InputError
from voxterra.evaluate.statistics import nmad
from voxterra.io.truth.cameras import PosedCameras, match_names
from voxterra.io.truth.depth import TruthDepth
from voxterra.io.truth.surface import TruthSurface

Float = NDArray[np.float64]
TOLERANCES = (0.005, 0.01, 0.02)


@dataclass(frozen=True)
class PhotoDepth:
    """Truth and estimate of one photo on the truth's pixels.

    Attributes:
        name: photo.
        truth: (H, W) true depth, 0 = none.
        estimate: (H, W) estimated depth in truth units, 0 = none.
        seen: (H, W) bool: pixels that enough photos see, or None when that is not known.
    """

    name: str
    truth: Float
    estimate: Float
    seen: NDArray[np.bool_] | None = None

    def relative_error(self) -> Float:
        """(H, W) signed (estimate - truth) / truth; NaN without truth or estimate."""
        known = (self.truth > 0) & (self.estimate > 0)
        out = np.full(self.truth.shape, np.nan)
        out[known] = self.estimate[known] / self.truth[known] - 1.0
        return out


@dataclass(frozen=True)
class DepthScore:
    """Depth of several photos against truth.

    Attributes:
        align: "none", "cameras" or "scale".
        scale: factor applied to the estimated depths.
        photos: one an evaluated photo.
        missing: photos with true depth but no depth map.
    """

    align: str
    scale: float
    photos: tuple[PhotoDepth, ...]
    missing: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready figures: pooled over all photos, and each photo."""
        out = {
            "what": "depth",
            "align": self.align,
            "scale": self.scale,
            "pooled": depth_figures(self.photos, only_seen=False),
            "photos": [
                {"name": p.name, **depth_figures((p,), only_seen=False)} for p in self.photos
            ],
            "photos_without_depth_map": list(self.missing),
        }
        if all(p.seen is not None for p in self.photos):
            out["pooled_seen"] = depth_figures(self.photos, only_seen=True)
        return out


def depth_figures(photos: tuple[PhotoDepth, ...], *, only_seen: bool) -> dict[str, Any]:
    """Completeness, shares within tolerances, and errors, pooled over photos.

    Shares are of all pixels with a true depth, or with `only_seen` of those that enough photos see.
    """
    errors = []
    for photo in photos:
        use = photo.truth > 0
        if only_seen and photo.seen is not None:
            use &= photo.seen
        errors.append(photo.relative_error()[use])
    error = np.concatenate(errors)
    known = error[np.isfinite(error)]
    within = {
        f"within_{100 * t:g}_percent": float((np.abs(known) <= t).sum() / max(len(error), 1))
        for t in TOLERANCES
    }
    return {
        "pixels": len(error),
        "completeness": len(known) / max(len(error), 1),
        **within,
        "median_relative_error": float(np.median(np.abs(known))) if len(known) else None,
        "median_bias": float(np.median(known)) if len(known) else None,
        "nmad": nmad(known) if len(known) else None,
    }


def score_depth(
    maps: DepthMaps,
    truths: tuple[TruthDepth, ...],
    scale: float | None,
    *,
    align: str = "cameras",
    seen: dict[str, NDArray[np.bool_]] | None = None,
    progress: Progress = no_progress,
) -> DepthScore:
    """Compare depth maps with the true depth of the photos that have any.

    Args:
        maps: the result.
        truths: true depths.
        scale: truth units in one unit of the result; None = the median ratio over all pixels.
        align: name of how `scale` was found.
        seen: for each truth's name, (H, W) bool of the pixels that enough photos see.

    Raises:
        InputError: no photo has both a depth map and a true depth.
    """
    names = tuple(view.name for view in maps.views)
    pairs = match_names(names, tuple(t.name for t in truths))
    if not pairs:
        raise InputError(
            "No photo has both a depth map and a true depth.",
            next_step="Check that both come from the same photos.",
        )
    estimates = []
    for done, (i, j) in enumerate(pairs):
        progress(done / len(pairs), names[i])
        depth_map = maps.load(i)
        pixels = pixels_in_view(depth_map.view, truths[j])
        estimates.append(sample_depth(depth_map.depth, pixels))
    if scale is None:
        ratios = [
            truths[j].depth_m[use] / estimate[use]
            for (_, j), estimate in zip(pairs, estimates, strict=True)
            for use in [(truths[j].depth_m > 0) & (estimate > 0)]
        ]
        pooled = np.concatenate(ratios)
        scale = float(np.median(pooled)) if len(pooled) else 1.0
    photos = tuple(
        PhotoDepth(names[i], truths[j].depth_m, estimate * scale, (seen or {}).get(truths[j].name))
        for (i, j), estimate in zip(pairs, estimates, strict=True)
    )
    matched = {j for _, j in pairs}
    missing = tuple(t.name for j, t in enumerate(truths) if j not in matched)
    return DepthScore(align, scale, photos, missing)


def pixels_in_view(view: PinholeView, truth: TruthDepth) -> Float:
    """(H, W, 2) where the rays of the true depths meet the undistorted view [px]; NaN = nowhere."""
    camera = view.camera if truth.camera is None else truth.camera
    xy = rays_of_pixels(camera, truth.pixels.reshape(-1, 2))
    pixels = xy * [view.K[0, 0], view.K[1, 1]] + view.K[:2, 2]
    in_view: Float = pixels.reshape(truth.pixels.shape)
    return in_view


def rays_of_pixels(camera: Camera, pixels: Float) -> Float:
    """(N, 2) x/z and y/z of the rays of (N, 2) pixels of any COLMAP camera model."""
    from voxterra.io.colmap.model import to_pycolmap_camera

    return np.asarray(to_pycolmap_camera(camera).cam_from_img(np.asarray(pixels, np.float64)))


# Neighbours farther apart than this are on different surfaces; nothing is interpolated there.
_SAME_SURFACE = 0.02


def sample_depth(depth: NDArray[np.float32], pixels: Float) -> Float:
    """Depth (...) at pixels (..., 2) of a depth map (H, W); 0 where unknown or outside.

    On one surface it is interpolated bilinearly in inverse depth, in which a plane is exactly
    linear; across edges and holes the nearest pixel counts, known or not.
    """
    height, width = depth.shape
    flat = pixels.reshape(-1, 2)
    inside = (flat > 0).all(axis=1) & (flat[:, 0] < width) & (flat[:, 1] < height)
    out = np.zeros(len(flat))
    x, y = flat[inside].T
    nearest = depth[y.astype(int), x.astype(int)].astype(np.float64)
    column = np.clip(np.floor(x - 0.5).astype(int), 0, max(width - 2, 0))
    row = np.clip(np.floor(y - 0.5).astype(int), 0, max(height - 2, 0))
    dx, dy = np.clip(x - 0.5 - column, 0, 1), np.clip(y - 0.5 - row, 0, 1)
    right, below = np.minimum(column + 1, width - 1), np.minimum(row + 1, height - 1)
    corners = np.stack(
        [depth[row, column], depth[row, right], depth[below, column], depth[below, right]]
    ).astype(np.float64)
    weights = np.stack([(1 - dx) * (1 - dy), dx * (1 - dy), (1 - dx) * dy, dx * dy])
    one_surface = (corners > 0).all(axis=0)
    low, high = corners.min(axis=0), corners.max(axis=0)
    one_surface &= high - low <= _SAME_SURFACE * np.maximum(low, 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        smooth = 1.0 / (weights / corners).sum(axis=0)
    out[inside] = np.where(one_surface, smooth, nearest)
    return out.reshape(pixels.shape[:-1])


# Of the depth: true depths are rounded, but nearer than this to the true mesh.
_ON_SURFACE = 0.001


def seen_pixels(
    truths: tuple[TruthDepth, ...], cameras: PosedCameras, surface: TruthSurface
) -> dict[str, NDArray[np.bool_]]:
    """For each truth's name, (H, W) bool: its depths are on faces of the true mesh that count.

    Raises:
        InputError: the truth gives no camera for a photo.
    """
    from voxterra.kernels.mesh.closest import build_triangle_tree, closest_on_mesh

    tree = build_triangle_tree(surface.mesh.vertices, surface.mesh.faces)
    index = dict(match_names(tuple(t.name for t in truths), cameras.names))
    out = {}
    for i, truth in enumerate(truths):
        camera = None
        if i in index:
            camera = truth.camera or cameras.cameras[index[i]]
        if camera is None:
            raise InputError(
                "The truth gives no camera for this photo.",
                where=truth.name,
                next_step="Give true cameras that name this photo, with --cameras.",
            )
        pose = cameras.cam_from_world[index[i]]
        seen = truth.depth_m > 0
        z = truth.depth_m[seen]
        xy = rays_of_pixels(camera, truth.pixels[seen])
        points = (np.column_stack([xy * z[:, None], z]) - pose[:, 3]) @ pose[:, :3]
        face = closest_on_mesh(tree, points, _ON_SURFACE * float(np.median(z)))[1]
        seen[seen] = (face >= 0) & surface.scored[face]
        out[truth.name] = seen
    return out
