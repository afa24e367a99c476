"""How far the frame of a delivered model is from the true one: tilt, heading, scale, offset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.geo import GeoFrame
from voxterra.core.transforms import camera_center
from voxterra.errors import InputError

Float = NDArray[np.float64]


@dataclass(frozen=True)
class FrameError:
    """Delivered against true frame, at the centroid of the cameras.

    Attributes:
        tilt_deg: angle between delivered and true up [deg].
        heading_deg: turn about up, positive when the delivered model is turned clockwise seen
            from above [deg].
        scale_ratio: a delivered length over the true one.
        offset_m: (east, north, up) of delivered minus true position [m].
        shape_rmse_m: difference of the camera centres after a similarity fit [m].
    """

    tilt_deg: float
    heading_deg: float
    scale_ratio: float
    offset_m: tuple[float, float, float]
    shape_rmse_m: float


def evaluate_frame(
    delivered_cam_from_world: Float,
    delivered_frame: GeoFrame,
    truth_cam_from_world: Float,
    truth_frame: GeoFrame,
) -> FrameError:
    """Compare cameras through longitude, latitude and ellipsoidal height.

    Tilt and heading come from the cameras' rotations, so that they are sound for a straight
    flight too; scale and offset from their centres.

    Args:
        delivered_cam_from_world: (N, 3, 4) rigid, N >= 2, in the delivered frame.
        delivered_frame: on Earth.
        truth_cam_from_world: (N, 3, 4) true ones of the same photos in `truth_frame`.
        truth_frame: on Earth.

    Raises:
        GeoError: one of the frames is local.
        InputError: fewer than 2 cameras, or all at one place.
    """
    truth = camera_center(np.asarray(truth_cam_from_world, np.float64))
    spread = truth - truth.mean(0)
    if len(truth) < 2 or not (spread**2).sum() > 0:
        raise InputError(
            "The frames cannot be compared: 2 or more cameras apart are needed.",
            next_step="Check that the photos of RUN and TRUTH have the same names.",
        )
    in_world = camera_center(np.asarray(delivered_cam_from_world, np.float64))
    delivered = truth_frame.from_lonlat(delivered_frame.to_lonlat(in_world))
    rotation = _mean_turn(
        delivered_cam_from_world[:, :, :3], delivered_frame, truth_cam_from_world, truth_frame
    )
    turned, moved = spread @ rotation.T, delivered - delivered.mean(0)
    scale = float((turned * moved).sum() / (turned**2).sum())
    if scale <= 0:
        raise InputError(
            "The frames cannot be compared: the delivered model is mirrored.",
            next_step="Check that TRUTH belongs to this run: voxterra eval poses RUN TRUTH.",
        )
    up = rotation[:, 2]
    heading = np.arctan2(rotation[0, 1] - rotation[1, 0], rotation[0, 0] + rotation[1, 1])
    offset = delivered.mean(0) - truth.mean(0)
    shape = (scale * turned - moved) / scale
    return FrameError(
        float(np.degrees(np.arctan2(np.hypot(up[0], up[1]), up[2]))),
        float(np.degrees(heading)),
        scale,
        (float(offset[0]), float(offset[1]), float(offset[2])),
        float(np.sqrt((shape**2).sum(1).mean())),
    )


def _mean_turn(
    delivered_rotations: Float,
    delivered_frame: GeoFrame,
    truth_cam_from_world: Float,
    truth_frame: GeoFrame,
) -> Float:
    """(3, 3) mean rotation of the delivered model in the true world (chordal mean)."""
    ecef_from_truth = truth_frame.ecef_from_world_matrix()[:3, :3]
    ecef_from_delivered = delivered_frame.ecef_from_world_matrix()[:3, :3]
    delivered = delivered_rotations @ ecef_from_delivered.T @ ecef_from_truth
    turns = np.einsum("nji,njk->ik", delivered, truth_cam_from_world[:, :, :3])
    u, _, vt = np.linalg.svd(turns)
    rotation: Float = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    return rotation
