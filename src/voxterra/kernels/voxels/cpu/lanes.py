"""Rows of 8 pixels at once: the arithmetic that LLVM turns into vector instructions.

A bucket's pixels live in one flat float32 array of planes of 16x16 values, so that all addresses
in an inner loop differ by constants: with several arrays, or with two-dimensional indexing, the
loops are not vectorised. Indices are uint64, which spares the test for negative ones; every
constant is float32, because one 64-bit value halves the width.
"""

import numpy as np
from numba import njit

from voxterra.kernels.voxels.math import EXACT, F0, F1, OPACITY_EPS

LANES = np.uint64(8)
"""Pixels of one step; two steps cover a row of a tile."""
lane = njit(fastmath=EXACT, error_model="numpy", forceinline=True, cache=True)
"""Compiler of what is inlined into a loop over lanes."""

_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)
_E2, _E3 = np.float32(5.0000001201e-1), np.float32(1.6666665459e-1)
_E4, _E5 = np.float32(4.1665795894e-2), np.float32(8.3334519073e-3)
_E6, _E7 = np.float32(1.3981999507e-3), np.float32(1.9875691500e-4)
_HALF = np.float32(0.5)
_LIMIT = np.float32(60.0)
TINY = np.float32(1e-30)
"""Least divisor of what a condition throws away afterwards."""


@njit(fastmath=EXACT, error_model="numpy", forceinline=True, cache=True)
def exp(x):
    """e**x for |x| <= 80, to 1e-7 relative (polynomial of Cephes' expf)."""
    n = np.floor(x * _LOG2E + _HALF)
    r = x - n * _LN2_HIGH
    r = r - n * _LN2_LOW
    p = ((((_E7 * r + _E6) * r + _E5) * r + _E4) * r + _E3) * r + _E2
    p = p * (r * r) + r + F1
    return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(fastmath=EXACT | {"reassoc"}, error_model="numpy", forceinline=True, cache=True)
def tally(total, more):
    """Their sum, formed by the lanes in any order: a count, or what is only compared with 0."""
    return total + more


@lane
def falloff(x):
    """e**-x, saturated like `math.sigmoid`: the latter is 1 / (1 + falloff)."""
    return exp(-min(max(x, -_LIMIT), _LIMIT))


@lane
def transmission(phi_in, phi_out):
    """`math.through`, inlined."""
    return min((phi_out + OPACITY_EPS) / (phi_in + OPACITY_EPS), F1)


@lane
def unit(start, step, t):
    """Coordinate in [0, 1] at depth t, along one axis of a voxel of edge 1."""
    return min(max(start + t * step, F0), F1)


@lane
def polynomial(a, ax, ay, az, axy, axz, ayz, axyz, x, y, z):
    """Trilinear interpolation from the coefficients of `coefficients`."""
    return ((axyz * x + ayz) * y + (axz * x + az)) * z + ((axy * x + ay) * y + (ax * x + a))


@lane
def coefficients(c0, c1, c2, c3, c4, c5, c6, c7):
    """Coefficients of 1, x, y, z, xy, xz, yz, xyz from the 8 corner values (4x + 2y + z)."""
    return (
        c0,
        c4 - c0,
        c2 - c0,
        c1 - c0,
        (c6 - c4) - (c2 - c0),
        (c5 - c4) - (c1 - c0),
        (c3 - c2) - (c1 - c0),
        ((c7 - c6) - (c5 - c4)) - ((c3 - c2) - (c1 - c0)),
    )
