"""Scalar mathematics of the training's kernels, compiled for the CPU and for CUDA alike.

Float32 scalars in and out, as in `voxels.math`.
"""

import math

import numpy as np

from voxterra.kernels.voxels.math import F0, F1, HALF, scalar

LENGTH_MIN = np.float32(1e-12)
"""Gradients shorter than this have no direction."""
QUARTER = np.float32(0.25)
TWO = np.float32(2.0)
THREE = np.float32(3.0)
_MASK = np.uint64(0xFFFFFFFF)


@scalar
def chosen(seed, voxel):
    """Whether a voxel is in the random half that belongs to a seed (a 32-bit integer hash)."""
    x = (np.uint64(voxel) * np.uint64(0x9E3779B1) + np.uint64(seed) * np.uint64(0x85EBCA6B)) & _MASK
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(0x7FEB352D)) & _MASK
    x ^= x >> np.uint64(15)
    x = (x * np.uint64(0x846CA68B)) & _MASK
    x ^= x >> np.uint64(16)
    return (x & np.uint64(1)) == np.uint64(1)


@scalar
def lattice_axis(sdf, lower, upper, center, inverse):
    """(known, slope, second difference) along an axis of the lattice, both without unit.

    Args:
        sdf: distances of the corners, world units.
        lower, upper: corners beside the central one, -1 where missing.
        center: distance of the central corner.
        inverse: 1 / distance of the neighbours.
    """
    if lower < 0 or upper < 0:
        return False, F0, F0
    a, b = sdf[lower], sdf[upper]
    return True, (b - a) * inverse * HALF, (a + b - TWO * center) * inverse


@scalar
def unit_length(gx, gy, gz):
    """((|g| - 1)^2, and its derivative divided by the components of g)."""
    length = math.sqrt(gx * gx + gy * gy + gz * gz)
    off = length - F1
    factor = TWO * off / length if length > LENGTH_MIN else F0
    return off * off, factor


@scalar
def center_gradient(f0, f1, f2, f3, f4, f5, f6, f7, inverse_size):
    """Gradient of the trilinear function at the centre of a voxel; corner c = 4x + 2y + z."""
    k = QUARTER * inverse_size
    gx = (f4 + f5 + f6 + f7 - f0 - f1 - f2 - f3) * k
    gy = (f2 + f3 + f6 + f7 - f0 - f1 - f4 - f5) * k
    gz = (f1 + f3 + f5 + f7 - f0 - f2 - f4 - f6) * k
    return gx, gy, gz


@scalar
def signed_sum(c, gx, gy, gz):
    """Sum of three numbers, each negated where corner c lies on the lower side of its axis."""
    sx = gx if c & 4 else -gx
    sy = gy if c & 2 else -gy
    sz = gz if c & 1 else -gz
    return sx + sy + sz


@scalar
def squared_edges(f0, f1, f2, f3, f4, f5, f6, f7):
    """Sum of the squared differences along the 12 edges of a voxel."""
    a, b, c, d = f4 - f0, f5 - f1, f6 - f2, f7 - f3
    total = a * a + b * b + c * c + d * d
    a, b, c, d = f2 - f0, f3 - f1, f6 - f4, f7 - f5
    total += a * a + b * b + c * c + d * d
    a, b, c, d = f1 - f0, f3 - f2, f5 - f4, f7 - f6
    return total + (a * a + b * b + c * c + d * d)


@scalar
def adam_step(p, g, m, v, rate, beta1, beta2, root2, eps):
    """(parameter, first moment, second moment) after a step of Adam.

    Args:
        p, g, m, v: parameter, gradient and moments.
        rate: learning rate / (1 - beta1^step).
        beta1, beta2: decays of the moments.
        root2: 1 / sqrt(1 - beta2^step).
        eps: added to the root of the second moment.
    """
    m = beta1 * m + (F1 - beta1) * g
    v = beta2 * v + (F1 - beta2) * g * g
    return p - rate * m / (math.sqrt(v) * root2 + eps), m, v
