"""Messages between coarse cells of a raster about the photos that are to colour them."""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True)
def _seam_cost(photo, color, r, c, k, s, d, m, level, length, most):
    """Cost of candidate k of cell (r, c) beside candidate m of cell (s, d)."""
    if photo[r, c, k] == photo[s, d, m]:
        return 0.0
    total, compared = 0.0, 0
    for other in range(photo.shape[2]):
        here, there = photo[r, c, other] == photo[s, d, m], photo[s, d, other] == photo[r, c, k]
        largest, at_neighbour = 0.0, 0.0
        for channel in range(3):
            if here:
                gap = abs(float(color[r, c, k, channel]) - float(color[r, c, other, channel]))
                largest = max(largest, gap)
            if there:
                gap = abs(float(color[s, d, m, channel]) - float(color[s, d, other, channel]))
                at_neighbour = max(at_neighbour, gap)
        total += largest + at_neighbour
        compared += int(here) + int(there)
    if compared == 0:
        return most
    return length + min(total / (compared * level), most)


@njit(cache=True, parallel=True)
def send_messages(photo, color, cost, seam, messages, sent):
    """One synchronous round of min-sum messages (Felzenszwalb & Huttenlocher 2006) on a grid.

    A seam between two cells costs by how much their two photos differ in both cells, where both
    are candidates there.

    Args:
        photo: (H, W, K) int32 photo of each candidate, -1 = none; there are none after the first.
        color: (H, W, K, 3) uint8 of the candidates.
        cost: (H, W, K) float32 of each candidate by itself.
        seam: difference of colours that costs 1, cost of any seam, and the most that a difference
            costs; as much costs a seam where there is nothing to compare.
        messages: (4, H, W, K) float32 what came in from above, below, left and right.
        sent: (4, H, W, K) filled with the next.
    """
    height, width, count = photo.shape
    level, length, most = seam
    for number in prange(height):
        r = np.int64(number)  # an unsigned number less 1 would be no whole number
        belief = np.empty(count)
        for c in range(width):
            if photo[r, c, 0] < 0:
                continue
            for side in range(4):
                # To the neighbour that this cell lies above, below, left or right of.
                s = r + 1 if side == 0 else (r - 1 if side == 1 else r)
                d = c + 1 if side == 2 else (c - 1 if side == 3 else c)
                if s < 0 or s >= height or d < 0 or d >= width:
                    continue
                for k in range(count):
                    belief[k] = cost[r, c, k]
                    for other in range(4):
                        if other != side ^ 1:
                            belief[k] += messages[other, r, c, k]
                least = np.inf
                for m in range(count):
                    if photo[s, d, m] < 0:
                        break
                    value = np.inf
                    for k in range(count):
                        if photo[r, c, k] >= 0 and belief[k] < value:
                            between = _seam_cost(
                                photo, color, r, c, k, s, d, m, level, length, most
                            )
                            value = min(value, belief[k] + between)
                    sent[side, s, d, m] = value
                    least = min(least, value)
                for m in range(count):
                    if photo[s, d, m] >= 0:
                        sent[side, s, d, m] -= least
