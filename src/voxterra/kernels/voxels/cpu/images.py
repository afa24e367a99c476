"""Windows over images on the CPU, for the losses."""

import numpy as np
from numba import njit, prange

_ROWS = 16
"""Rows of one parallel piece."""


@njit(cache=True, parallel=True, fastmath={"nsz"})
def blur(maps, weights, padding, out):
    """Separable weighted sums: out [C, H', W'] of maps [C, H, W], 0 beyond their border.

    Args:
        maps: read.
        weights: [n] of rows and columns alike.
        padding: columns and rows of 0 around `maps`; H' = H + 2 padding - n + 1, W' likewise.
        out: written.
    """
    channels, height, width = maps.shape
    rows, columns, taps = out.shape[1], out.shape[2], len(weights)
    pieces = (rows + _ROWS - 1) // _ROWS
    for piece in prange(channels * pieces):
        channel, first = piece // pieces, piece % pieces * _ROWS
        line = np.zeros(width + 2 * padding, maps.dtype)
        middle = line[padding : padding + width]
        for row in range(first, min(rows, first + _ROWS)):
            middle[:] = 0
            for k in range(max(0, padding - row), min(taps, height + padding - row)):
                weight, source = weights[k], maps[channel, row + k - padding]
                for i in range(width):
                    middle[i] += weight * source[i]
            target = out[channel, row]
            target[:] = 0
            for k in range(taps):
                weight, source = weights[k], line[k : k + columns]
                for i in range(columns):
                    target[i] += weight * source[i]
