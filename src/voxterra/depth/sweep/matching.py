"""Plane sweep and semi-global aggregation of small images.

Sources: plane sweep, Collins 1996, "A space-sweep approach to true multi-image matching";
aggregation along paths, Hirschmueller 2008, "Stereo processing by semiglobal matching".
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView

Float = NDArray[np.float32]

_PATCH = (5, 5)
_BEST = 2
# A correlation of patches with less contrast than this [grey levels] says little.
_CONTRAST = np.float32(2.0)
# A difference of this many grey levels between neighbours halves the penalty of a jump.
_EDGE = np.float32(16.0)

_HALF = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])


def matching_costs(
    gray: Float,
    view: PinholeView,
    others: Sequence[tuple[PinholeView, Float]],
    inverse_depths: NDArray[np.float64],
) -> Float:
    """(D, H, W) 1 - NCC of 5x5 patches, the mean of the two best photos; 1 where none looks.

    Args:
        gray: (H, W) image of `view`, 0..255.
        others: views and grey images to compare with.
        inverse_depths: (D,) of planes that face the camera [1/world unit].
    """
    costs = np.empty((len(inverse_depths), *gray.shape), np.float32)
    mean, variance = _moments(gray)
    found = np.empty((len(others), *gray.shape), np.float32)
    for k, w in enumerate(inverse_depths):
        for row, (other, image) in enumerate(others):
            warped = _warped(image, view, other, float(w), cv2.INTER_LINEAR)
            mean_there, variance_there = _moments(warped)
            covariance = cv2.boxFilter(gray * warped, -1, _PATCH) - mean * mean_there
            floor = _CONTRAST**2
            ncc = covariance / np.sqrt((variance + floor) * (variance_there + floor))
            whole = cv2.erode(warped, np.ones(_PATCH, np.uint8), borderValue=0.0) >= 0
            found[row] = np.where(whole, 1 - ncc, np.inf)
        best = np.sort(found, axis=0)[:_BEST]
        seen = np.isfinite(best)
        count = seen.sum(0)
        costs[k] = np.where(count > 0, np.where(seen, best, 0).sum(0) / np.maximum(count, 1), 1.0)
    return costs


def support_of(
    view: PinholeView,
    others: Sequence[tuple[PinholeView, Float]],
    inverse_depths: NDArray[np.float64],
    tolerance: float,
) -> Float:
    """(D, H, W) how many of `others` have a plane's depth where it projects to, up to two.

    Args:
        others: views and their (H, W) inverse depths, 0 where unknown.
        inverse_depths: (D,) of planes that face the camera [1/world unit].
        tolerance: largest relative difference of depths.
    """
    x, y = np.meshgrid(np.arange(view.width) + 0.5, np.arange(view.height) + 0.5)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(view.K).T
    out = np.zeros((len(inverse_depths), view.height, view.width), np.float32)
    for other, theirs in others:
        R, t = _relative(view, other)
        along = rays @ R[2]
        for k, w in enumerate(inverse_depths):
            there = _warped(theirs, view, other, float(w), cv2.INTER_NEAREST)
            out[k] += np.abs((along / w + t[2]) * there - 1) < tolerance
    return np.minimum(out, 2)


def _moments(image: Float) -> tuple[Float, Float]:
    """Mean and variance of the patch around each pixel."""
    mean = np.asarray(cv2.boxFilter(image, -1, _PATCH), np.float32)
    squares = np.asarray(cv2.boxFilter(image * image, -1, _PATCH), np.float32)
    return mean, np.maximum(squares - mean * mean, np.float32(0))


def _warped(image: Float, view: PinholeView, other: PinholeView, w: float, how: int) -> Float:
    """(H, W) what `view` would show of the image of `other` on the plane z = 1 / w; -1 outside."""
    R, t = _relative(view, other)
    homography = _HALF @ other.K @ (R + w * np.outer(t, [0, 0, 1])) @ np.linalg.inv(_HALF @ view.K)
    size, flags = (view.width, view.height), how | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(image, homography, size, flags=flags, borderValue=-1.0)
    return np.asarray(warped, np.float32)


def _relative(
    view: PinholeView, other: PinholeView
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation (3, 3) and translation (3,) from the camera of `view` to that of `other`."""
    R = other.cam_from_world[:, :3] @ view.cam_from_world[:, :3].T
    return R, other.cam_from_world[:, 3] - R @ view.cam_from_world[:, 3]


def aggregated(costs: Float, gray: Float, step_penalty: float, jump_penalty: float) -> Float:
    """(D, H, W) sum of the path costs from the left, the right, above and below.

    Args:
        costs: (D, H, W) of matching.
        gray: (H, W) image, 0..255.
        step_penalty: for a move to the next plane between neighbouring pixels.
        jump_penalty: for a move further; less where the image has an edge.
    """
    total = np.zeros_like(costs)
    step = np.float32(step_penalty)
    for axis in (1, 2):
        edge = np.abs(np.diff(gray, axis=axis - 1))
        jump = np.maximum(np.float32(jump_penalty) / (1 + edge / _EDGE), 2 * step)
        lines, jumps = np.moveaxis(costs, axis, 0), np.moveaxis(jump, axis - 1, 0)
        sums = np.moveaxis(total, axis, 0)
        _along(lines, jumps, step, sums)
        _along(lines[::-1], jumps[::-1], step, sums[::-1])
    return total


def _along(lines: Float, jumps: Float, step: np.float32, sums: Float) -> None:
    """Add the path costs of (N, D, M) costs, one line after the other, to `sums`."""
    path = lines[0].copy()
    sums[0] += path
    for n in range(1, len(lines)):
        least = path.min(axis=0)
        best = np.minimum(path, least + jumps[n - 1])
        best[1:] = np.minimum(best[1:], path[:-1] + step)
        best[:-1] = np.minimum(best[:-1], path[1:] + step)
        path = lines[n] + best - least
        sums[n] += path


def best_inverse_depth(total: Float, inverse_depths: NDArray[np.float64]) -> Float:
    """(H, W) inverse depth of least cost, between planes by a parabola; 0 at the outermost two."""
    best = total.argmin(axis=0)
    inner = np.clip(best, 1, len(total) - 2)
    before, at, after = (np.take_along_axis(total, inner[None] + d, 0)[0] for d in (-1, 0, 1))
    bend = np.maximum(before - 2 * at + after, 1e-6)
    shift = np.clip(0.5 * (before - after) / bend, -0.5, 0.5)
    w = inverse_depths[inner] + shift * (inverse_depths[1] - inverse_depths[0])
    return np.where(best == inner, w, 0).astype(np.float32)
