"""Levelling of brightness and colour between photos that see the same surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DARKEST, BRIGHTEST = 8.0, 247.0
FEWEST_COMMON = 40
LARGEST_GAIN = 2.0


def exposure_gains(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """(V, 3) factors that make the photos agree, with geometric mean 1.

    Each pair of photos votes with the median ratio over the points both see; the logarithms of
    the gains solve the votes in the least-squares sense (as in Brown and Lowe 2007, "Automatic
    panoramic image stitching", section 6, with robust votes). Photos without a pair keep 1.

    Args:
        samples: (V, N, 3) colours 0..255 of N surface points in V photos, NaN where not seen.
    """
    views = len(samples)
    good: NDArray[np.bool_] = np.all((samples > DARKEST) & (samples < BRIGHTEST), axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.where(good[..., None], np.log(np.maximum(samples, 1.0)), 0.0)
    counts = good.astype(np.float32)
    common = counts @ counts.T
    # A weak wish for gain 1 fixes what the votes leave open.
    normal = np.eye(views) * 0.02
    right = np.zeros((views, 3))
    for i, j in np.argwhere(np.triu(common >= FEWEST_COMMON, 1)):
        both = good[i] & good[j]
        ratio = np.median(logs[j, both] - logs[i, both], axis=0)
        weight = min(1.0, common[i, j] / 500.0)
        normal[[i, j], [i, j]] += weight
        normal[[i, j], [j, i]] -= weight
        right[i] += weight * ratio
        right[j] -= weight * ratio
    gains = np.linalg.solve(normal, right)
    gains -= gains.mean(axis=0)
    limit = np.log(LARGEST_GAIN)
    return np.exp(np.clip(gains, -limit, limit))
