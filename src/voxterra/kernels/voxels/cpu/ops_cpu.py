"""The operations of `voxels.ops` on CPU tensors: Numba kernels on numpy views of them."""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

from voxterra.kernels.voxels.cpu import backward, bins, forward, gather
from voxterra.kernels.voxels.cpu import prepare as prepare_kernels
from voxterra.kernels.voxels.cpu.lanes import LANES
from voxterra.kernels.voxels.math import F_ALL, F_RISE, GRADIENT, PIXEL, RECORD
from voxterra.kernels.voxels.ops import Bins, Forward
from voxterra.kernels.voxels.plan import View, camera_array


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
    record = _empty(len(lo_size), RECORD)
    rect = torch.empty((len(lo_size), 4), dtype=torch.int16)
    prepare_kernels.prepare(
        lo_size.numpy(), level.numpy(), corner_index.numpy(), _numpy(sdf), _numpy(sh0),
        _numpy(shs), _numpy(sharpness), camera_array(view), degree, cull, record.numpy(),
        rect.numpy(),
    )  # fmt: skip
    return record, rect


def bin_voxels(rect: Tensor, rank_order: Tensor, view: View) -> Bins:
    """See `ops.bin_voxels`."""
    entries = bins.count_entries(rect.numpy(), view.plan.bucket_of, view.plan.tiles_x)
    slot_start = np.zeros(len(rect) + 1, np.int32)
    np.cumsum(entries, dtype=np.int32, out=slot_start[1:])
    entry, bucket_start, slot = bins.bin_voxels(
        rect.numpy(), rank_order.numpy(), view.plan, slot_start
    )
    return Bins(*(torch.from_numpy(a) for a in (entry, bucket_start, slot, slot_start)))


def rasterize_forward(
    record: Tensor,
    rect: Tensor,
    bins: Bins,
    view: View,
    *,
    max_weight: bool = False,
    features: int = F_ALL,
    samples: int = 1,
) -> Forward:
    """See `ops.rasterize_forward`; all outputs but the rise, whatever `features` says."""
    pixels = _empty(view.height, view.width, PIXEL)
    last = torch.empty((view.height, view.width), dtype=torch.int32)
    weight = np.zeros(len(bins.entry) if max_weight else 0, np.float32)
    plan = view.plan
    forward.render(
        record.numpy(), rect.numpy(), camera_array(view), bins.entry.numpy(),
        bins.bucket_start.numpy(), plan.bucket_tile, plan.bucket_octant, plan.tiles_x,
        (view.height, view.width), pixels.numpy(), last.numpy(), weight,
        *_options(features, samples), numba.get_num_threads(),
    )  # fmt: skip
    largest = None
    if max_weight:
        largest = torch.empty(len(record), dtype=torch.float32)
        gather.largest_slot(weight, bins.slot.numpy(), bins.slot_start.numpy(), largest.numpy())
    return Forward(pixels, last, largest, features, samples)


def _options(features: int, samples: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the kernels are compiled for; see `forward`."""
    return (1,) if features & F_RISE else (), (1,) * (samples - 1)


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
    """See `ops.rasterize_backward`; always deterministic."""
    plan = view.plan
    slots = np.empty((len(bins.entry), GRADIENT), np.float32)
    touched = np.zeros(len(bins.entry), np.uint8)
    backward.differentiate(
        record.numpy(), rect.numpy(), camera_array(view), bins.entry.numpy(), bins.slot.numpy(),
        bins.bucket_start.numpy(), plan.bucket_tile, plan.bucket_octant, plan.tiles_x,
        (view.height, view.width), forward.pixels.detach().numpy(), forward.last.numpy(),
        _numpy(grad_pixels), slots, touched, *_options(forward.features, forward.samples),
        numba.get_num_threads(), LANES,
    )  # fmt: skip
    grad_record = _empty(len(record), GRADIENT)
    gather.sum_slots(slots, touched, bins.slot_start.numpy(), grad_record.numpy())
    return grad_record


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
    by_corner = np.empty((len(record), 8), np.float32)
    grad_rgb = torch.empty((len(record), 3), dtype=torch.float32)
    grad_sdf = torch.empty(len(sdf), dtype=torch.float32)
    gather.chain_voxels(grad_record.numpy(), record.numpy(), by_corner, grad_rgb.numpy())
    gather.sum_corners(
        by_corner.ravel(), corner_start.numpy(), corner_slot.numpy(), grad_sdf.numpy()
    )
    return grad_sdf, grad_rgb


def _numpy(tensor: Tensor) -> np.ndarray:
    """A view of a tensor that may be a parameter."""
    return tensor.detach().numpy()


def _empty(*shape: int) -> Tensor:
    """float32 memory of NumPy, which asks for large pages: fewer page faults in every iteration."""
    return torch.from_numpy(np.empty(shape, np.float32))
