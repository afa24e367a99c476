"""Depth of one photo from a rectified pair by OpenCV's StereoSGBM, for comparison."""

from __future__ import annotations

import time
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView

Float = NDArray[np.float64]


@dataclass(frozen=True)
class RectifiedPair:
    """Two views turned so that the same point lies in the same row.

    Attributes:
        K: (3, 3) of the left rectified image.
        K_right: (3, 3) of the right one: shifted, so that disparities start at 0.
        width, height: of both [px].
        rect_from_left, rect_from_right: (3, 3) rotations from the views' camera axes.
        baseline: distance of the centres, in world units.
    """

    K: Float
    K_right: Float
    width: int
    height: int
    rect_from_left: Float
    rect_from_right: Float
    baseline: float

    @property
    def shift(self) -> float:
        """Disparity of two pixels with equal columns [px]."""
        return float(self.K_right[0, 2] - self.K[0, 2])


def rectify(left: PinholeView, right: PinholeView, near: float, far: float) -> RectifiedPair:
    """Rectification of a pair of any orientation (Fusiello, Trucco and Verri 2000).

    The rows run along the baseline, `right` lies towards +x, and the image shows all of `left`
    with a border of the disparity range, so that the matcher gives up no column of it.
    """
    along = right.center_in_world - left.center_in_world
    baseline = float(np.linalg.norm(along))
    x = along / baseline
    forward = left.cam_from_world[2, :3] + right.cam_from_world[2, :3]
    y = np.cross(forward, x)
    y /= np.linalg.norm(y)
    rect_from_world = np.stack([x, y, np.cross(x, y)])
    rect_from_left = rect_from_world @ left.cam_from_world[:, :3].T
    rect_from_right = rect_from_world @ right.cam_from_world[:, :3].T
    corners = np.array(
        [[0, 0, 1], [left.width, 0, 1], [0, left.height, 1], [left.width, left.height, 1]], float
    )
    rays = corners @ np.linalg.inv(left.K).T @ rect_from_left.T
    focal = float((left.K[0, 0] + left.K[1, 1]) / 2)
    xy = focal * rays[:, :2] / rays[:, 2:]
    low, high = xy.min(axis=0), xy.max(axis=0)
    least = np.floor(focal * baseline / far) - 1
    border = np.ceil(focal * baseline / near) + 17 - least
    K = np.array([[focal, 0, border - low[0]], [0, focal, -low[1]], [0, 0, 1]])
    K_right = K + np.array([[0, 0, least], [0, 0, 0], [0, 0, 0]])
    width, height = np.ceil(high - low + [border, 0]).astype(int).tolist()
    return RectifiedPair(K, K_right, width, height, rect_from_left, rect_from_right, baseline)


def warp(
    image: NDArray[np.uint8], view: PinholeView, pair: RectifiedPair, *, is_left: bool
) -> NDArray[np.uint8]:
    """Grey rectified image; 0 outside the view."""
    K, rotation = (pair.K, pair.rect_from_left) if is_left else (pair.K_right, pair.rect_from_right)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    # Our pixel centres are at +0.5, OpenCV's at integers.
    half = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]])
    H = (half @ K) @ rotation @ np.linalg.inv(half @ view.K)
    return cv2.warpPerspective(grey, H, (pair.width, pair.height), flags=cv2.INTER_LINEAR)


def sgbm_depth(
    left: NDArray[np.uint8], right: NDArray[np.uint8], pair: RectifiedPair, near: float
) -> tuple[NDArray[np.float32], float]:
    """Depth (H, W) in the rectified left image, 0 = unknown, and the seconds it took."""
    largest = pair.K[0, 0] * pair.baseline / near - pair.shift
    block = 5
    matcher = cv2.StereoSGBM.create(
        minDisparity=0,
        numDisparities=int(np.ceil((largest + 1) / 16) * 16),
        blockSize=block,
        P1=8 * block**2,
        P2=32 * block**2,
        disp12MaxDiff=1,
        uniquenessRatio=5,
        speckleWindowSize=100,
        speckleRange=2,
        mode=cv2.STEREO_SGBM_MODE_SGBM,
    )
    started = time.perf_counter()
    disparity = matcher.compute(left, right).astype(np.float32) / 16.0
    seconds = time.perf_counter() - started
    depth = np.zeros(disparity.shape, np.float32)
    known = disparity >= 0
    depth[known] = pair.K[0, 0] * pair.baseline / (disparity[known] + pair.shift)
    return depth, seconds


def to_rectified(pixels: Float, view: PinholeView, pair: RectifiedPair) -> tuple[Float, Float]:
    """Rectified pixels (N, 2) of a left view's pixels, and (N,) its depth per rectified depth."""
    rays = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(view.K).T
    turned = rays @ pair.rect_from_left.T
    xy = turned[:, :2] / turned[:, 2:] * pair.K[0, 0] + pair.K[:2, 2]
    return xy, 1.0 / turned[:, 2]
