"""The state of a bucket's pixels (`lanes` says how it lies in memory), and of one of its voxels."""

import numpy as np
from numba import njit

from voxterra.kernels.voxels import math as vm
from voxterra.kernels.voxels.cpu.lanes import coefficients, lane
from voxterra.kernels.voxels.math import DIRECTION_MIN, EXACT, F0, F1, octant_of

TILE = 16
PIXELS = TILE * TILE


def _plane(k: int) -> np.uint64:
    return np.uint64(k * PIXELS)


# Planes of both passes: inverse direction, direction, transmittance ...
IX, IY, IZ, DX, DY, DZ, T = (_plane(k) for k in range(7))
# ... index of the last entry within the bucket ...
LAST = _plane(7)
# ... of the forward pass: sums, and the transmittance before the latest entry ...
RED, GREEN, BLUE, DEPTH, DISTORTION, NX, NY, NZ, RGB2, BEFORE, MEDIAN, RISE = (
    _plane(k) for k in range(8, 20)
)
# ... of the backward pass: light and depth behind the entry, totals, and the pixel's gradients.
BEHIND, DEPTH_BEFORE, T_END, DEPTH_ALL = (_plane(k) for k in range(8, 12))
(G_RED, G_GREEN, G_BLUE, G_DEPTH, G_NX, G_NY, G_NZ, G_RGB2, G_DISTORTION, G_MEDIAN, CROSSED,
 G_RISE) = (_plane(k) for k in range(12, 24))  # fmt: skip
STATE = 24 * PIXELS
"""Size of the array."""


@njit(fastmath=EXACT, error_model="numpy", cache=True)
def start_tile(state, camera, x0, y0, width, height, octant):
    """Set up the rays of a tile; pixels outside the image or of another octant get T = 0.

    Returns the number of pixels with T = 1.
    """
    state[:] = F0
    live = 0
    for row in range(TILE):
        for column in range(TILE):
            x, y = x0 + column, y0 + row
            p = row * TILE + column
            u = (np.float32(x) + vm.HALF - camera[vm.C_CX]) / camera[vm.C_FX]
            v = (np.float32(y) + vm.HALF - camera[vm.C_CY]) / camera[vm.C_FY]
            dx = camera[0] * u + camera[1] * v + camera[2]
            dy = camera[3] * u + camera[4] * v + camera[5]
            dz = camera[6] * u + camera[7] * v + camera[8]
            for axis, d in enumerate((dx, dy, dz)):
                flip = -F1 if (octant >> (2 - axis)) & 1 else F1
                state[PIXELS * axis + p] = F1 / (flip * max(abs(d), DIRECTION_MIN))
                state[PIXELS * (3 + axis) + p] = d
            if x < width and y < height and octant_of(dx, dy, dz) == octant:
                state[PIXELS * 6 + p] = F1
                live += 1
            state[PIXELS * 7 + p] = -F1
    return live


@lane
def near_face(lo, size, origin, negative):
    """Where rays enter a voxel along one axis, relative to their origin."""
    return (lo + size if negative else lo) - origin


@lane
def far_face(lo, size, origin, negative):
    """Where rays leave a voxel along one axis, relative to their origin."""
    return (lo if negative else lo + size) - origin


@lane
def load_box(record, camera, octant):
    """A voxel's faces for the rays of one octant, and the rays' origin in units of its edge.

    Returns (near x, y, z, far x, y, z, origin x, y, z, 1 / edge).
    """
    lx, ly, lz, size = record[0], record[1], record[2], record[3]
    cx, cy, cz = camera[vm.C_CENTER], camera[vm.C_CENTER + 1], camera[vm.C_CENTER + 2]
    inverse = F1 / size
    bx, by, bz = octant & 4, octant & 2, octant & 1
    return (
        near_face(lx, size, cx, bx),
        near_face(ly, size, cy, by),
        near_face(lz, size, cz, bz),
        far_face(lx, size, cx, bx),
        far_face(ly, size, cy, by),
        far_face(lz, size, cz, bz),
        (cx - lx) * inverse,
        (cy - ly) * inverse,
        (cz - lz) * inverse,
        inverse,
    )


@lane
def load_field(record):
    """Coefficients of a voxel's signed distance."""
    return coefficients(
        record[4], record[5], record[6], record[7], record[8], record[9], record[10], record[11]
    )
