"""A solver for the smooth fields of texturing: all colour channels in one go."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix


def conjugate_gradients(
    matrix: csr_matrix,
    right: NDArray[np.float64],
    start: NDArray[np.float64],
    *,
    accuracy: float,
    rounds: int = 400,
) -> NDArray[np.float64]:
    """Solution (N, C) of a symmetric positive definite system for C right-hand sides at once.

    Jacobi-preconditioned conjugate gradients, stopped when no entry of the preconditioned
    residual exceeds `accuracy` [units of the solution] or after `rounds`.
    """
    inverse = (1.0 / matrix.diagonal())[:, None]
    x = start.astype(np.float64).copy()
    residual = right - matrix @ x
    z = inverse * residual
    direction = z.copy()
    power = np.einsum("nc,nc->c", residual, z)
    for _ in range(rounds):
        if np.abs(z).max(initial=0.0) <= accuracy:
            break
        image = matrix @ direction
        step = power / np.maximum(np.einsum("nc,nc->c", direction, image), 1e-300)
        x += step * direction
        residual -= step * image
        z = inverse * residual
        fresh = np.einsum("nc,nc->c", residual, z)
        direction = z + (fresh / np.maximum(power, 1e-300)) * direction
        power = fresh
    return x
