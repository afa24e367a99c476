"""Sums of gradients in fixed order, on the CPU: entries to voxels, voxels to corners."""

import math

import numpy as np
from numba import njit, prange

from voxterra.kernels.voxels import math as vm
from voxterra.kernels.voxels.math import F0, F1

_TINY = np.float32(1e-20)


@njit(parallel=True, cache=True)
def sum_slots(gradient, touched, slot_start, out):
    """out [N, 16]: sum of each voxel's touched slots."""
    for v in prange(len(out)):
        total = out[v]
        total[:] = F0
        for s in range(slot_start[v], slot_start[v + 1]):
            if touched[s]:
                for k in range(16):
                    total[k] += gradient[s, k]


@njit(parallel=True, cache=True)
def largest_slot(weight, entry_slot, slot_start, out):
    """out [N]: largest weight of each voxel's entries."""
    by_slot = np.empty(len(weight), np.float32)
    for e in prange(len(weight)):
        by_slot[entry_slot[e]] = weight[e]
    for v in prange(len(out)):
        largest = F0
        for s in range(slot_start[v], slot_start[v + 1]):
            largest = max(largest, by_slot[s])
        out[v] = largest


@njit(parallel=True, fastmath={"nsz"}, error_model="numpy", cache=True)
def chain_voxels(grad_record, record, by_corner, grad_rgb):
    """by_corner [N, 8]: gradients of the corners' distances with the normal's; grad_rgb [N, 3]:
    those of the colours, none where the colour was clamped at 0."""
    for v in prange(len(record)):
        g, r, out = grad_record[v], record[v], by_corner[v]
        for c in range(8):
            out[c] = g[vm.G_SDF + c]
        for k in range(3):
            grad_rgb[v, k] = g[vm.G_RGB + k] if r[vm.R_RGB + k] > F0 else F0
        nx, ny, nz = g[vm.G_NORMAL], g[vm.G_NORMAL + 1], g[vm.G_NORMAL + 2]
        if nx == F0 and ny == F0 and nz == F0:
            continue
        s0, s1, s2, s3 = r[4], r[5], r[6], r[7]
        s4, s5, s6, s7 = r[8], r[9], r[10], r[11]
        dx = (s4 + s5 + s6 + s7) - (s0 + s1 + s2 + s3)
        dy = (s2 + s3 + s6 + s7) - (s0 + s1 + s4 + s5)
        dz = (s1 + s3 + s5 + s7) - (s0 + s2 + s4 + s6)
        square = dx * dx + dy * dy + dz * dz
        if square <= _TINY:
            continue
        scale = F1 / math.sqrt(square)
        ux, uy, uz = r[vm.R_NORMAL], r[vm.R_NORMAL + 1], r[vm.R_NORMAL + 2]
        along = nx * ux + ny * uy + nz * uz
        gx, gy, gz = (nx - along * ux) * scale, (ny - along * uy) * scale, (nz - along * uz) * scale
        for c in range(8):
            out[c] += (gx if c & 4 else -gx) + (gy if c & 2 else -gy) + (gz if c & 1 else -gz)


@njit(parallel=True, cache=True)
def sum_corners(by_corner, corner_start, corner_slot, grad_sdf):
    """grad_sdf [M]: sum over the voxels around each corner (rows of a CSR table)."""
    for m in prange(len(grad_sdf)):
        total = F0
        for j in range(corner_start[m], corner_start[m + 1]):
            total += by_corner[corner_slot[j]]
        grad_sdf[m] = total
