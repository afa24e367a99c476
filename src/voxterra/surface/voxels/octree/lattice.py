"""The cube of the scene, its integer lattice, and the Morton paths and corner keys of voxels.

The root cube is divided 2^16 times a side at most. A voxel's path has three bits a level, the first
level in the top bits, x, y, z = 4, 2, 1; bits below the voxel's own level are 0. A lattice point
has the key (x << 34) | (y << 17) | z, its coordinates going from 0 to 2^16 inclusive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_LEVEL = 16
LATTICE = 1 << MAX_LEVEL
"""Finest cells along a side of the root cube."""
PATH_BITS = 3 * MAX_LEVEL
KEY_BITS = 17
KEY_MASK = (1 << KEY_BITS) - 1

# Steps that put two zero bits between the bits of a 16-bit number: (shift, mask).
_SPREAD = (
    (32, 0x001F00000000FFFF),
    (16, 0x001F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)


@dataclass(frozen=True)
class Cube:
    """The root cube around the main bound, in world.

    Attributes:
        center: (3,) of both cubes [world].
        inside_edge: edge of the main bound [world].
        outside_level: how often the edge doubles outside of it; the root's edge is
            `inside_edge * 2**outside_level`.

    Raises:
        ValueError: the edge is not a positive number, or the level not in 0 .. 15.
    """

    center: tuple[float, float, float]
    inside_edge: float
    outside_level: int

    def __post_init__(self) -> None:
        x, y, z = (float(value) for value in self.center)
        object.__setattr__(self, "center", (x, y, z))
        object.__setattr__(self, "inside_edge", float(self.inside_edge))
        object.__setattr__(self, "outside_level", int(self.outside_level))
        if not all(math.isfinite(value) for value in (x, y, z)):
            raise ValueError(f"center of a cube is not finite: {self.center}")
        if not (math.isfinite(self.inside_edge) and self.inside_edge > 0):
            raise ValueError(f"edge of a cube must be positive: {self.inside_edge}")
        if not 0 <= self.outside_level < MAX_LEVEL:
            raise ValueError(f"outside_level must be 0 .. 15: {self.outside_level}")

    @property
    def edge(self) -> float:
        """Edge of the root cube [world]."""
        return self.inside_edge * 2.0**self.outside_level

    @property
    def unit(self) -> float:
        """Edge of a finest cell [world]."""
        return self.edge / LATTICE

    @property
    def origin(self) -> tuple[float, float, float]:
        """(3,) lowest corner of the root cube [world]."""
        x, y, z = self.center
        half = self.edge / 2
        return x - half, y - half, z - half

    @property
    def inside(self) -> tuple[int, int]:
        """First and last lattice coordinate of the main bound, the same on each axis."""
        half = LATTICE >> (self.outside_level + 1)
        return LATTICE // 2 - half, LATTICE // 2 + half


def spread(value: Tensor) -> Tensor:
    """int64 of 16 bits -> int64 with bit i at bit 3 i."""
    for shift, mask in _SPREAD:
        value = (value | (value << shift)) & mask
    return value


def compact(value: Tensor) -> Tensor:
    """Inverse of `spread`; other bits are ignored."""
    value = value & _SPREAD[-1][1]
    for (shift, _), (_, mask) in zip(_SPREAD[::-1], _SPREAD[-2::-1]):
        value = (value | (value >> shift)) & mask
    return (value | (value >> 32)) & 0xFFFF


def path_of(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Path (level 16) of the finest cells at lattice coordinates 0 .. 2^16 - 1 (int64)."""
    return (spread(x) << 2) | (spread(y) << 1) | spread(z)


def lattice_of(path: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lattice coordinates (x, y, z), int64, of the lower corner of the voxels at `path`."""
    return compact(path >> 2), compact(path >> 1), compact(path)


def key_of(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Key of lattice points at coordinates 0 .. 2^16 (int64)."""
    return (x << (2 * KEY_BITS)) | (y << KEY_BITS) | z


def coordinates_of(key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lattice coordinates (x, y, z), int64, of keys."""
    return key >> (2 * KEY_BITS), (key >> KEY_BITS) & KEY_MASK, key & KEY_MASK


def cells_edge(level: Tensor) -> Tensor:
    """Edge of voxels in finest cells, int64, from their level (any integer type)."""
    return torch.ones_like(level, dtype=torch.int64) << (MAX_LEVEL - level.long())


def find(sorted_keys: Tensor, keys: Tensor) -> Tensor:
    """Where `keys` stand in `sorted_keys` (ascending, no duplicates): int64, -1 = nowhere."""
    if sorted_keys.numel() == 0:
        return torch.full_like(keys, -1)
    at = torch.searchsorted(sorted_keys, keys)
    at.clamp_(max=sorted_keys.numel() - 1)
    return torch.where(sorted_keys[at] == keys, at, -1)


def world_of(cube: Cube, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """World position of lattice coordinates: float32 [..., 3], rounded once from float64."""
    axes = [
        (coordinate.double() * cube.unit + low).float()
        for coordinate, low in zip((x, y, z), cube.origin)
    ]
    return torch.stack(axes, dim=-1)
