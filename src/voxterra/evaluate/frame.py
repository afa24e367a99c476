"""How far the frame of a delivered model is from the true one: tilt, heading, scale, offset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.geo import GeoFrame
from voxterra.core.transforms import fit_similarity
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
        shape_rmse_m: what the camera centres differ by after a similarity fit [m].
    """

    tilt_deg: float
    heading_deg: float
    scale_ratio: float
    offset_m: tuple[float, float, float]
    shape_rmse_m: float


def evaluate_frame(
    delivered_in_world: Float,
    delivered_frame: GeoFrame,
    truth_in_world: Float,
    truth_frame: GeoFrame,
) -> FrameError:
    """Compare camera centres through longitude, latitude and ellipsoidal height.

    Args:
        delivered_in_world: (N, 3) centres in the delivered frame, N >= 3, not on one line.
        delivered_frame: on Earth.
        truth_in_world: (N, 3) true centres of the same photos in `truth_frame`.
        truth_frame: on Earth.

    Raises:
        GeoError: one of the frames is local.
        InputError: fewer than 3 cameras, or all at one place.
    """
    truth = np.asarray(truth_in_world, np.float64)
    delivered = truth_frame.from_lonlat(delivered_frame.to_lonlat(delivered_in_world))
    try:
        fit = fit_similarity(truth, delivered)
    except ValueError as error:
        raise InputError(f"The frames cannot be compared: {error}.") from error
    up = fit.rotation[:, 2]
    heading = np.arctan2(
        fit.rotation[0, 1] - fit.rotation[1, 0], fit.rotation[0, 0] + fit.rotation[1, 1]
    )
    offset = delivered.mean(0) - truth.mean(0)
    shape = (fit.apply(truth) - delivered) / fit.scale
    return FrameError(
        float(np.degrees(np.arctan2(np.hypot(up[0], up[1]), up[2]))),
        float(np.degrees(heading)),
        fit.scale,
        (float(offset[0]), float(offset[1]), float(offset[2])),
        float(np.sqrt((shape**2).sum(1).mean())),
    )
