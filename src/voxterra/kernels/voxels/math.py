"""Scalar mathematics of the sparse-voxel renderer, compiled for the CPU and for CUDA alike.

Every function takes and returns float32 scalars. The CPU kernels call them as they are; Numba
compiles them again for the GPU when a CUDA kernel calls them. Constants are float32, so that no
expression is promoted to float64.

The model (SVRecon, arXiv 2511.17364; SVRaster, arXiv 2412.04459; NeuS, arXiv 2106.10689 for the
opacity): a voxel holds signed distances at its 8 corners, positive in free space, trilinear inside.
A ray that crosses it from depth t0 to t1 meets the distances f_in and f_out there; with
Phi(f) = sigmoid(s f) the segment's opacity is (Phi(f_in) - Phi(f_out)) / Phi(f_in), at least 0.

Corner c = 4x + 2y + z of a voxel lies at (x, y, z) of its edges. A ray is origin + t * direction,
with the direction scaled so that t is the depth along the optical axis.
"""

import math

import numpy as np
from numba import njit

F0 = np.float32(0.0)
F1 = np.float32(1.0)
HALF = np.float32(0.5)
OPACITY_EPS = np.float32(1e-6)
"""Added to both sides of the opacity's fraction."""
ALPHA_MIN = np.float32(1e-5)
"""Segments less opaque than this are skipped."""
TRANSMITTANCE_MIN = np.float32(1e-4)
"""A ray ends where less light than this is left."""
DIRECTION_MIN = np.float32(1e-12)

# Layout of a voxel's record (float32) ...
R_LO, R_SIZE, R_SDF, R_RGB, R_NORMAL, R_RGB2, R_SHARPNESS, RECORD = 0, 3, 4, 12, 15, 18, 19, 20
# ... of its gradient; G_PRIORITY sums |alpha dL/dalpha|, G_SHARPNESS is dL/ds ...
G_SDF, G_RGB, G_NORMAL, G_PRIORITY, G_SHARPNESS, GRADIENT = 0, 8, 11, 14, 15, 16
# ... of a pixel: colour, transmittance, mean depth (sum w t), median depth, normal (sum w n),
# second moment of the colour (sum w |c|^2), distortion, rise of the distance in front of the median
# depth [voxels] ...
(P_RGB, P_T, P_DEPTH, P_MEDIAN, P_NORMAL, P_RGB2, P_DISTORTION, P_RISE, PIXEL) = (
    0, 3, 4, 5, 6, 9, 10, 11, 12,
)  # fmt: skip
# ... and of a camera: world_from_cam rotation (row-major), centre in world, fx, fy, cx, cy [px],
# width, height [px], nearest depth.
C_ROTATION, C_CENTER, C_FX, C_FY, C_CX, C_CY, C_WIDTH, C_HEIGHT, C_NEAR, CAMERA = (
    0, 9, 12, 13, 14, 15, 16, 17, 18, 20,
)  # fmt: skip

# Optional outputs of a pixel, for `features`: what is left out is 0 and gets no gradient. Colour,
# transmittance and mean depth are always there. F_ALL is what a picture can be made of; the rise,
# which also needs `prepare` with `cull=False`, only a training asks for.
F_NORMAL, F_MEDIAN, F_RGB2, F_DISTORTION, F_ALL, F_RISE = 1, 2, 4, 8, 15, 16

EXACT = {"nnan", "ninf", "nsz"}
"""Freedoms of the CPU's compiler: none that changes how a number is rounded. Fused or reordered
arithmetic comes out another way in every place that a function is inlined to, and Numba runs one
copy of it in the process that compiled it and another in those that load it from the cache."""
scalar = njit(cache=True, fastmath=EXACT, error_model="numpy")
"""Compiler of a scalar function for the CPU; CUDA kernels may call the result too."""


@scalar
def sigmoid(x):
    """1 / (1 + exp(-x)); saturates without overflow."""
    x = min(max(x, np.float32(-60.0)), np.float32(60.0))
    return F1 / (F1 + math.exp(-x))


@scalar
def inverse_direction(d):
    """1 / d, finite also where the ray runs along a face."""
    if abs(d) < DIRECTION_MIN:
        d = DIRECTION_MIN
    return F1 / d


@scalar
def trilinear(c0, c1, c2, c3, c4, c5, c6, c7, x, y, z):
    """Value at (x, y, z) in [0, 1]^3 between the 8 corner values."""
    c0 += (c1 - c0) * z
    c2 += (c3 - c2) * z
    c4 += (c5 - c4) * z
    c6 += (c7 - c6) * z
    c0 += (c2 - c0) * y
    c4 += (c6 - c4) * y
    return c0 + (c4 - c0) * x


@scalar
def through(phi_in, phi_out):
    """Light that passes a segment, 1 - alpha, in (0, 1]; never exactly 0."""
    return min((phi_out + OPACITY_EPS) / (phi_in + OPACITY_EPS), F1)


@scalar
def product_min(g_low, g_high, d_low, d_high):
    """Smallest product of two numbers in two intervals."""
    a, b, c, d = g_low * d_low, g_low * d_high, g_high * d_low, g_high * d_high
    return min(min(a, b), min(c, d))


@scalar
def seen_from_behind(ax, ay, az, size, c0, c1, c2, c3, c4, c5, c6, c7):
    """Whether the distance rises along every ray through the voxel, which then is transparent.

    The gradient of a trilinear function lies between its differences along the 4 edges of each
    direction, and the rays' directions between those to the corners (a = lower corner less the
    camera's centre): interval arithmetic on their dot product.
    """
    x0, x1, x2, x3 = c4 - c0, c5 - c1, c6 - c2, c7 - c3
    y0, y1, y2, y3 = c2 - c0, c3 - c1, c6 - c4, c7 - c5
    z0, z1, z2, z3 = c1 - c0, c3 - c2, c5 - c4, c7 - c6
    low = product_min(min(min(x0, x1), min(x2, x3)), max(max(x0, x1), max(x2, x3)), ax, ax + size)
    low += product_min(min(min(y0, y1), min(y2, y3)), max(max(y0, y1), max(y2, y3)), ay, ay + size)
    low += product_min(min(min(z0, z1), min(z2, z3)), max(max(z0, z1), max(z2, z3)), az, az + size)
    return low > F0


@scalar
def transparent(s, c0, c1, c2, c3, c4, c5, c6, c7):
    """Whether no ray can lose as much as ALPHA_MIN between the largest and smallest distance."""
    low = min(min(min(c0, c1), min(c2, c3)), min(min(c4, c5), min(c6, c7)))
    high = max(max(max(c0, c1), max(c2, c3)), max(max(c4, c5), max(c6, c7)))
    return F1 - through(sigmoid(s * high), sigmoid(s * low)) < HALF * ALPHA_MIN


@scalar
def median_fraction(phi_in, f_in, f_out, transmittance, sharpness):
    """Where in the segment [0, 1] the transmittance passes 1/2 (f taken as linear along it).

    Args:
        phi_in, f_in, f_out: of the segment, f_in > f_out.
        transmittance: in front of the segment, > 1/2.
        sharpness: s of the voxel.
    """
    phi = HALF * (phi_in + OPACITY_EPS) / transmittance - OPACITY_EPS
    phi = min(max(phi, np.float32(1e-7)), np.float32(1.0 - 1e-6))
    f = math.log(phi / (F1 - phi)) / sharpness
    return min(max((f_in - f) / (f_in - f_out), F0), F1)


@scalar
def share_left(phi, phi_out, inverse_drop):
    """Of the light that a segment stops, the share in [0, 1] not yet stopped at a place in it.

    With a segment cut into n parts of length d at such places, its depth, the mean of the parts'
    middles by the light they stop, is its middle + d * sum(share - 1/2) over the n - 1 cuts. The
    products of what passes the parts are what passes the segment, for any n.

    Args:
        phi, phi_out: Phi(f) at the place, and where the ray leaves.
        inverse_drop: 1 / (phi_in - phi_out) of the segment, phi_in > phi_out.
    """
    return min(max((phi - phi_out) * inverse_drop, F0), F1)


@scalar
def octant_of(dx, dy, dz):
    """Sign octant of a direction: bit set where negative; x, y, z = 4, 2, 1."""
    return (4 if dx < F0 else 0) + (2 if dy < F0 else 0) + (1 if dz < F0 else 0)
