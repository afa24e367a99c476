"""Rendering of sparse voxels and its gradients: one function an operation, for CPU and CUDA.

An iteration of training calls them in this order: `prepare` (voxels to records), `bin_voxels`
(lists per tile, front to back), `rasterize_forward`, the losses, `rasterize_backward`,
`prepare_backward` (back to the parameters). All tensors of a call lie on one device and are
contiguous. On the CPU every result repeats bit for bit, whatever the number of threads.

The method: SVRaster (arXiv 2412.04459) for the order of the voxels, SVRecon (arXiv 2511.17364) for
the signed distances; `voxels.math` has the equations and the layout of records.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from voxterra.kernels.voxels.math import F_ALL, GRADIENT, PIXEL, RECORD
from voxterra.kernels.voxels.plan import Plan, View, make_view
from voxterra.kernels.voxels.sh import terms

__all__ = [
    "Bins", "Forward", "Plan", "View", "bin_voxels", "make_view", "prepare", "prepare_backward",
    "rasterize_backward", "rasterize_forward",
]  # fmt: skip


_IMPLEMENTATIONS = {
    "cpu": "voxterra.kernels.voxels.cpu.ops_cpu",
    "cuda": "voxterra.kernels.voxels.cuda.ops_cuda",
}


@dataclass(frozen=True, eq=False)
class Bins:
    """Voxels of every bucket, front to back.

    Each entry has a slot for its gradient; the slots of a voxel follow each other. (The CUDA
    implementation leaves `slot` and `slot_start` empty where it has no use for them.)
    """

    entry: Tensor
    """int32 [E]: voxel of each entry."""
    bucket_start: Tensor
    """int32 [B + 1]: first entry of each bucket."""
    slot: Tensor
    """int32 [E]: slot of each entry."""
    slot_start: Tensor
    """int32 [N + 1]: first slot of each voxel."""


@dataclass(frozen=True, eq=False)
class Forward:
    """A rendered view."""

    pixels: Tensor
    """float32 [H, W, 12]; see `math.P_*`. No background is added."""
    last: Tensor
    """int32 [H, W]: index of the last entry that a pixel blended, -1: none."""
    max_weight: Tensor | None
    """float32 [N]: largest blending weight of each voxel, if asked for."""
    features: int
    """Outputs that were asked for, bits F_*."""
    samples: int
    """Parts of a segment."""


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
    """Records of the voxels as a view sees them, and where they lie in its image.

    Args:
        lo_size: float32 [N, 4], lower corner and edge in world.
        level: int8 [N], octree level.
        corner_index: int32 [N, 8], rows of `sdf`.
        sdf: float32 [M], signed distances at corners [world units], positive in free space.
        sh0: float32 [N, 3]; shs: float32 [N, K, 3] with K + 1 >= (degree + 1)**2.
        sharpness: float32 [17] of each level [1 / world unit].
        view: the camera.
        degree: of the spherical harmonics in use, 0 to 3.
        cull: leave out voxels in which no ray can lose light. They do not change a picture, but
            the distance may rise in them (`F_RISE`).

    Returns:
        record: float32 [N, 20], see `math.R_*`: colour max(0, 0.5 + SH) toward the centre, unit
            normal at the centre. Zeros where the rect is empty.
        rect: int16 [N, 4], pixels x0, y0, x1, y1 (half-open); empty where there are none, or where,
            with `cull`, no ray can lose light: seen from behind, or far in front of the surface.
    """
    n = len(lo_size)
    _check("lo_size", lo_size, torch.float32, (n, 4))
    _check("level", level, torch.int8, (n,))
    _check("corner_index", corner_index, torch.int32, (n, 8))
    _check("sdf", sdf, torch.float32, (None,))
    _check("sh0", sh0, torch.float32, (n, 3))
    _check("shs", shs, torch.float32, (n, None, 3))
    _check("sharpness", sharpness, torch.float32, (17,))
    if not 0 <= degree <= 3 or shs.shape[1] + 1 < terms(degree):
        raise ValueError(f"degree {degree} needs {terms(degree) - 1} rows of shs")
    seen: tuple[Tensor, Tensor] = _device_ops(lo_size).prepare(
        lo_size, level, corner_index, sdf, sh0, shs, sharpness, view, degree, cull=cull
    )
    return seen


def bin_voxels(rect: Tensor, rank_order: Tensor, view: View) -> Bins:
    """List the voxels of every bucket, front to back.

    Args:
        rect: int16 [N, 4] of `prepare`.
        rank_order: int32 [8, N], voxels front to back for rays of each sign octant.
        view: the camera.
    """
    _check("rect", rect, torch.int16, (None, 4))
    _check("rank_order", rank_order, torch.int32, (8, len(rect)))
    bins: Bins = _device_ops(rect).bin_voxels(rect, rank_order, view)
    return bins


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
    """Blend the voxels into the view's pixels, front to back.

    Args:
        record, rect: of `prepare`.
        bins: of `bin_voxels`.
        view: the camera.
        max_weight: also return the largest blending weight of every voxel.
        features: the optional outputs needed, bits `math.F_*`. Others may be left out to save time:
            they are 0 then, and their gradients are taken as 0. F_RISE wants `prepare` without
            `cull`.
        samples: parts, 1 to 16, that a voxel's piece of a ray is cut into for its depth, from which
            the mean depth and the distortion are made; all else stays the same.
    """
    _check("record", record, torch.float32, (None, RECORD))
    _check("rect", rect, torch.int16, (len(record), 4))
    forward: Forward = _device_ops(record).rasterize_forward(
        record, rect, bins, view, max_weight=max_weight, features=features, samples=samples
    )
    return forward


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
    """Gradient of a loss by the records.

    Args:
        record, rect, bins, view: those of `rasterize_forward`.
        forward: its result.
        grad_pixels: float32 [H, W, 12], gradient by the pixels.
        deterministic: repeat bit for bit on a GPU too (a CPU always does).

    Returns:
        float32 [N, 16]; see `math.G_*`. G_PRIORITY holds the sum of |alpha dL/dalpha|.
    """
    _check("record", record, torch.float32, (None, RECORD))
    _check("rect", rect, torch.int16, (len(record), 4))
    _check("grad_pixels", grad_pixels, torch.float32, (view.height, view.width, PIXEL))
    grad_record: Tensor = _device_ops(record).rasterize_backward(
        record, rect, bins, view, forward, grad_pixels, deterministic=deterministic
    )
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
    """Gradient by the parameters from that by the records.

    Args:
        grad_record: of `rasterize_backward`; record, lo_size, corner_index, sdf: of `prepare`.
        corner_start: int32 [M + 1]; corner_slot: int32 [8 N]: for each corner the positions
            8 * voxel + corner that refer to it.

    Returns:
        grad_sdf: float32 [M], the normals' gradients included.
        grad_rgb: float32 [N, 3], by the sum of the spherical harmonics; 0 where the colour was
            clamped.
    """
    n = len(record)
    _check("grad_record", grad_record, torch.float32, (n, GRADIENT))
    _check("record", record, torch.float32, (n, RECORD))
    _check("corner_start", corner_start, torch.int32, (len(sdf) + 1,))
    _check("corner_slot", corner_slot, torch.int32, (8 * n,))
    gradients: tuple[Tensor, Tensor] = _device_ops(record).prepare_backward(
        grad_record, record, lo_size, corner_index, corner_start, corner_slot, sdf
    )
    return gradients


def _device_ops(tensor: Tensor) -> ModuleType:
    """The implementation for a tensor's device, imported when first needed."""
    return importlib.import_module(_IMPLEMENTATIONS[tensor.device.type])


def _check(name: str, value: Tensor, dtype: torch.dtype, shape: tuple[int | None, ...]) -> None:
    """Raise TypeError or ValueError for a caller's mistake; None matches any size."""
    if value.dtype != dtype or not value.is_contiguous():
        raise TypeError(f"{name} must be contiguous {dtype}, is {value.dtype}")
    if len(shape) != value.ndim or any(
        want is not None and want != have for want, have in zip(shape, value.shape)
    ):
        raise ValueError(f"{name} must be {shape}, is {tuple(value.shape)}")
