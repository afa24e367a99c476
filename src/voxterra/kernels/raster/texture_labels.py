"""Choosing one photo for each face: min-sum belief propagation on the graph of faces."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

DAMPING = 0.5


@njit(cache=True)
def _belief(f, cost, messages, out):
    for k in range(cost.shape[1]):
        total = cost[f, k]
        for side in range(3):
            total += messages[f, side, k]
        out[k] = total


@njit(cache=True, parallel=True)
def send_messages(view, cost, neighbour, neighbour_side, seam_cost, messages, sent):
    """One synchronous round of Potts messages (Felzenszwalb & Huttenlocher 2006).

    Args:
        view: (F, K) candidate photos, -1 = none; cost: (F, K), inf where none.
        neighbour: (F, 3) face across each side, -1 = none; neighbour_side: (F, 3) its side.
        seam_cost: (F, 3) cost of different photos across a side.
        messages: (F, 3, K) what came in over each side; sent: (F, 3, K) filled with the next.
    """
    count = cost.shape[1]
    for f in prange(len(view)):
        belief = np.empty(count)
        _belief(f, cost, messages, belief)
        for side in range(3):
            g = neighbour[f, side]
            if g < 0:
                continue
            back = neighbour_side[f, side]
            lowest = np.inf
            for k in range(count):
                if view[f, k] >= 0:
                    lowest = min(lowest, belief[k] - messages[f, side, k])
            if lowest == np.inf:  # a face without photos has no say
                continue
            for m in range(count):
                value = lowest + seam_cost[f, side]
                for k in range(count):
                    if view[f, k] >= 0 and view[f, k] == view[g, m]:
                        value = min(value, belief[k] - messages[f, side, k])
                fresh = value - lowest
                sent[g, back, m] = DAMPING * messages[g, back, m] + (1.0 - DAMPING) * fresh


@njit(cache=True)
def best_beliefs(view, cost, messages):
    """(F,) photo of lowest belief, -1 for faces without candidates."""
    labels = np.full(len(view), -1, np.int32)
    for f in range(len(view)):
        belief = np.empty(cost.shape[1])
        _belief(f, cost, messages, belief)
        lowest = np.inf
        for k in range(cost.shape[1]):
            if view[f, k] >= 0 and belief[k] < lowest:
                lowest = belief[k]
                labels[f] = view[f, k]
    return labels


@njit(cache=True)
def sweep(view, cost, neighbour, seam_cost, labels):
    """One pass of iterated conditional modes (Besag 1986) in place; the number of changes."""
    changes = 0
    for f in range(len(view)):
        best, lowest = labels[f], np.inf
        for k in range(view.shape[1]):
            if view[f, k] < 0:
                continue
            value = cost[f, k]
            for side in range(3):
                g = neighbour[f, side]
                if g >= 0 and labels[g] >= 0 and labels[g] != view[f, k]:
                    value += seam_cost[f, side]
            if value < lowest:
                lowest, best = value, view[f, k]
        if best != labels[f]:
            labels[f] = best
            changes += 1
    return changes
