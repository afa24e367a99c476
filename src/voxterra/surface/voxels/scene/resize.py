"""Images made smaller by averaging areas, with their views and depth maps made to fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap
from voxterra.errors import UsageError
from voxterra.surface.voxels.config import VoxelConfig

_FARTHEST = 0.05
"""A normal that would move a depth by a larger part of it is seen too flat to be believed."""


def training_size(width: int, height: int, config: VoxelConfig) -> tuple[int, int]:
    """Width and height [px] at which an image is trained on; never larger than it is.

    Raises:
        UsageError: both a factor and a width are given, or one that is no size.
    """
    factor, wanted = config.res_downscale, config.res_width
    if factor and wanted:
        raise UsageError(
            f"Images are to be divided by {factor:g} and to be {wanted} pixels wide.",
            where="--res_downscale, --res_width",
            next_step="Give one of the two, and 0 for the other.",
        )
    if wanted < 0 or factor < 0 or 0 < factor < 1:
        raise UsageError(
            "Images can only be made smaller.",
            where="--res_downscale" if factor else "--res_width",
            next_step="Give --res_downscale 2 for half the sides, or --res_width 800 for a width.",
        )
    if wanted:
        factor = width / wanted
    if factor <= 1:
        return width, height
    return max(1, round(width / factor)), max(1, round(height / factor))


def shrink(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3) uint8 averaged over the areas of a smaller image's pixels."""
    if pixels.shape[:2] == (height, width):
        return pixels
    import cv2

    out = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(out, np.uint8)


def shrink_prior(prior: DepthMap, view: PinholeView) -> DepthMap:
    """The depth map at no more than the size of `view` (`resized_prior`)."""
    height, width = prior.depth.shape
    if width <= view.width and height <= view.height:
        return prior
    return resized_prior(prior, view.width, view.height)


def resized_prior(prior: DepthMap, width: int, height: int) -> DepthMap:
    """The depth map at another size: the nearest sample, since an average of depths across an edge
    lies on neither side of it, carried to the centre of the new pixel along its plane.

    Every second pixel's depth lies a quarter of a new pixel beside the centre, always on the same
    side: as it is, it would move a slope.
    """
    view = prior.view.resized(width, height)
    v, u = np.arange(height) + 0.5, np.arange(width) + 0.5
    row = (v * (prior.view.height / height)).astype(np.int64)
    column = (u * (prior.view.width / width)).astype(np.int64)
    at: Any = np.ix_(row, column)
    depth, normal = prior.depth[at], prior.normal[at]

    def along(u: NDArray[Any], v: NDArray[Any], K: NDArray[Any]) -> NDArray[Any]:
        """Normal times ray of the pixels' places."""
        x, y = (u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]
        slant: NDArray[Any] = normal[..., 0] * x + normal[..., 1] * y[:, None] + normal[..., 2]
        return slant

    sampled = along(column + 0.5, row + 0.5, prior.view.K)
    centre = along(u, v, view.K)
    ratio = np.divide(sampled, centre, out=np.ones_like(centre), where=np.abs(centre) > 1e-3)
    ratio = np.where(np.abs(ratio - 1.0) < _FARTHEST, ratio, 1.0)
    return DepthMap(view, (depth * ratio).astype(np.float32), normal, prior.confidence[at])
