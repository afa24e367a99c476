"""First planes of a view: from the sparse points, and from what a depth source proposes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from scipy.spatial import QhullError

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap
from voxterra.depth.source import DepthInputs
from voxterra.depth.sparse import SparseDepth

# What no surface seen by a camera exceeds: the slope of one at 75 degrees.
_STEEPEST = 4.0


def first_planes(inputs: DepthInputs, index: int, view: PinholeView) -> NDArray[np.float32]:
    """(H, W, 3) planes to start from; what is proposed replaces what the sparse points say.

    Args:
        index: of the photo.
        view: the photo's, at the size of the result.
    """
    task = inputs.tasks[index]
    planes = planes_from_points(task.points, task.view, view)
    proposal = inputs.proposals(index) if inputs.proposals is not None else None
    if proposal is not None:
        proposed = planes_from_map(proposal, view, task.points.w_range)
        known = proposed[..., 0] > 0
        planes[known] = proposed[known]
    return planes


def planes_from_points(
    points: SparseDepth, full_view: PinholeView, view: PinholeView
) -> NDArray[np.float32]:
    """(H, W, 3) planes of `view` by interpolating inverse depth between the sparse points.

    Linear over the Delaunay triangulation of the points' pixels, nearest outside.

    Args:
        points: their pixels at the size of `full_view`.
        view: `full_view` at the size of the result.
    """
    size = np.array([view.width / full_view.width, view.height / full_view.height])
    pixels = points.pixels * size - 0.5
    w = np.clip(1.0 / points.depths, *points.w_range)
    x, y = np.meshgrid(np.arange(view.width), np.arange(view.height))
    inverse = NearestNDInterpolator(pixels, w)(x, y)
    if len(w) >= 4:
        try:
            linear = LinearNDInterpolator(pixels, w)(x, y)
            inverse = np.where(np.isnan(linear), inverse, linear)
        except QhullError:  # points on one line
            pass
    gy, gx = np.gradient(inverse)
    # A jump between two points is no slope.
    limit = _STEEPEST * inverse / view.K[0, 0]
    return np.stack(
        [inverse, np.clip(gx, -limit, limit), np.clip(gy, -limit, limit)], axis=-1
    ).astype(np.float32)


def planes_from_map(
    proposal: DepthMap, view: PinholeView, w_range: tuple[float, float]
) -> NDArray[np.float32]:
    """(H, W, 3) planes of `view` from a depth map of it of any size; 0 where it knows nothing.

    The plane n . X = d has the inverse depth n . ray / d, which is linear over the image. Without
    a normal the plane faces the camera.

    Args:
        w_range: (min, max) inverse depth that stereo searches; what lies outside is left out.
    """
    rows = ((np.arange(view.height) + 0.5) * proposal.depth.shape[0] / view.height).astype(int)
    columns = ((np.arange(view.width) + 0.5) * proposal.depth.shape[1] / view.width).astype(int)
    depth = proposal.depth[np.ix_(rows, columns)].astype(np.float64)
    normal = proposal.normal[np.ix_(rows, columns)].astype(np.float64)
    inverse = np.where(depth > 0, 1.0 / np.where(depth > 0, depth, 1.0), 0.0)
    inverse[(inverse < w_range[0]) | (inverse > w_range[1])] = 0.0
    K = view.K
    x, y = np.meshgrid(np.arange(view.width) + 0.5, np.arange(view.height) + 0.5)
    ray = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones_like(x)], axis=-1)
    facing = (normal * ray).sum(-1)
    seen = facing < -1e-3
    out = np.zeros((view.height, view.width, 3), np.float32)
    out[..., 0] = inverse
    for axis, focal in ((0, K[0, 0]), (1, K[1, 1])):
        slope = np.where(seen, normal[..., axis] / np.where(seen, facing, 1.0), 0.0)
        out[..., 1 + axis] = inverse * np.clip(slope, -_STEEPEST, _STEEPEST) / focal
    return out
