"""PatchMatch stereo on NVIDIA GPUs: a thread a pixel of one checker colour.

A block takes the pixels of one colour of 32 x 16, and a warp those of 16 x 4, so that its threads
sample the same places of a source view; `kernels.stereo.patchmatch_pixel` has what a thread does.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from voxterra.kernels.cuda.launch import Kernel, import_numba_cuda
from voxterra.kernels.stereo.hypotheses import N_SAMPLES, Matching, Search, f32
from voxterra.kernels.stereo.patchmatch_pixel import (
    HEIGHT,
    PITCH,
    RADIUS,
    TABLE,
    THREADS,
    TILE,
    WIDTH,
    evaluate_pixel,
    pixel_in_block,
    reference_patch,
    stage,
    sweep_pixel,
)
from voxterra.kernels.stereo.planes import Sources, agreement, upsampled

cuda = import_numba_cuda()
_SIGMA, _GEO = 3 * N_SAMPLES, 3 * N_SAMPLES + 1
_SOURCES = "i32[] f32[,] i64[,] f32[,,] f32[,,] "
_STATE = "f32[,,] f32[,] f32[,,] "


class GpuSources(NamedTuple):
    """`planes.Sources` of tensors, its quads int32."""

    quads: Tensor
    planes: Tensor
    meta: Tensor
    forward: Tensor
    backward: Tensor


def _evaluate(
    reference, quads, source_planes, meta, forward, backward, matching, planes, costs, view_costs
):
    tile = cuda.shared.array(TILE, np.float32)
    table = cuda.shared.array(TABLE, np.float32)
    step = cuda.shared.array(N_SAMPLES, np.int32)
    thread = np.int32(cuda.threadIdx.x)
    x0, y0 = np.int32(cuda.blockIdx.x) * WIDTH, np.int32(cuda.blockIdx.y) * HEIGHT
    stage(reference, matching, x0, y0, thread, tile, table, step)
    cuda.syncthreads()
    sources = Sources(quads, source_planes, meta, forward, backward)
    inv_sigma2 = f32(1.0) / (matching[_SIGMA] * matching[_SIGMA])
    for odd in range(2):
        column, row = pixel_in_block(thread, odd)
        x, y = x0 + column, y0 + row
        if x < costs.shape[1] and y < costs.shape[0]:
            at = (row + RADIUS) * PITCH + column + RADIUS
            patch = reference_patch(tile, table, step, at, inv_sigma2)
            evaluate_pixel(x, y, sources, patch, matching[_GEO], planes, costs, view_costs)


EVALUATE = Kernel(_evaluate, "i32[,] " + _SOURCES + "f32[] " + _STATE, launch_bounds=THREADS)


@cache
def sweep_kernel(views: int) -> Kernel:
    """The kernel of `sweep` for at most so many source views."""

    def sweep(
        reference, quads, source_planes, meta, forward, backward, matching, planes, costs,
        view_costs, fx, fy, cx, cy, w_min, w_max, w_per_px, salt, directions, refinements,
        explorations, color,
    ):  # fmt: skip
        tile = cuda.shared.array(TILE, np.float32)
        table = cuda.shared.array(TABLE, np.float32)
        step = cuda.shared.array(N_SAMPLES, np.int32)
        thread = np.int32(cuda.threadIdx.x)
        x0, y0 = np.int32(cuda.blockIdx.x) * WIDTH, np.int32(cuda.blockIdx.y) * HEIGHT
        stage(reference, matching, x0, y0, thread, tile, table, step)
        cuda.syncthreads()
        column, row = pixel_in_block(thread, color)
        x, y = x0 + column, y0 + row
        if x >= costs.shape[1] or y >= costs.shape[0]:
            return
        at = (row + RADIUS) * PITCH + column + RADIUS
        inv_sigma2 = f32(1.0) / (matching[_SIGMA] * matching[_SIGMA])
        patch = reference_patch(tile, table, step, at, inv_sigma2)
        search = Search(
            fx, fy, cx, cy, w_min, w_max, w_per_px, salt, directions, refinements, explorations
        )
        weight = cuda.local.array(views, np.float32)
        trial = cuda.local.array(views, np.float32)
        counts = cuda.local.array(views, np.int32)
        sweep_pixel(
            x, y, Sources(quads, source_planes, meta, forward, backward), patch, matching[_GEO],
            search, planes, costs, view_costs, weight[: view_costs.shape[2]], trial, counts,
        )  # fmt: skip

    words = (
        "i32[,] " + _SOURCES + "f32[] " + _STATE + "f32 f32 f32 f32 f32 f32 f32 i64" + " i32" * 4
    )
    return Kernel(sweep, words, launch_bounds=THREADS)


def _upsample(coarse, out, width, height):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i >= out.shape[0]:
        return
    sx, sy = f32(coarse.shape[1]) / f32(width), f32(coarse.shape[0]) / f32(height)
    out[i, 0], out[i, 1], out[i, 2] = upsampled(coarse, i % width, i // width, sx, sy)


def _check(
    planes, quads, source_planes, meta, forward, backward, max_error_px, max_relative, agree, look,
    mean_w,
):  # fmt: skip
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    height, width = agree.shape
    if i >= height * width:
        return
    x, y = i % width, i // width
    w = planes[y, x, 0]
    if w > f32(0.0):
        agree[y, x], look[y, x], mean_w[y, x] = agreement(
            Sources(quads, source_planes, meta, forward, backward), x, y, w, max_error_px,
            max_relative,
        )  # fmt: skip


UPSAMPLE = Kernel(_upsample, "f32[,,] f32[,] i32 i32", launch_bounds=THREADS)
CHECK = Kernel(_check, "f32[,,] " + _SOURCES + "f32 f32 u8[,] u8[,] f32[,]", launch_bounds=THREADS)


def evaluate(
    reference: Tensor, planes: Tensor, costs: Tensor, view_costs: Tensor, sources: GpuSources,
    matching: Tensor,
) -> None:  # fmt: skip
    """`patchmatch.evaluate` of tensors on the GPU.

    Args:
        reference: (H, W) int32 quads of the reference.
        planes, costs, view_costs: (H, W, 3), (H, W), (H, W, V) float32; the last two are written.
        sources: the views to match against.
        matching: see `matching_values`.
    """
    state = (planes, costs, view_costs)
    EVALUATE.launch(_blocks(costs), THREADS, reference, *sources, matching, *state)


def sweep(
    reference: Tensor, planes: Tensor, costs: Tensor, view_costs: Tensor, sources: GpuSources,
    matching: Tensor, search: Search, color: int,
) -> None:  # fmt: skip
    """`patchmatch.sweep` of tensors on the GPU; arguments as for `evaluate`."""
    views = max(16, 1 << (view_costs.shape[2] - 1).bit_length())
    sweep_kernel(views).launch(
        _blocks(costs), THREADS, reference, *sources, matching, planes, costs, view_costs,
        *search, color,
    )  # fmt: skip


def upsample_planes(coarse: Tensor, out: Tensor, height: int, width: int) -> None:
    """`planes.upsample_planes` of a (H, W, 3) tensor into `out` (height * width, 3)."""
    UPSAMPLE.launch(-(-len(out) // THREADS), THREADS, coarse, out, width, height)


def check_consistency(
    planes: Tensor, sources: GpuSources, max_error_px: float, max_relative: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`planes.check_consistency` of tensors on the GPU."""
    height, width = planes.shape[:2]
    agree = planes.new_zeros((height, width), dtype=torch.uint8)
    look, mean_w = torch.zeros_like(agree), planes.new_zeros((height, width))
    CHECK.launch(
        -(-agree.numel() // THREADS), THREADS, planes, *sources, max_error_px, max_relative,
        agree, look, mean_w,
    )  # fmt: skip
    return agree, look, mean_w


def matching_values(matching: Matching) -> np.ndarray:
    """(98,) float32 of a `Matching`, as the kernels read it.

    Raises:
        ValueError: a sample lies outside of what a block keeps of the image.
    """
    if np.abs(matching.offsets).max() > RADIUS:
        raise ValueError(f"samples must lie within {RADIUS} px")
    last = np.array([matching.sigma_color, matching.geo_weight], np.float32)
    return np.concatenate([matching.offsets.ravel(), matching.spatial, last]).astype(np.float32)


def _blocks(costs: Tensor) -> tuple[int, int]:
    return -(-costs.shape[1] // WIDTH), -(-costs.shape[0] // HEIGHT)
