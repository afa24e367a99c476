"""Images made smaller by averaging areas, with their views and depth maps made to fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap
from voxterra.errors import UsageError
from voxterra.surface.voxels.config import VoxelConfig


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
    """The depth map at no more than the size of `view`: the nearest sample, since an average of
    depths across an edge lies on neither side of it.
    """
    height, width = prior.depth.shape
    if width <= view.width and height <= view.height:
        return prior
    rows = ((np.arange(view.height) + 0.5) * height / view.height).astype(np.int64)
    columns = ((np.arange(view.width) + 0.5) * width / view.width).astype(np.int64)
    at: Any = np.ix_(rows, columns)
    return replace(
        prior,
        view=prior.view.resized(view.width, view.height),
        depth=prior.depth[at],
        normal=prior.normal[at],
        confidence=prior.confidence[at],
    )
