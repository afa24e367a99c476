"""A view as the rasterizer sees it: the camera's record and the buckets of its image.

The image is cut into tiles of 16x16 pixels. Rays of one sign octant meet the voxels in one fixed
order, so a bucket is a pair (tile, octant) and each pixel reads the bucket of its own octant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from voxterra.kernels.voxels import math as vm

TILE = 16
"""Edge of a tile [px]."""
_SLACK = 1e-5
"""A direction's component this near to 0, relative to its largest, may round to either sign."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Buckets of a view and image size. A bucket's tile is `row * tiles_x + column`."""

    tiles_x: int
    tiles_y: int
    bucket_of: NDArray[np.int32]
    """[tiles, 8]: bucket of a tile and octant, -1 where no pixel's ray is of that octant."""
    bucket_tile: NDArray[np.int32]
    """[B], ascending."""
    bucket_octant: NDArray[np.int8]
    """[B]"""


@dataclass(frozen=True, eq=False)
class View:
    """A camera, its image's size and plan. `camera` [20] lies on the device; see `math.C_*`."""

    camera: torch.Tensor
    plan: Plan
    width: int
    height: int


def make_view(
    K: ArrayLike,
    cam_from_world: ArrayLike,
    width: int,
    height: int,
    near: float,
    device: torch.device | str = "cpu",
) -> View:
    """View of a pinhole camera.

    Args:
        K: intrinsics [3, 3] [px]; the first pixel's centre is at (0.5, 0.5).
        cam_from_world: rigid transform [3, 4] or [4, 4]; camera axes x right, y down, z forward.
        width, height: of the image [px].
        near: nearest depth along the optical axis [world units].
        device: where the camera's record goes.
    """
    intrinsics = np.asarray(K, np.float64)
    pose = np.asarray(cam_from_world, np.float64)
    world_from_cam = pose[:3, :3].T
    camera = np.zeros(vm.CAMERA, np.float64)
    camera[vm.C_ROTATION : vm.C_ROTATION + 9] = world_from_cam.ravel()
    camera[vm.C_CENTER : vm.C_CENTER + 3] = -world_from_cam @ pose[:3, 3]
    camera[vm.C_FX], camera[vm.C_FY] = intrinsics[0, 0], intrinsics[1, 1]
    camera[vm.C_CX], camera[vm.C_CY] = intrinsics[0, 2], intrinsics[1, 2]
    camera[vm.C_WIDTH], camera[vm.C_HEIGHT], camera[vm.C_NEAR] = width, height, near
    record = camera.astype(np.float32)
    plan = make_plan(record, width, height)
    return View(torch.from_numpy(record).to(device), plan, width, height)


def make_plan(camera: NDArray[np.float32], width: int, height: int) -> Plan:
    """Buckets of an image: for each tile the octants that its pixels' rays can have.

    A component of the direction is linear in the pixel, so its signs at the tile's four corner
    pixels bound those inside. `camera` [20] is the record described in `voxels.math`.
    """
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    u = (_ends(tiles_x, width) - camera[vm.C_CX]) / camera[vm.C_FX]
    v = (_ends(tiles_y, height) - camera[vm.C_CY]) / camera[vm.C_FY]
    rotation = camera[vm.C_ROTATION : vm.C_ROTATION + 9].reshape(3, 3).astype(np.float64)
    possible = np.ones((tiles_y, tiles_x, 8), bool)
    for axis in range(3):
        a, b, c = rotation[axis]
        component = a * u[None, :, None, :] + b * v[:, None, :, None] + c
        slack = _SLACK * (abs(a) * np.abs(u).max() + abs(b) * np.abs(v).max() + abs(c))
        negative = (component < slack).any(axis=(2, 3))
        positive = (component > -slack).any(axis=(2, 3))
        bit = (np.arange(8) >> (2 - axis) & 1).astype(bool)
        possible &= np.where(bit, negative[..., None], positive[..., None])
    tile, octant = np.nonzero(possible.reshape(-1, 8))
    bucket_of = np.full((tiles_x * tiles_y, 8), -1, np.int32)
    bucket_of[tile, octant] = np.arange(len(tile))
    return Plan(tiles_x, tiles_y, bucket_of, tile.astype(np.int32), octant.astype(np.int8))


def _ends(tiles: int, pixels: int) -> NDArray[np.float64]:
    """[tiles, 2]: centres of the first and last pixel of each tile along one axis [px]."""
    first = np.arange(tiles) * TILE
    return np.stack([first, np.minimum(first + TILE, pixels) - 1], 1) + 0.5


def camera_array(view: View) -> NDArray[Any]:
    """The camera's record as a numpy array (a CPU view only)."""
    return np.asarray(view.camera.numpy())
