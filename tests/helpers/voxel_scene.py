"""Small sparse-voxel scenes for tests of kernels: a bent sphere on leaves of several levels.

The arrays are built here in a few lines of their own, so that a fault of the octree's module and
a fault of the kernels cannot hide each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from voxterra.kernels.voxels.math import CAMERA

LEVELS = 16


@dataclass(frozen=True)
class VoxelScene:
    """Leaves and parameters; the layouts are those of `kernels.voxels.ops`."""

    path: Tensor
    level: Tensor
    lo_size: Tensor
    corner_index: Tensor
    corner_start: Tensor
    corner_slot: Tensor
    rank_order: Tensor
    sdf: Tensor
    sh0: Tensor
    shs: Tensor
    sharpness: Tensor

    def to(self, device: str) -> VoxelScene:
        return VoxelScene(**{k: v.to(device) for k, v in vars(self).items()})


def leaves(split_until: int, start: int, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Cells (lower corner [N, 3] on the finest lattice, level [N]) of the root cube [-1, 1]:
    cells near the sphere's surface are split, from level `start` on."""
    n = 1 << start
    cells = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    cells = cells << (LEVELS - start)
    out, levels = [], []
    for level in range(start, split_until + 1):
        edge = 2.0 / (1 << level)
        centre = cells / (1 << LEVELS) * 2 - 1 + edge / 2
        near = np.abs(np.linalg.norm(centre, axis=1) - radius) < 0.6 * edge
        if level == split_until:
            near[:] = False
        out.append(cells[~near])
        levels.append(np.full((~near).sum(), level))
        half = (1 << (LEVELS - level)) >> 1
        bits = np.array([[c >> 2 & 1, c >> 1 & 1, c & 1] for c in range(8)])
        cells = (cells[near][:, None] + half * bits).reshape(-1, 3)
    return np.concatenate(out), np.concatenate(levels)


def paths(lattice: np.ndarray) -> np.ndarray:
    """Morton paths: 3 bits a level, the root's children in the top bits, x, y, z = 4, 2, 1."""
    out = np.zeros(len(lattice), np.int64)
    for bit in range(LEVELS):
        for axis, weight in ((0, 4), (1, 2), (2, 1)):
            out |= ((lattice[:, axis] >> bit) & 1) * weight << (3 * bit)
    return out


def voxel_scene(
    seed: int = 0,
    *,
    start: int = 2,
    split_until: int = 3,
    radius: float = 0.62,
    degree: int = 3,
    sharp: float = 2.3,
    noise: float = 0.15,
    room: bool = False,
    dtype: torch.dtype = torch.float32,
) -> VoxelScene:
    """A sphere with noise on its distances (in voxels) and random colours.

    With `room` its inside is free space, seen from within.
    """
    rng = np.random.default_rng(seed)
    lattice, level = leaves(split_until, start, radius)
    path = paths(lattice)
    by_path = np.argsort(path)
    lattice, level, path = lattice[by_path], level[by_path], path[by_path]
    edge = 1 << (LEVELS - level)
    bits = np.array([[c >> 2 & 1, c >> 1 & 1, c & 1] for c in range(8)])
    corner = (lattice[:, None] + edge[:, None, None] * bits).reshape(-1, 3)
    key = corner[:, 0] << 34 | corner[:, 1] << 17 | corner[:, 2]
    unique, index = np.unique(key, return_inverse=True)
    slot = np.argsort(index, kind="stable")
    where = np.stack([unique >> 34, (unique >> 17) & 0x1FFFF, unique & 0x1FFFF], 1)
    position = where / (1 << LEVELS) * 2 - 1
    smallest = 2.0 / (1 << split_until)
    sdf = (-1 if room else 1) * (np.linalg.norm(position, axis=1) - radius)
    sdf += noise * smallest * rng.standard_normal(len(sdf))
    octant = np.arange(8)[:, None] * sum(1 << (3 * k) for k in range(LEVELS))
    n, k = len(path), (degree + 1) ** 2
    sharpness = sharp * (1 << np.arange(17)) / 2.0
    lo_size = np.concatenate([lattice / (1 << LEVELS) * 2 - 1, 2.0 / (1 << level)[:, None]], 1)
    counts = np.bincount(index, minlength=len(unique))
    real = {
        "lo_size": lo_size,
        "sdf": sdf,
        "sh0": 0.8 * rng.standard_normal((n, 3)),
        "shs": 0.2 * rng.standard_normal((n, k - 1, 3)),
        "sharpness": sharpness,
    }
    whole = {
        "corner_index": index.reshape(-1, 8),
        "corner_start": np.concatenate([[0], np.cumsum(counts)]),
        "corner_slot": slot,
        "rank_order": np.argsort(path[None] ^ octant, axis=1),
    }
    return VoxelScene(
        path=torch.from_numpy(path),
        level=torch.from_numpy(level.astype(np.int8)),
        **{name: torch.from_numpy(np.ascontiguousarray(v)).to(dtype) for name, v in real.items()},
        **{name: torch.from_numpy(v.astype(np.int32)) for name, v in whole.items()},
    )


def look_at(eye: tuple[float, float, float], target: tuple[float, float, float]) -> np.ndarray:
    """cam_from_world (4, 4): x right, y down, z forward."""
    forward = np.subtract(target, eye).astype(float)
    forward /= np.linalg.norm(forward)
    up = [0.0, 0.0, 1.0] if abs(forward[2]) < 0.95 else [0.0, 1.0, 0.0]
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    out = np.eye(4)
    out[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    out[:3, 3] = -out[:3, :3] @ np.asarray(eye, float)
    return out


def intrinsics(width: int, height: int, focal: float) -> np.ndarray:
    """K (3, 3), its principal point off the middle."""
    return np.array([[focal, 0, width / 2 + 0.3], [0, focal * 1.03, height / 2 - 0.7], [0, 0, 1]])


def camera_values(
    K: np.ndarray, cam_from_world: np.ndarray, width: int, height: int, near: float
) -> Tensor:
    """float64 [20] in the layout C_*."""
    rotation = cam_from_world[:3, :3].T
    center = -rotation @ cam_from_world[:3, 3]
    numbers = [K[0, 0], K[1, 1], K[0, 2], K[1, 2], width, height, near, 0.0]
    values = np.concatenate([rotation.ravel(), center, numbers])
    assert len(values) == CAMERA
    return torch.from_numpy(values)


CAMERAS = {
    "from +x": (False, (2.4, 0.2, 0.1), (0.0, 0.0, 0.0), 30.0),
    "from -x": (False, (-2.4, -0.3, 0.4), (0.0, 0.1, 0.0), 30.0),
    "oblique": (False, (1.5, 1.9, 1.4), (0.1, -0.1, 0.0), 34.0),
    "oblique below": (False, (-1.3, 1.1, -1.9), (0.0, 0.0, 0.0), 34.0),
    "in the grid": (False, (-0.8, 0.75, -0.7), (0.0, 0.0, 0.0), 14.0),
    "along an edge": (False, (0.51, 0.49, -1.6), (0.5, 0.5, 0.0), 9.0),
    "in a room": (True, (0.07, -0.11, 0.05), (1.0, 0.9, 1.1), 8.0),
    "in a room, back": (True, (0.07, -0.11, 0.05), (-1.0, -0.9, -1.1), 8.0),
}
"""Room or sphere, eye, target and focal length [px] for pictures of 32 x 24."""
