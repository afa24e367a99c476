"""The operations of `voxels.ops` on CUDA tensors."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from voxterra.kernels.voxels.cuda import backward as backward_kernels
from voxterra.kernels.voxels.cuda import bins as bin_kernels
from voxterra.kernels.voxels.cuda import forward as forward_kernels
from voxterra.kernels.voxels.cuda import prepare as prepare_kernels
from voxterra.kernels.voxels.cuda.ray import PIECES
from voxterra.kernels.voxels.math import F_ALL, F_RISE, GRADIENT, PIXEL, RECORD
from voxterra.kernels.voxels.ops import Bins, Forward
from voxterra.kernels.voxels.plan import Plan, View


@dataclass(frozen=True, eq=False)
class CudaBins(Bins):
    """Bins with what the deterministic gradient needs to find a voxel's entries."""

    key: Tensor
    """int16 or int32 [E]: bucket of each entry."""
    order: Tensor
    """int64 [E]: position of each entry as emitted, octant by octant in rank order."""
    ends: Tensor
    """int32 [octants * N]: running sum of the entries by octant and rank."""
    rank_order: Tensor
    """int32 [8, N]."""


@dataclass(frozen=True, eq=False)
class CudaForward(Forward):
    """A rendered view, and what the backward pass uses of how it came about."""

    touched: Tensor
    """int32 [chunks, 8]: for each chunk of 32 entries and warp, which changed a pixel."""


@dataclass(frozen=True, eq=False)
class _DevicePlan:
    bucket_of: Tensor
    bucket_tile: Tensor
    bucket_octant: Tensor
    octants: tuple[int, ...]
    packed: int


FORWARD, BACKWARD = (4, 9), (4, 6)
"""Warps of a block, and blocks at least on a multiprocessor, which bounds the registers; the
fastest of those tried on an H200."""
THREADS = 256
"""Threads of a block of the smaller kernels."""
_plans: WeakKeyDictionary[Plan, dict[int, _DevicePlan]] = WeakKeyDictionary()


def _device_plan(plan: Plan, device: torch.device) -> _DevicePlan:
    of_devices = _plans.setdefault(plan, {})
    index = device.index or 0
    found = of_devices.get(index)
    if found is None:
        octants = tuple(int(o) for o in np.unique(plan.bucket_octant))
        found = of_devices[index] = _DevicePlan(
            torch.from_numpy(plan.bucket_of).to(device),
            torch.from_numpy(plan.bucket_tile).to(device),
            torch.from_numpy(plan.bucket_octant).to(device),
            octants,
            # 8 octants of 4 bits fill an int32, its sign bit always 0
            sum(o << (4 * i) for i, o in enumerate(octants)),
        )
    return found


def prepare(
    lo_size: Tensor,
    level: Tensor,
    corner_index: Tensor,
    sdf: Tensor,
    sh0: Tensor,
    shs: Tensor,
    sharpness: Tensor,
    view: View,
    degree: int,
    *,
    cull: bool = True,
) -> tuple[Tensor, Tensor]:
    """See `ops.prepare`."""
    n = len(lo_size)
    record = torch.empty((n, RECORD), dtype=torch.float32, device=lo_size.device)
    rect = torch.empty((n, 4), dtype=torch.int16, device=lo_size.device)
    prepare_kernels.prepare_kernel(degree, cull).launch(
        -(-n // prepare_kernels.THREADS), prepare_kernels.THREADS,
        lo_size, level, corner_index, sdf, sh0, shs, sharpness, view.camera, record, rect,
        shs.shape[1], n,
    )  # fmt: skip
    return record, rect


def bin_voxels(rect: Tensor, rank_order: Tensor, view: View) -> CudaBins:
    """See `ops.bin_voxels`."""
    n, device = len(rect), rect.device
    plan, tiles_x = _device_plan(view.plan, device), view.plan.tiles_x
    counts = torch.empty(len(plan.octants) * n, dtype=torch.int32, device=device)
    grid = (bin_kernels.blocks(n), len(plan.octants))
    common = (rect, rank_order, plan.bucket_of, tiles_x, plan.packed, n)
    bin_kernels.count_kernel.launch(grid, bin_kernels.THREADS, *common, counts)
    ends = torch.cumsum(counts, 0, dtype=torch.int32)
    entries = int(ends[-1]) if len(ends) else 0
    buckets = len(view.plan.bucket_tile)
    kind, dtype = ("i16", torch.int16) if buckets < 2**15 else ("i32", torch.int32)
    key = torch.empty(entries, dtype=dtype, device=device)
    voxels = torch.empty(entries, dtype=torch.int32, device=device)
    bin_kernels.emit_kernel(kind).launch(grid, bin_kernels.THREADS, *common, ends, key, voxels)
    key, order = torch.sort(key, stable=True)
    entry = torch.empty(entries, dtype=torch.int32, device=device)
    start = torch.empty(buckets + 1, dtype=torch.int32, device=device)
    bin_kernels.finish_kernel(kind).launch(
        bin_kernels.blocks(entries + 1), bin_kernels.THREADS,
        key, order, voxels, entries, buckets, entry, start,
    )  # fmt: skip
    empty = torch.empty(0, dtype=torch.int32, device=device)
    return CudaBins(entry, start, empty, empty, key, order, ends, rank_order)


def rasterize_forward(
    record: Tensor,
    rect: Tensor,
    bins: Bins,
    view: View,
    *,
    max_weight: bool = False,
    features: int = F_ALL,
    samples: int = 1,
) -> CudaForward:
    """See `ops.rasterize_forward`."""
    plan, device, size = view.plan, record.device, (view.height, view.width)
    on_device = _device_plan(plan, device)
    buckets = len(plan.bucket_tile)
    chunks = len(bins.entry) // 32 + buckets + 1
    pixels = torch.empty((*size, PIXEL), dtype=torch.float32, device=device)
    last = torch.empty(size, dtype=torch.int32, device=device)
    touched = torch.zeros((chunks, 8), dtype=torch.int32, device=device)
    largest = None
    if max_weight:
        largest = torch.zeros(len(record), dtype=torch.float32, device=device)
    warps = FORWARD[0]
    forward_kernels.kernel(features, max_weight, *FORWARD, samples).launch(
        buckets * PIECES // warps, 32 * warps,
        record, rect, bins.entry, bins.bucket_start, on_device.bucket_tile,
        on_device.bucket_octant, view.camera, pixels, last, touched, largest,
        plan.tiles_x, view.width, view.height,
    )  # fmt: skip
    return CudaForward(pixels, last, largest, features, samples, touched)


def rasterize_backward(
    record: Tensor,
    rect: Tensor,
    bins: Bins,
    view: View,
    forward: Forward,
    grad_pixels: Tensor,
    *,
    deterministic: bool = False,
) -> Tensor:
    """See `ops.rasterize_backward`; `bins` and `forward` as this module made them."""
    assert isinstance(forward, CudaForward) and isinstance(bins, CudaBins)
    n, device = len(record), record.device
    grad_record = torch.zeros((n, GRADIENT), dtype=torch.float32, device=device)
    out, row_start = grad_record, None
    touched = forward.touched
    if deterministic:
        counts = torch.empty(touched.numel(), dtype=torch.int32, device=device)
        grid = -(-touched.numel() // THREADS)
        backward_kernels.popcount_kernel.launch(grid, THREADS, touched, counts, len(counts))
        ends = torch.cumsum(counts, 0, dtype=torch.int32)
        row_start = ends - counts
        # Rises are noted too where the ray turns out to hit nothing: nobody writes these rows.
        fresh = torch.zeros if forward.features & F_RISE else torch.empty
        out = fresh((int(ends[-1]), GRADIENT), dtype=torch.float32, device=device)
    warps = BACKWARD[0]
    backward_kernels.kernel(forward.features, deterministic, *BACKWARD, forward.samples).launch(
        len(view.plan.bucket_tile) * PIECES // warps, 32 * warps,
        record, bins.entry, bins.bucket_start, _device_plan(view.plan, device).bucket_tile,
        view.camera, forward.pixels, forward.last, touched, row_start, grad_pixels, out,
        view.plan.tiles_x, view.width, view.height,
    )  # fmt: skip
    if row_start is not None:
        _sum_rows(out, row_start, touched, bins, view, grad_record)
    return grad_record


def _sum_rows(
    rows: Tensor, row_start: Tensor, touched: Tensor, bins: CudaBins, view: View, out: Tensor
) -> None:
    entries, n = len(bins.entry), len(out)
    place = torch.empty(entries, dtype=torch.int32, device=out.device)
    place[bins.order] = torch.arange(entries, dtype=torch.int32, device=out.device)
    kernel = backward_kernels.sum_kernel("i16" if bins.key.dtype == torch.int16 else "i32")
    for job, octant in enumerate(_device_plan(view.plan, out.device).octants):
        kernel.launch(
            -(-16 * n // THREADS), THREADS,
            rows, row_start, touched, bins.rank_order, bins.ends, place, bins.key,
            bins.bucket_start, octant, job, n, out,
        )  # fmt: skip


def prepare_backward(
    grad_record: Tensor,
    record: Tensor,
    lo_size: Tensor,
    corner_index: Tensor,
    corner_start: Tensor,
    corner_slot: Tensor,
    sdf: Tensor,
) -> tuple[Tensor, Tensor]:
    """See `ops.prepare_backward`."""
    n, device, threads = len(record), record.device, prepare_kernels.THREADS
    by_corner = torch.empty((n, 8), dtype=torch.float32, device=device)
    grad_rgb = torch.empty((n, 3), dtype=torch.float32, device=device)
    grad_sdf = torch.empty(len(sdf), dtype=torch.float32, device=device)
    prepare_kernels.chain_kernel.launch(
        -(-n // threads), threads, grad_record, record, by_corner, grad_rgb, n
    )
    prepare_kernels.corners_kernel.launch(
        -(-len(sdf) // threads), threads,
        by_corner, corner_start, corner_slot, grad_sdf, len(sdf),
    )  # fmt: skip
    return grad_sdf, grad_rgb
