"""Images of a voxel model: the parameters on a device, and what a view sees of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from voxterra.core.camera import PinholeView
from voxterra.core.voxels import VoxelModel
from voxterra.errors import UsageError
from voxterra.kernels.voxels import math as layout
from voxterra.kernels.voxels import ops
from voxterra.kernels.voxels.plan import View, make_view
from voxterra.kernels.voxels.resample import shrink
from voxterra.surface.voxels.octree import Cube, Octree, make_octree

MAX_SIDE = 32_000
"""Pixels along a side of an image; rectangles of voxels are kept in 16 bits."""
NEAR_OF_EDGE = 1e-3
"""Nearest depth that is rendered, in edges of the main bound."""


@dataclass
class Voxels:
    """A voxel model on a device; training changes it in place.

    Attributes:
        octree: leaves, corners and orders.
        sdf: (M,) float32 signed distances at the corners [world unit], positive in free space.
        sh0: (N, 3) float32 base colours (spherical harmonics of degree 0).
        shs: (N, K - 1, 3) float32 higher degrees.
        sharpness: (17,) float32 sharpness of the opacity by octree level [1 / world unit].
        background: (3,) float32 colour of what no voxel covers.
    """

    octree: Octree
    sdf: Tensor
    sh0: Tensor
    shs: Tensor
    sharpness: Tensor
    background: Tensor

    @property
    def degree(self) -> int:
        return math.isqrt(self.shs.shape[1] + 1) - 1

    @property
    def device(self) -> torch.device:
        return self.sdf.device

    def __len__(self) -> int:
        return len(self.sh0)


@dataclass(frozen=True)
class Rendered:
    """What a view sees, (H, W, ...) float32 on the model's device.

    Attributes:
        color: (H, W, 3) in [0, 1] over the background (not clamped).
        transmittance: (H, W) light that passes all voxels.
        depth: (H, W) mean depth of what is covered; 0 = nothing there.
        median_depth: (H, W) depth at which half of the light is gone; 0 = none.
        normal: (H, W, 3) in world, unit length; 0 = none.
    """

    color: Tensor
    transmittance: Tensor
    depth: Tensor
    median_depth: Tensor
    normal: Tensor


def to_device(model: VoxelModel, device: torch.device | str) -> Voxels:
    """The model's parameters as tensors on `device`."""
    octree = make_octree(
        model.cube,
        torch.as_tensor(model.path, device=device),
        torch.as_tensor(model.level, device=device),
    )

    def tensor(array: np.ndarray) -> Tensor:
        return torch.tensor(np.asarray(array, np.float32), device=device)

    return Voxels(
        octree,
        tensor(model.sdf),
        tensor(model.sh0),
        tensor(model.shs),
        tensor(model.sharpness),
        tensor(model.background),
    )


def to_model(voxels: Voxels) -> VoxelModel:
    """The parameters as a core type (numpy)."""

    def array(tensor: Tensor) -> np.ndarray:
        return tensor.detach().cpu().numpy()

    octree = voxels.octree
    return VoxelModel(
        center=np.asarray(octree.cube.center, np.float64),
        inside_edge=octree.cube.inside_edge,
        outside_level=octree.cube.outside_level,
        path=array(octree.path),
        level=array(octree.level),
        sdf=array(voxels.sdf),
        sh0=array(voxels.sh0),
        shs=array(voxels.shs),
        sharpness=array(voxels.sharpness),
        background=array(voxels.background),
    )


def kernel_view(view: PinholeView, cube: Cube, device: torch.device, ss: float = 1.0) -> View:
    """The view as the kernels take it, `ss` times as large as its image."""
    ss = max(ss, 1.0)
    width, height = round(view.width * ss), round(view.height * ss)
    if max(width, height) > MAX_SIDE:
        raise UsageError(
            f"An image rendered at {width} x {height} pixels is larger than {MAX_SIDE} a side.",
            where=f"photo {view.name}",
            next_step="Train on smaller photos (--res_width) or with a smaller --ss.",
        )
    sized = view.resized(width, height)
    near = NEAR_OF_EDGE * cube.inside_edge
    return make_view(sized.K, sized.cam_from_world, width, height, near, device)


def rasterize(
    voxels: Voxels,
    view: View,
    *,
    max_weight: bool = False,
    features: int = layout.F_ALL,
    samples: int = 1,
) -> tuple[Tensor, Tensor, ops.Bins, ops.Forward]:
    """Records, pixel rectangles, bins and the forward pass of one view."""
    octree = voxels.octree
    record, rect = ops.prepare(
        octree.lo_size, octree.level, octree.corner_index, voxels.sdf, voxels.sh0, voxels.shs,
        voxels.sharpness, view, voxels.degree, cull=not features & layout.F_RISE,
    )  # fmt: skip
    bins = ops.bin_voxels(rect, octree.rank_order, view)
    forward = ops.rasterize_forward(
        record, rect, bins, view, max_weight=max_weight, features=features, samples=samples
    )
    return record, rect, bins, forward


def nearest_samples(pixels: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Rows (height, 1) and columns (1, width) of a larger image's pixels nearest to a smaller's."""
    rows = (torch.arange(height, device=pixels.device) + 0.5) * (pixels.shape[0] / height)
    columns = (torch.arange(width, device=pixels.device) + 0.5) * (pixels.shape[1] / width)
    return rows.long()[:, None], columns.long()[None]


def render_view(voxels: Voxels, view: PinholeView, *, ss: float = 1.0) -> Rendered:
    """What `view` sees of the model.

    Args:
        voxels: of `to_device`.
        view: pinhole view in the model's world.
        ss: render this much larger and average.
    """
    kernel = kernel_view(view, voxels.octree.cube, voxels.device, ss)
    full = rasterize(voxels, kernel)[3].pixels
    # A mean of medians lies on no surface: the nearest sample.
    median = full[*nearest_samples(full, view.height, view.width), layout.P_MEDIAN]
    pixels = shrink(full, view.height, view.width)
    transmittance = pixels[..., layout.P_T]
    covered = 1.0 - transmittance
    depth = pixels[..., layout.P_DEPTH] / covered.clamp_min(1e-6)
    normal = torch.nn.functional.normalize(
        pixels[..., layout.P_NORMAL : layout.P_NORMAL + 3], dim=-1
    )
    color = pixels[..., :3] + transmittance[..., None] * voxels.background
    return Rendered(
        color,
        transmittance,
        torch.where(covered > 0.5, depth, 0.0),
        median.contiguous(),
        torch.where(covered[..., None] > 0.5, normal, 0.0),
    )
