"""Area averages of rendered images and their gradient, on the CPU and on NVIDIA GPUs.

A pixel of the small image is the mean of the area of the large one that it covers; pixels that it
covers in part count by their part. torch's adaptive pooling, which counts those in full, took two
thirds of an iteration on an H200 for 12 interleaved channels.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import njit, prange
from torch import Tensor

from voxterra.kernels.voxels.math import F0, F1, scalar

THREADS = 256


@scalar
def overlap(small, large, ratio):
    """Share of pixel `small` of the small image that pixel `large` of the large one covers.

    One axis; `ratio` is the size of the large image over that of the small one, 1 or more.
    """
    low, high = np.float32(small) * ratio, np.float32(small + 1) * ratio
    covered = min(np.float32(large + 1), high) - max(np.float32(large), low)
    return max(covered, F0) / ratio


@scalar
def average(image, row, column, channel, rows, columns, channels, ry, rx):
    """Mean of one channel over a small pixel; `image` is flat [rows, columns, channels]."""
    total = F0
    for y in range(int(np.float32(row) * ry), min(int(np.float32(row + 1) * ry) + 1, rows)):
        wy = overlap(row, y, ry)
        line = F0
        for x in range(
            int(np.float32(column) * rx), min(int(np.float32(column + 1) * rx) + 1, columns)
        ):
            line += overlap(column, x, rx) * image[(y * columns + x) * channels + channel]
        total += wy * line
    return total


@scalar
def spread(grad, row, column, channel, rows, columns, channels, ry, rx):
    """Gradient of one channel of one large pixel; `grad` is flat [rows, columns, channels]."""
    total = F0
    for y in range(int(np.float32(row) / ry), min(int(np.float32(row + 1) / ry) + 1, rows)):
        wy = overlap(y, row, ry)
        line = F0
        for x in range(
            int(np.float32(column) / rx), min(int(np.float32(column + 1) / rx) + 1, columns)
        ):
            line += overlap(x, column, rx) * grad[(y * columns + x) * channels + channel]
        total += wy * line
    return total


@njit(cache=True)
def _axis(count, of, ratio, enlarges):
    """Which pixels of the source each of `count` pixels takes along one axis, and their weights.

    Args:
        count, of: sizes of the result and of the source.
        ratio: large size / small size.
        enlarges: whether the result is the large image (the gradient), or the small one.

    Returns:
        first int32 [count]; weight float32 [count, taps], 0 beyond the last.
    """
    step = F1 / ratio if enlarges else ratio
    first = np.empty(count, np.int32)
    weight = np.zeros((count, math.ceil(step) + 1), np.float32)
    for i in range(count):
        first[i] = int(np.float32(i) * step)
        for k in range(min(weight.shape[1], of - first[i])):
            at = first[i] + k
            weight[i, k] = overlap(at, i, ratio) if enlarges else overlap(i, at, ratio)
    return first, weight


@njit(cache=True, parallel=True)
def _weighted(source, out, row_first, row_weight, column_first, column_weight):
    """out [R, C, K]: weighted sums of the pixels of source [R', C', K] that `_axis` gives."""
    channels = source.shape[2]
    for row in prange(len(row_first)):
        line = np.zeros(source.shape[1] * channels, np.float32)
        for k in range(row_weight.shape[1]):
            wy = row_weight[row, k]
            if wy > F0:
                above = source[row_first[row] + k].reshape(-1)
                for i in range(len(line)):
                    line[i] += wy * above[i]
        for column in range(len(column_first)):
            pixel = out[row, column]
            pixel[:] = F0
            for k in range(column_weight.shape[1]):
                wx = column_weight[column, k]
                if wx > F0:
                    at = (column_first[column] + k) * channels
                    for c in range(channels):
                        pixel[c] += wx * line[at + c]


@cache
def _cuda_kernels() -> tuple[Any, Any]:
    from voxterra.kernels.cuda.launch import Kernel, import_numba_cuda

    cuda = import_numba_cuda()

    def average_all(image, out, rows, columns, small_rows, small_columns, channels, ry, rx):
        i = np.int32(cuda.grid(1))
        if i >= small_rows * small_columns * channels:
            return
        pixel = i // channels
        out[i] = average(
            image, pixel // small_columns, pixel % small_columns, i % channels,
            rows, columns, channels, ry, rx,
        )  # fmt: skip

    def spread_all(grad, out, rows, columns, small_rows, small_columns, channels, ry, rx):
        i = np.int32(cuda.grid(1))
        if i >= rows * columns * channels:
            return
        pixel = i // channels
        out[i] = spread(
            grad, pixel // columns, pixel % columns, i % channels,
            small_rows, small_columns, channels, ry, rx,
        )  # fmt: skip

    signature = "f32[] f32[] i32 i32 i32 i32 i32 f32 f32"
    return Kernel(average_all, signature), Kernel(spread_all, signature)


def shrink(image: Tensor, height: int, width: int) -> Tensor:
    """Area averages of (H', W', C) float32 as (height, width, C), neither larger than H', W'."""
    rows, columns, channels = image.shape
    out = image.new_empty(height, width, channels)
    _run(0, image.contiguous(), out, (rows, columns), (height, width))
    return out


def shrink_backward(grad: Tensor, rows: int, columns: int) -> Tensor:
    """Gradient (rows, columns, C) of the large image by that of the small one (H, W, C)."""
    height, width, channels = grad.shape
    out = grad.new_empty(rows, columns, channels)
    _run(1, grad.contiguous(), out, (rows, columns), (height, width))
    return out


def _run(
    which: int, source: Tensor, out: Tensor, large: tuple[int, int], small: tuple[int, int]
) -> None:
    if large[0] < small[0] or large[1] < small[1]:
        raise ValueError(f"{small} is no reduction of {large}")
    channels, ratio = source.shape[2], (large[0] / small[0], large[1] / small[1])
    if source.is_cuda:
        kernel, count = _cuda_kernels()[which], out.numel()
        kernel.launch(-(-count // THREADS), THREADS, source, out, *large, *small, channels, *ratio)
        return
    rows = _axis(out.shape[0], source.shape[0], np.float32(ratio[0]), which == 1)
    columns = _axis(out.shape[1], source.shape[1], np.float32(ratio[1]), which == 1)
    _weighted(source.numpy(), out.numpy(), *rows, *columns)
