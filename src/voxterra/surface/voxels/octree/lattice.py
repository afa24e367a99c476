"""The integer lattice of the root cube in torch; the codes of its cells and corners are those of
`core.morton`."""

from __future__ import annotations

import torch
from torch import Tensor

from voxterra.core.morton import MAX_LEVEL
from voxterra.core.voxels import Cube


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
