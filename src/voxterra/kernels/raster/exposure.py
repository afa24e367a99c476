"""Gains over an image, with a shoulder in the highlights."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

# Values up to here are multiplied by the gain, before and after; what is brighter is bent.
SHOULDER = 215.0
WHITE = 255.0


@njit(cache=True, inline="always")
def _bend(value, gain, low_in, low_out):
    """A monotone rational curve from (low_in, low_out), with the slope `gain`, to white."""
    t = (value - low_in) / (WHITE - low_in)
    slope = gain * (WHITE - low_in) / (WHITE - low_out)
    return low_out + (WHITE - low_out) * slope * t / (1.0 + (slope - 1.0) * t)


@njit(cache=True, inline="always")
def with_gain(value, gain):
    """A value [0, 255] times `gain`; towards white the curve bends, so that 255 stays 255.

    So no gain makes two different values equal, and what is burnt out is not turned grey. The
    curve for 1 / gain undoes it.
    """
    if gain >= 1.0:
        low = SHOULDER / gain
        return value * gain if value <= low else _bend(value, gain, low, SHOULDER)
    return value * gain if value <= SHOULDER else _bend(value, gain, SHOULDER, SHOULDER * gain)


@njit(cache=True, parallel=True)
def apply_gains(image, log_gain):
    """(H, W, 3) uint8 image with gains.

    Args:
        image: (H, W, 3) uint8.
        log_gain: (3, 3) of each channel: in the middle, across, down; see `core.exposure`.
    """
    height, width = image.shape[:2]
    out = np.empty_like(image)
    for row in prange(height):
        y = 2.0 * (row + 0.5) / height - 1.0
        for c in range(3):
            gain = np.exp(
                log_gain[c, 0] + log_gain[c, 1] * (1.0 / width - 1.0) + log_gain[c, 2] * y
            )
            step = np.exp(log_gain[c, 1] * 2.0 / width)
            for column in range(width):
                out[row, column, c] = np.uint8(with_gain(float(image[row, column, c]), gain) + 0.5)
                gain *= step
    return out
