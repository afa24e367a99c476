"""Gradients of the grid's regularisers on NVIDIA GPUs. Every corner gathers what it gets, in one
fixed order: no atomics, and the same bit for bit at every run."""

from __future__ import annotations

import torch
from torch import Tensor

from voxterra.kernels.cuda.launch import Kernel, import_numba_cuda
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

cuda = import_numba_cuda()
THREADS = 256


def _row_terms(sdf, stencil, h, start, count, terms, values):
    """Per visited row: terms as on the CPU; values eikonal, whether, Laplacian, whether."""
    j = cuda.grid(1)
    if j >= count:
        return
    row = 7 * (start + j)
    inverse = F1 / h[start + j]
    center = sdf[stencil[row]]
    kx, gx, lx = lattice_axis(sdf, stencil[row + 1], stencil[row + 2], center, inverse)
    ky, gy, ly = lattice_axis(sdf, stencil[row + 3], stencil[row + 4], center, inverse)
    kz, gz, lz = lattice_axis(sdf, stencil[row + 5], stencil[row + 6], center, inverse)
    values[j, 0] = values[j, 1] = values[j, 2] = values[j, 3] = F0
    factor = F0
    if kx and ky and kz:
        value, factor = unit_length(gx, gy, gz)
        factor *= HALF * inverse
        values[j, 0], values[j, 1] = value, F1
    if kx or ky or kz:
        values[j, 2], values[j, 3] = lx * lx + ly * ly + lz * lz, F1
    terms[j, 0], terms[j, 1], terms[j, 2] = factor * gx, factor * gy, factor * gz
    inverse *= TWO
    terms[j, 3], terms[j, 4], terms[j, 5] = inverse * lx, inverse * ly, inverse * lz


def _add_rows(terms, corner_start, corner_slot, start, count, scale, grad):
    corner = cuda.grid(1)
    if corner >= grad.shape[0]:
        return
    total = F0
    for at in range(corner_start[corner], corner_start[corner + 1]):
        slot = corner_slot[at]
        row = slot // 7
        k = slot - 7 * row
        j = row - start
        if j < 0 or j >= count:
            continue
        if k == 0:
            total -= TWO * scale[1] * (terms[j, 3] + terms[j, 4] + terms[j, 5])
            continue
        # Both terms are 0 along an axis whose other neighbour is missing.
        axis = (k - 1) >> 1
        steep = scale[0] * terms[j, axis]
        bent = scale[1] * terms[j, 3 + axis]
        total += bent + steep if k & 1 == 0 else bent - steep
    grad[corner] += total


def _voxel_terms(sdf, corner_index, size, seed, slopes, values):
    i = cuda.grid(1)
    if i >= size.shape[0]:
        return
    slopes[i, 0] = slopes[i, 1] = slopes[i, 2] = F0
    values[i, 0] = values[i, 1] = F0
    if not chosen(seed, i):
        return
    inverse = F1 / size[i]
    gx, gy, gz = center_gradient(
        sdf[corner_index[i, 0]],
        sdf[corner_index[i, 1]],
        sdf[corner_index[i, 2]],
        sdf[corner_index[i, 3]],
        sdf[corner_index[i, 4]],
        sdf[corner_index[i, 5]],
        sdf[corner_index[i, 6]],
        sdf[corner_index[i, 7]],
        inverse,
    )
    value, factor = unit_length(gx, gy, gz)
    factor *= QUARTER * inverse
    slopes[i, 0], slopes[i, 1], slopes[i, 2] = factor * gx, factor * gy, factor * gz
    values[i, 0], values[i, 1] = value, F1


def _add_slopes(slopes, corner_start, corner_slot, scale, grad):
    corner = cuda.grid(1)
    if corner >= grad.shape[0]:
        return
    total = F0
    for at in range(corner_start[corner], corner_start[corner + 1]):
        slot = corner_slot[at]
        voxel = slot >> 3
        total += signed_sum(slot & 7, slopes[voxel, 0], slopes[voxel, 1], slopes[voxel, 2])
    grad[corner] += scale[0] * total


def _edge_terms(sdf, corner_index, size, values):
    i = cuda.grid(1)
    if i >= size.shape[0]:
        return
    value = squared_edges(
        sdf[corner_index[i, 0]],
        sdf[corner_index[i, 1]],
        sdf[corner_index[i, 2]],
        sdf[corner_index[i, 3]],
        sdf[corner_index[i, 4]],
        sdf[corner_index[i, 5]],
        sdf[corner_index[i, 6]],
        sdf[corner_index[i, 7]],
    )
    values[i] = value / (size[i] * size[i])


def _add_edges(sdf, corner_index, size, corner_start, corner_slot, scale, grad):
    corner = cuda.grid(1)
    if corner >= grad.shape[0]:
        return
    total = F0
    own = THREE * sdf[corner]
    for at in range(corner_start[corner], corner_start[corner + 1]):
        slot = corner_slot[at]
        voxel, c = slot >> 3, slot & 7
        beside = (
            sdf[corner_index[voxel, c ^ 4]]
            + sdf[corner_index[voxel, c ^ 2]]
            + sdf[corner_index[voxel, c ^ 1]]
        )
        total += (own - beside) / (size[voxel] * size[voxel])
    grad[corner] += scale * total


ROW_TERMS = Kernel(_row_terms, "f32[] i32[] f32[] i32 i32 f32[,] f32[,]")
ADD_ROWS = Kernel(_add_rows, "f32[,] i32[] i32[] i32 i32 f32[] f32[]")
VOXEL_TERMS = Kernel(_voxel_terms, "f32[] i32[,] f32[] i64 f32[,] f32[,]")
ADD_SLOPES = Kernel(_add_slopes, "f32[,] i32[] i32[] f32[] f32[]")
EDGE_TERMS = Kernel(_edge_terms, "f32[] i32[,] f32[] f32[]")
ADD_EDGES = Kernel(_add_edges, "f32[] i32[,] f32[] i32[] i32[] f32 f32[]")


def _blocks(count: int) -> int:
    return -(-count // THREADS)


def stencil_loss(
    sdf: Tensor,
    stencil: Tensor,
    h: Tensor,
    grad: Tensor,
    weights: tuple[float, float],
    start: int,
    count: int,
    mean: bool,
    corner_start: Tensor,
    corner_slot: Tensor,
) -> Tensor:
    """See `ops_train.stencil_loss`; the host never waits for the GPU."""
    terms, values = sdf.new_empty((count, 6)), sdf.new_empty((count, 4))
    ROW_TERMS.launch(_blocks(count), THREADS, sdf, stencil, h, start, count, terms, values)
    total = values.sum(0)
    losses = total[::2] / total[1::2].clamp_min(1.0) if mean else total[::2]
    if weights[0] or weights[1]:
        scale = torch.stack([torch.full_like(total[0], w) for w in weights])
        scale = scale / total[1::2].clamp_min(1.0) if mean else scale
        lists = (corner_start, corner_slot, start, count)
        ADD_ROWS.launch(_blocks(len(grad)), THREADS, terms, *lists, scale, grad)
    return losses


def voxel_eikonal(
    sdf: Tensor,
    corner_index: Tensor,
    size: Tensor,
    corner_start: Tensor,
    corner_slot: Tensor,
    grad: Tensor,
    weight: float,
    seed: int,
    mean: bool,
) -> Tensor:
    """See `ops_train.voxel_eikonal`; the host never waits for the GPU."""
    count = len(corner_index)
    slopes, values = sdf.new_empty((count, 3)), sdf.new_empty((count, 2))
    VOXEL_TERMS.launch(_blocks(count), THREADS, sdf, corner_index, size, seed, slopes, values)
    total = values.sum(0)
    share = 1.0 / total[1:].clamp_min(1.0) if mean else torch.ones_like(total[1:])
    if weight:
        lists = (corner_start, corner_slot)
        ADD_SLOPES.launch(_blocks(len(grad)), THREADS, slopes, *lists, weight * share, grad)
    return total[0] * share[0]


def total_variation(
    sdf: Tensor,
    corner_index: Tensor,
    size: Tensor,
    corner_start: Tensor,
    corner_slot: Tensor,
    grad: Tensor,
    weight: float,
    mean: bool,
) -> Tensor:
    """See `ops_train.total_variation`; the host never waits for the GPU."""
    count = len(corner_index)
    values = sdf.new_empty(count)
    EDGE_TERMS.launch(_blocks(count), THREADS, sdf, corner_index, size, values)
    share = 1 / max(count, 1) if mean else 1.0
    if weight:
        lists = (corner_index, size, corner_start, corner_slot)
        ADD_EDGES.launch(_blocks(len(grad)), THREADS, sdf, *lists, 2 * weight * share, grad)
    return values.sum() * share
