"""Cells before they are an octree: paths and levels, and which of them the surface can touch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from voxterra.surface.voxels.octree.lattice import (
    MAX_LEVEL,
    Cube,
    cells_edge,
    coordinates_of,
    lattice_of,
    world_of,
)
from voxterra.surface.voxels.octree.octree import shared_corners
from voxterra.surface.voxels.octree.query import corner_range

Field = Callable[[Tensor], Tensor]
"""float[P, 3] in world -> float[P]."""

CHUNK = 1 << 20
"""Points looked at together ..."""
CELLS = 1 << 18
"""... and cells with their corners."""


def graded(
    cube: Cube, inside: int, shell: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Cells that cover the root cube: fine in the main bound, coarser with every doubling.

    Args:
        inside: level of the cells in the main bound, counted from it; 1 at least.
        shell: the same for each shell of twice the edge; 2 at least.

    Returns:
        (int64[N] paths, int8[N] levels), not sorted.
    """
    inside, shell = max(inside, 1), max(shell, 2)
    path = torch.zeros(1, dtype=torch.int64, device=device)
    paths, levels = [], []
    for level in range(MAX_LEVEL + 1):
        depth = torch.full_like(path, level)
        around = shell_of(cube, path, depth)
        wanted = cube.outside_level - around + torch.where(around > 0, shell, inside)
        done = wanted <= level
        paths.append(path[done])
        levels.append(depth[done].to(torch.int8))
        path, _ = children(path[~done], depth[~done])
        if not len(path):
            break
    return torch.cat(paths), torch.cat(levels)


def shell_of(cube: Cube, path: Tensor, level: Tensor) -> Tensor:
    """int64[N]: 0 for cells that reach into the main bound, k for the k-th doubling around it."""
    middle = (cube.inside[0] + cube.inside[1]) // 2
    edge, distance = cells_edge(level), torch.zeros_like(path)
    for low in lattice_of(path):
        distance = torch.maximum(distance, torch.maximum(low - middle, middle - low - edge))
    shell = torch.zeros_like(path)
    for k in range(cube.outside_level):
        shell += distance >= (cube.inside[1] - middle) << k
    return shell


def children(path: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """The eight children of each cell, those of a cell side by side; level: any integer type."""
    step = cells_edge(level + 1) ** 3
    child = torch.arange(8, device=path.device)
    return (path[:, None] + step[:, None] * child).flatten(), (level + 1).repeat_interleave(8)


@dataclass(frozen=True)
class Nearness:
    """What is near the surface.

    Attributes:
        cube: root cube.
        sdf_at: signed distance [world].
        band: cells whose centre is within 1 + band half diagonals of the surface are near.
    """

    cube: Cube
    sdf_at: Field
    band: float

    def near(self, path: Tensor, level: Tensor) -> Tensor:
        """bool[N]: cells that the surface crosses, or that are within the band."""
        parts = [self._near(*part) for part in zip(path.split(CELLS), level.split(CELLS))]
        return torch.cat(parts) if parts else path.new_empty(0, dtype=torch.bool)

    def _near(self, path: Tensor, level: Tensor) -> Tensor:
        half = cells_edge(level) // 2
        edge = cells_edge(level) * self.cube.unit
        center = world_of(self.cube, *(p + half for p in lattice_of(path)))
        # A finest cell has no lattice point at its centre.
        center += torch.where(half == 0, edge / 2, 0.0)[:, None].to(center.dtype)
        limit = (1 + self.band) * math.sqrt(3) / 2 * edge
        near = self.value(center).abs() <= limit
        # A field that is no true distance may change its sign farther away than it says.
        key, index, _, _ = shared_corners(path, level)
        low, high = corner_range(index, self.value(world_of(self.cube, *coordinates_of(key))))
        return near | ((low < 0) & (high >= 0))

    def value(self, points: Tensor) -> Tensor:
        """float32[P] distances."""
        parts = [self.sdf_at(part).to(torch.float32) for part in points.split(CHUNK)]
        value = torch.cat(parts) if parts else points.new_empty(0)
        if not bool(torch.isfinite(value).all()):
            raise ValueError("a signed distance to start from is not finite")
        return value
