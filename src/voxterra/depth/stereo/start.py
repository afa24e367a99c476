"""First planes of a view, from the sparse points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from scipy.spatial import QhullError

from voxterra.core.camera import PinholeView
from voxterra.depth.stereo.neighbours import Prior


def planes_from_points(
    prior: Prior, full_view: PinholeView, view: PinholeView
) -> NDArray[np.float32]:
    """(H, W, 3) planes of `view` by interpolating inverse depth between the sparse points.

    Linear over the Delaunay triangulation of the points' pixels, nearest outside.

    Args:
        prior: pixels at the size of `full_view`.
        view: `full_view` at the size of the result.
    """
    size = np.array([view.width / full_view.width, view.height / full_view.height])
    pixels = prior.pixels * size - 0.5
    w = np.clip(1.0 / prior.depths, *prior.w_range)
    x, y = np.meshgrid(np.arange(view.width), np.arange(view.height))
    inverse = NearestNDInterpolator(pixels, w)(x, y)
    if len(w) >= 4:
        try:
            linear = LinearNDInterpolator(pixels, w)(x, y)
            inverse = np.where(np.isnan(linear), inverse, linear)
        except QhullError:  # points on one line
            pass
    gy, gx = np.gradient(inverse)
    # A jump between two points is no slope: keep what a surface at 75 degrees would have.
    limit = 4.0 * inverse / view.K[0, 0]
    return np.stack(
        [inverse, np.clip(gx, -limit, limit), np.clip(gy, -limit, limit)], axis=-1
    ).astype(np.float32)
