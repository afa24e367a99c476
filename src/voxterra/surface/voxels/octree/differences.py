"""Rows of corners for central differences, on the lattice of every level that has cells.

The cells of a level are its leaves and the ancestors of finer leaves: so where a fine and a coarse
leaf meet, the corners of the coarse one are also compared over the fine one's parent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from voxterra.core.morton import KEY_MASK, MAX_LEVEL, coordinates_of, key_of, lattice_of
from voxterra.surface.voxels.octree.lattice import find
from voxterra.surface.voxels.octree.octree import Octree

FIRST_LEVEL = 3
"""Coarsest level inside the main bound that is compared: an eighth of its edge."""


@dataclass(frozen=True, eq=False)
class Stencils:
    """Corners and their neighbours at one distance along the axes.

    Attributes:
        rows: int32[R, 7]: centre, -x, +x, -y, +y, -z, +z; -1 = there is no such corner.
        h: float32[R], the distance [world].
    """

    rows: Tensor
    h: Tensor


_LOOKED_UP_TOGETHER = 1 << 18
"""Corners whose neighbours are looked for at once: looking takes many times what is found."""


def stencils(octree: Octree, first_level: int = FIRST_LEVEL) -> Stencils:
    """Rows for the eikonal and the Laplacian terms, level by level, coarse to fine.

    A corner has one row for each level of cells around it. Rows lie in the main bound, centres
    on its faces included, and have both neighbours along one axis at least.

    Args:
        first_level: coarsest level counted from the main bound, whose own level is 0.
    """
    rows, h = [torch.empty((0, 7), dtype=torch.int32, device=octree.device)], [0.0]
    finest = int(octree.level.max())
    for level in range(octree.cube.outside_level + first_level, finest + 1):
        parts = _rows(octree, level)
        rows += parts
        h += [octree.cube.edge / 2**level] * len(parts)
    counts = torch.tensor([len(part) for part in rows], device=octree.device)
    distance = torch.tensor(h, dtype=torch.float32, device=octree.device)
    return Stencils(torch.cat(rows), distance.repeat_interleave(counts))


def _rows(octree: Octree, level: int) -> list[Tensor]:
    """int32[R, 7] of one level, in parts."""
    centers = _corners_of_cells(octree, level)
    return [_rows_around(octree, level, part) for part in centers.split(_LOOKED_UP_TOGETHER)]


def _rows_around(octree: Octree, level: int, center: Tensor) -> Tensor:
    """int32[R, 7] around these corners, int64."""
    step = 1 << (MAX_LEVEL - level)
    x, y, z = coordinates_of(octree.corner_key[center])
    low, high = octree.cube.inside
    inside = torch.minimum(torch.minimum(x, y), z) >= low
    inside &= torch.maximum(torch.maximum(x, y), z) <= high
    center, x, y, z = center[inside], x[inside], y[inside], z[inside]
    rows = torch.full((center.numel(), 7), -1, dtype=torch.int32, device=octree.device)
    rows[:, 0] = center.to(torch.int32)
    for axis in range(3):
        for side in (0, 1):
            point = [x, y, z]
            point[axis] = point[axis] + (2 * side - 1) * step
            # A coordinate that leaves the cube must not carry over into the next one's bits.
            at = find(octree.corner_key, key_of(*(p.clamp(0, KEY_MASK) for p in point)))
            at = torch.where(point[axis] >= 0, at, -1)
            rows[:, 1 + 2 * axis + side] = at.to(torch.int32)
    both = (rows[:, 1::2] >= 0) & (rows[:, 2::2] >= 0)
    return rows[both.any(dim=1)]


def _corners_of_cells(octree: Octree, level: int) -> Tensor:
    """int64 indices, ascending, of the corners that the cells of a level have."""
    deep = octree.level >= level
    below = 3 * (MAX_LEVEL - level)
    cell = torch.unique_consecutive(octree.path[deep] >> below) << below
    lower = key_of(*lattice_of(cell))
    edge = 1 << (MAX_LEVEL - level)
    is_corner = torch.zeros(octree.corner_count, dtype=torch.bool, device=octree.device)
    for c in range(8):
        step = key_of(*(edge * (c >> bit & 1) for bit in (2, 1, 0)))
        at = find(octree.corner_key, lower + step)
        is_corner[at[at >= 0]] = True
    return torch.nonzero(is_corner).flatten()
