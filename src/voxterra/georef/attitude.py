"""Rotations from recorded attitudes, and how well they agree with a model.

A photo's attitude gives its own estimate of `world_from_model`. Its error is split into tilt (the
direction of up) and heading (the turn about up), because sensors measure the two in different
ways: up from gravity, to a degree; north from a compass, sometimes wrong by tens of degrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Float = NDArray[np.float64]

# stored_from_displayed: axes of the photo as displayed, in those of the stored pixels.
# Mirrored orientations (2, 4, 5, 7) do not occur in cameras and are read as not rotated.
_STORED_FROM_DISPLAYED = {
    3: np.diag([-1.0, -1.0, 1.0]),
    6: np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    8: np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
}


def cam_from_enu(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Float:
    """(3, 3) rotation into OpenCV camera axes of a camera with this attitude.

    The optical axis points along yaw and pitch; a positive roll turns the camera clockwise about
    it, seen from behind. At pitch -90 yaw and roll turn about the same axis, and the rotation is
    still well defined.
    """
    yaw, pitch, roll = np.radians([yaw_deg, pitch_deg, roll_deg])
    forward = np.array([np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), np.sin(pitch)])
    level_right = np.array([np.cos(yaw), -np.sin(yaw), 0.0])
    level_down = np.cross(forward, level_right)
    right = np.cos(roll) * level_right + np.sin(roll) * level_down
    down = -np.sin(roll) * level_right + np.cos(roll) * level_down
    return np.array([right, down, forward])


def displayed_from_stored(orientation: int) -> Float:
    """(3, 3) rotation from the axes of the stored pixels to those of the photo as displayed.

    Args:
        orientation: EXIF orientation, 1..8.
    """
    return _STORED_FROM_DISPLAYED.get(orientation, np.eye(3)).T


def tilt_and_heading(error: Float) -> tuple[Float, Float]:
    """Split (N, 3, 3) rotations of the world into tilt (N, 2) and heading (N,) [rad].

    Tilt is the rotation vector's east and north part that takes up to where the rotation moves
    it; heading the turn about up that remains (about +z, counter-clockwise from above).
    """
    up = error[:, :, 2]
    horizontal = np.column_stack([-up[:, 1], up[:, 0]])
    sine = np.linalg.norm(horizontal, axis=1)
    angle = np.arctan2(sine, up[:, 2])
    tilt = horizontal * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 1.0)[:, None]
    # The twist about z of the quaternion (x, y, z, w), 2 atan2(z, w), without making one.
    heading = np.arctan2(error[:, 1, 0] - error[:, 0, 1], error[:, 0, 0] + error[:, 1, 1])
    return tilt, heading


@dataclass(frozen=True)
class Consensus:
    """Rotation that most attitudes agree on.

    Attributes:
        world_from_model: (3, 3) rotation.
        tilt_share, heading_share: share of photos within 15 degrees of it in tilt, 25 in heading.
    """

    world_from_model: Float
    tilt_share: float
    heading_share: float


def consensus(world_from_model: Float) -> Consensus:
    """Robust mean of (N, 3, 3) rotations: geodesic median by Weiszfeld's iteration.

    Source: Hartley, Aftab, Trumpf, "L1 rotation averaging using the Weiszfeld algorithm",
    CVPR 2011. Started from the member nearest to the others.
    """
    members = world_from_model[:: max(1, len(world_from_model) // 200)]
    traces = np.einsum("aij,bij->ab", members, members)
    angles = np.arccos(np.clip((traces - 1) / 2, -1, 1))
    mean = members[np.argmin(np.median(angles, axis=1))]
    for _ in range(30):
        steps = Rotation.from_matrix(world_from_model @ mean.T).as_rotvec()
        w = 1.0 / np.maximum(np.linalg.norm(steps, axis=1), 1e-4)
        step = (w[:, None] * steps).sum(0) / w.sum()
        mean = Rotation.from_rotvec(step).as_matrix() @ mean
        if np.linalg.norm(step) < 1e-9:
            break
    tilt, heading = tilt_and_heading(mean @ np.transpose(world_from_model, (0, 2, 1)))
    return Consensus(
        mean,
        float((np.linalg.norm(tilt, axis=1) < np.radians(15)).mean()),
        float((np.abs(heading) < np.radians(25)).mean()),
    )
