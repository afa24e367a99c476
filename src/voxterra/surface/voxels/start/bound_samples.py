"""Samples of what the training views see, to find the main bound with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voxterra.surface.voxels.scene.scene import Scene, SceneView
from voxterra.surface.voxels.start.from_depth import known_depth

Float = NDArray[np.float64]

_PER_SCENE = 200_000
_PER_VIEW = 4_000
_OBJECT = 0.5
"""Part of the views that have a point in their image, for it to be of what they all look at."""


def seen_samples(scene: Scene, *, converges: bool) -> tuple[Float, Float]:
    """(N, 3) points of the depth maps and (P, 3) sparse points that matter, in world.

    Where the cameras look at one thing (`converges`) and no masks tell what that is, those are the
    points that most of them have in their image; else those that more than one has. Points beside
    the masks do not matter.

    Raises:
        InputError: a depth map holds negative depths.
    """
    views = scene.training
    per_view = min(_PER_VIEW, max(200, _PER_SCENE // max(1, len(views))))
    parts = [_depth_samples(view, per_view) for view in views if view.prior is not None]
    depths = np.concatenate(parts) if parts else np.zeros((0, 3))
    points = np.zeros((0, 3)) if scene.points is None else scene.points.positions
    points = points[np.isfinite(points).all(axis=1)]
    points = points[:: max(1, len(points) // _PER_SCENE)]
    return (
        _that_matter(depths, views, converges),
        _that_matter(np.asarray(points, np.float64), views, converges),
    )


def _depth_samples(view: SceneView, count: int) -> Float:
    """World points of known depths of one view that are not beside its mask."""
    prior = view.prior
    assert prior is not None
    depth = known_depth(view.view.name, prior)
    step = max(1, int(np.sqrt(depth.size / count)))
    rows, columns = np.nonzero(depth[step // 2 :: step, step // 2 :: step])
    rows, columns = rows * step + step // 2, columns * step + step // 2
    pixels = np.column_stack([columns, rows]).astype(np.float64) + 0.5
    if view.mask is not None:
        scale = np.array(view.mask.shape[::-1]) / np.array(depth.shape[::-1])
        at = (pixels * scale).astype(int)
        kept = view.mask[at[:, 1], at[:, 0]] > 127
        rows, columns, pixels = rows[kept], columns[kept], pixels[kept]
    return prior.view.unproject(pixels, depth[rows, columns].astype(np.float64))


def _that_matter(points: Float, views: Sequence[SceneView], converges: bool) -> Float:
    """Those of (N, 3) points that enough views see; all where that leaves too few."""
    if len(points) == 0:
        return points
    seen = np.zeros(len(points), np.int32)
    beside = np.zeros(len(points), np.int32)
    chosen = views[:: max(1, len(views) // 60)]
    for view in chosen:
        pixels, depth = view.view.project(points)
        inside = (depth > 0) & (pixels >= 0).all(axis=1)
        inside &= (pixels < [view.view.width, view.view.height]).all(axis=1)
        seen += inside
        if view.mask is not None:
            scale = np.array(view.mask.shape[::-1]) / [view.view.width, view.view.height]
            at = (pixels[inside] * scale).astype(int)
            beside[inside] += view.mask[at[:, 1], at[:, 0]] <= 127
    kept = beside <= 0.25 * seen
    # Masks tell what belongs to the object, also where few photos show it.
    masked = all(view.mask is not None for view in chosen)
    least = _OBJECT * len(chosen) if converges and not masked else min(2, len(chosen))
    if (kept & (seen >= least)).sum() >= max(30, 0.05 * kept.sum()):
        kept &= seen >= least
    return points[kept] if kept.sum() >= 30 else points
