"""Robust figures of errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def nmad(errors: NDArray[np.floating]) -> float:
    """Normalised median absolute deviation: 1.4826 median |e - median e|.

    Equals the standard deviation of normal errors and ignores outliers (Höhle and Höhle 2009).
    """
    errors = np.asarray(errors, np.float64)
    return float(1.4826 * np.median(np.abs(errors - np.median(errors))))
