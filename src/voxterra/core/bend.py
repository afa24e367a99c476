"""The bend of a model against recorded heights: bowls and domes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

# A bend is reported if it is this many of its standard deviations, and at least this large [m].
_SIGNIFICANT, _LEAST_M = 4.0, 0.1
_FEWEST = 12


def bend_m(centers: Float, gps: Float) -> float | None:
    """How far a model bends against the recorded heights from its middle to its edge [m].

    Nadir flights with a badly determined lens give a dome (negative: the edge is too low) or a bowl
    (James, Robson 2014). None where there is no such bend, or too few photos to detect it.

    Args:
        centers, gps: (N, 3) camera centres and recorded positions in the world, all of them used.
    """
    found = bend_and_noise_m(centers, gps)
    if found is None:
        return None
    bend, sigma, _ = found
    return bend if abs(bend) > max(_SIGNIFICANT * sigma, _LEAST_M) else None


def bend_and_noise_m(centers: Float, gps: Float) -> tuple[float, float, float] | None:
    """Bend, its standard deviation, and the noise of the heights about it [m], significant or not.

    None with too few photos, or on one line, where a bend is a slope.
    """
    if len(centers) < _FEWEST:
        return None
    xy = centers[:, :2] - centers[:, :2].mean(0)
    radius2 = (xy**2).sum(1)
    extent2 = float(radius2.max())
    if extent2 <= 0:
        return None
    design = np.column_stack([np.ones(len(xy)), xy / np.sqrt(extent2), radius2 / extent2])
    if np.linalg.cond(design) > 1e3:
        return None
    up = centers[:, 2] - gps[:, 2]
    solution, *_ = np.linalg.lstsq(design, up, rcond=None)
    variance = float(((up - design @ solution) ** 2).sum() / (len(up) - 4))
    sigma = float(np.sqrt(variance * np.linalg.inv(design.T @ design)[3, 3]))
    return float(solution[3]), sigma, float(np.sqrt(variance))


def shape_of_bend(bend: float) -> str:
    """ "dome" or "bowl"."""
    return "dome" if bend < 0 else "bowl"
