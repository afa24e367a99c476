"""Gradients of the grid's regularisers on the CPU: parallel, and the same bit for bit on any
number of threads, because every corner adds up what it gets in one fixed order."""

import numba
import numpy as np
from numba import njit, prange

from voxterra.kernels.voxels.math import F0, F1, HALF
from voxterra.kernels.voxels.train_math import (
    QUARTER,
    THREE,
    TWO,
    center_gradient,
    chosen,
    lattice_axis,
    signed_sum,
    squared_edges,
    unit_length,
)

BLOCK = 1024
"""Rows whose range of corners is kept."""
_kernel = njit(parallel=True, cache=True, error_model="numpy", boundscheck=False)


@_kernel
def _row_terms(sdf, stencil, h, start, count, terms, bounds, partial):
    """Per row: derivatives of the eikonal (3) and of the Laplacian (3) term toward the upper
    neighbours. Per block: first and last corner, and the sums (eikonal, its rows, Laplacian, its
    rows)."""
    for block in prange(bounds.shape[0]):
        first, last = np.int32(2147483647), np.int32(-1)
        eikonal, eikonals, laplacian, laplacians = 0.0, 0, 0.0, 0
        for j in range(block * BLOCK, min(count, (block + 1) * BLOCK)):
            row = stencil[start + j]
            for k in range(7):
                if row[k] >= 0:
                    first, last = min(first, row[k]), max(last, row[k])
            inverse = F1 / h[start + j]
            center = sdf[row[0]]
            kx, gx, lx = lattice_axis(sdf, row[1], row[2], center, inverse)
            ky, gy, ly = lattice_axis(sdf, row[3], row[4], center, inverse)
            kz, gz, lz = lattice_axis(sdf, row[5], row[6], center, inverse)
            factor = F0
            if kx and ky and kz:
                value, factor = unit_length(gx, gy, gz)
                factor *= HALF * inverse
                eikonal += value
                eikonals += 1
            if kx or ky or kz:
                laplacian += lx * lx + ly * ly + lz * lz
                laplacians += 1
            terms[j, 0], terms[j, 1], terms[j, 2] = factor * gx, factor * gy, factor * gz
            inverse *= TWO
            terms[j, 3], terms[j, 4], terms[j, 5] = inverse * lx, inverse * ly, inverse * lz
        bounds[block, 0], bounds[block, 1] = first, last
        partial[block, 0], partial[block, 1] = eikonal, eikonals
        partial[block, 2], partial[block, 3] = laplacian, laplacians


@_kernel
def _add_rows(stencil, terms, start, count, bounds, eikonal, laplacian, parts, grad):
    """Each part of the corners takes its share of all rows, in the order of the rows."""
    corners = grad.shape[0]
    for part in prange(parts):
        lo, hi = part * corners // parts, (part + 1) * corners // parts
        for block in range(bounds.shape[0]):
            if bounds[block, 1] < lo or bounds[block, 0] >= hi:
                continue
            for j in range(block * BLOCK, min(count, (block + 1) * BLOCK)):
                row = stencil[start + j]
                second = F0
                for axis in range(3):
                    bent = laplacian * terms[j, 3 + axis]
                    steep = eikonal * terms[j, axis]
                    second += bent
                    lower, upper = row[1 + 2 * axis], row[2 + 2 * axis]
                    if lower < 0 or upper < 0:
                        continue
                    if lo <= lower < hi:
                        grad[lower] += bent - steep
                    if lo <= upper < hi:
                        grad[upper] += bent + steep
                if lo <= row[0] < hi:
                    grad[row[0]] -= TWO * second


def stencil_loss(sdf, stencil, h, grad, weights, start, count, mean):
    """See `ops_train.stencil_loss`; NumPy arrays. Returns (eikonal, Laplacian)."""
    blocks = -(-count // BLOCK)
    terms = np.empty((count, 6), np.float32)
    bounds = np.empty((blocks, 2), np.int32)
    partial = np.empty((blocks, 4))
    _row_terms(sdf, stencil, h, start, count, terms, bounds, partial)
    eikonal, eikonals, laplacian, laplacians = partial.sum(0)
    share = (1 / max(eikonals, 1), 1 / max(laplacians, 1)) if mean else (1.0, 1.0)
    if weights[0] or weights[1]:
        scale = [np.float32(w * s) for w, s in zip(weights, share, strict=True)]
        parts = 2 * numba.get_num_threads()
        _add_rows(stencil, terms, start, count, bounds, scale[0], scale[1], parts, grad)
    return np.array([eikonal * share[0], laplacian * share[1]], np.float32)


@_kernel
def _voxel_terms(sdf, corner_index, size, seed, slopes, partial):
    """Per voxel: derivative of (|g| - 1)^2 toward each axis' upper corners, 0 if not chosen."""
    count = corner_index.shape[0]
    for block in prange(partial.shape[0]):
        total, used = 0.0, 0
        for i in range(block * BLOCK, min(count, (block + 1) * BLOCK)):
            slopes[i] = F0
            if not chosen(seed, i):
                continue
            c = corner_index[i]
            inverse = F1 / size[i]
            gx, gy, gz = center_gradient(
                sdf[c[0]], sdf[c[1]], sdf[c[2]], sdf[c[3]],
                sdf[c[4]], sdf[c[5]], sdf[c[6]], sdf[c[7]], inverse,
            )  # fmt: skip
            value, factor = unit_length(gx, gy, gz)
            factor *= QUARTER * inverse
            slopes[i, 0], slopes[i, 1], slopes[i, 2] = factor * gx, factor * gy, factor * gz
            total += value
            used += 1
        partial[block, 0], partial[block, 1] = total, used


@_kernel
def _add_slopes(slopes, corner_start, corner_slot, scale, grad):
    for corner in prange(grad.shape[0]):
        total = F0
        for at in range(corner_start[corner], corner_start[corner + 1]):
            slot = corner_slot[at]
            voxel = slot >> 3
            total += signed_sum(slot & 7, slopes[voxel, 0], slopes[voxel, 1], slopes[voxel, 2])
        grad[corner] += scale * total


def voxel_eikonal(sdf, corner_index, size, corner_start, corner_slot, grad, weight, seed, mean):
    """See `ops_train.voxel_eikonal`; NumPy arrays. Returns the loss."""
    count = len(corner_index)
    slopes = np.empty((count, 3), np.float32)
    partial = np.empty((-(-count // BLOCK), 2))
    _voxel_terms(sdf, corner_index, size, seed, slopes, partial)
    total, used = partial.sum(0)
    share = 1 / max(used, 1) if mean else 1.0
    if weight:
        _add_slopes(slopes, corner_start, corner_slot, np.float32(weight * share), grad)
    return np.float32(total * share)


@_kernel
def _edge_terms(sdf, corner_index, size, partial):
    count = corner_index.shape[0]
    for block in prange(partial.shape[0]):
        total = 0.0
        for i in range(block * BLOCK, min(count, (block + 1) * BLOCK)):
            c = corner_index[i]
            value = squared_edges(
                sdf[c[0]], sdf[c[1]], sdf[c[2]], sdf[c[3]],
                sdf[c[4]], sdf[c[5]], sdf[c[6]], sdf[c[7]],
            )  # fmt: skip
            total += value / (size[i] * size[i])
        partial[block] = total


@_kernel
def _add_edges(sdf, corner_index, size, corner_start, corner_slot, scale, grad):
    for corner in prange(grad.shape[0]):
        total = F0
        for at in range(corner_start[corner], corner_start[corner + 1]):
            slot = corner_slot[at]
            voxel, c = slot >> 3, slot & 7
            beside = (
                sdf[corner_index[voxel, c ^ 4]]
                + sdf[corner_index[voxel, c ^ 2]]
                + sdf[corner_index[voxel, c ^ 1]]
            )
            total += (THREE * sdf[corner] - beside) / (size[voxel] * size[voxel])
        grad[corner] += scale * total


def total_variation(sdf, corner_index, size, corner_start, corner_slot, grad, weight, mean):
    """See `ops_train.total_variation`; NumPy arrays. Returns the loss."""
    partial = np.empty(-(-len(corner_index) // BLOCK))
    _edge_terms(sdf, corner_index, size, partial)
    share = 1 / max(len(corner_index), 1) if mean else 1.0
    if weight:
        scale = np.float32(2 * weight * share)
        _add_edges(sdf, corner_index, size, corner_start, corner_slot, scale, grad)
    return np.float32(partial.sum() * share)
