"""What can be asked of an octree: which leaf holds a point, the value there, where corners are."""

from __future__ import annotations

import torch
from torch import Tensor

from voxterra.core.morton import LATTICE, coordinates_of, lattice_of, path_of
from voxterra.surface.voxels.octree.lattice import cells_edge, world_of
from voxterra.surface.voxels.octree.octree import Octree

CHUNK = 1 << 20
"""Points looked at together, so that the memory taken does not grow with their number."""


def locate(octree: Octree, points: Tensor) -> Tensor:
    """The leaf that holds each point.

    A leaf holds its lower faces and not its upper ones, except on the upper faces of the root cube.

    Args:
        points: [P, 3] in world, any floating type.

    Returns:
        int64[P], -1 where there is no leaf (or the point is not finite).
    """
    parts = [locate_lattice(octree, *_cells(octree, p)) for p in points.split(CHUNK)]
    return torch.cat(parts) if parts else points.new_empty(0, dtype=torch.int64)


def locate_lattice(octree: Octree, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """The leaf that holds each finest cell, int64, -1 where none; any int64 coordinates."""
    inside = (torch.minimum(torch.minimum(x, y), z) >= 0) & (
        torch.maximum(torch.maximum(x, y), z) < LATTICE
    )
    top = LATTICE - 1
    path = path_of(x.clamp(0, top), y.clamp(0, top), z.clamp(0, top))
    at = torch.searchsorted(octree.path, path, right=True).sub_(1)
    leaf = at.clamp(min=0)
    span = cells_edge(octree.level[leaf]) ** 3
    return torch.where(inside & (at >= 0) & (path - octree.path[leaf] < span), at, -1)


def interpolate(octree: Octree, values: Tensor, points: Tensor) -> Tensor:
    """Trilinear value between the corners of the leaf that holds each point.

    Args:
        values: [M, ...] at the corners (`sdf`, for one).
        points: [P, 3] in world.

    Returns:
        [P, ...] of the type of `values`, nan where no leaf holds the point.
    """
    out = values.new_empty((points.shape[0], *values.shape[1:]))
    for part, target in zip(points.split(CHUNK), out.split(CHUNK)):
        leaf = locate_lattice(octree, *_cells(octree, part))
        found = leaf.clamp(min=0)
        target.copy_(blend(octree, values, found, unit_coordinates(octree, found, part)))
        target[leaf < 0] = torch.nan
    return out


def unit_coordinates(octree: Octree, leaf: Tensor, points: Tensor) -> Tensor:
    """Where points [P, 3] lie inside of leaves int64[P], in [0, 1]^3: float64[P, 3]."""
    lower = torch.stack(lattice_of(octree.path[leaf]), dim=-1)
    edge = cells_edge(octree.level[leaf])
    return ((_lattice(octree, points) - lower) / edge[:, None]).clamp(0, 1)


def blend(octree: Octree, values: Tensor, leaf: Tensor, unit: Tensor) -> Tensor:
    """Trilinear value [P, ...] inside of leaves int64[P], at unit coordinates [P, 3]."""
    shape = (-1, *(1,) * (values.ndim - 1))
    out = values.new_zeros((leaf.shape[0], *values.shape[1:]))
    for c in range(8):
        weight = torch.ones_like(unit[:, 0])
        for axis in range(3):
            weight *= unit[:, axis] if c >> (2 - axis) & 1 else 1 - unit[:, axis]
        corner = octree.corner_index[leaf, c].long()
        out += values[corner] * weight.to(values.dtype).view(shape)
    return out


def corner_positions(octree: Octree) -> Tensor:
    """float32[M, 3] positions of the corners in world."""
    return world_of(octree.cube, *coordinates_of(octree.corner_key))


def voxel_centers(octree: Octree) -> Tensor:
    """float32[N, 3] centres of the leaves in world."""
    return octree.lo_size[:, :3] + octree.lo_size[:, 3:] / 2


def corner_edge(octree: Octree) -> Tensor:
    """float32[M], edge of the smallest leaf around each corner [world]."""
    size = octree.lo_size[:, 3].contiguous()
    edge = size.new_full((octree.corner_count,), torch.inf)
    for c in range(8):
        edge.scatter_reduce_(0, octree.corner_index[:, c].long(), size, "amin")
    return edge


def crossing(octree: Octree, sdf: Tensor) -> Tensor:
    """bool[N]: leaves with corners on both sides of the surface (0 counts as free space).

    Args:
        sdf: [M] at the corners.
    """
    low, high = corner_range(octree.corner_index, sdf)
    return (low < 0) & (high >= 0)


def min_abs(octree: Octree, sdf: Tensor) -> Tensor:
    """[N] the smallest |distance| among each leaf's corners."""
    return corner_range(octree.corner_index, sdf.abs())[0]


def corner_range(corner_index: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """([N], [N]) the least and the largest of `values` [M] among each leaf's corners."""
    low = values[corner_index[:, 0].long()]
    high = low.clone()
    for c in range(1, 8):
        value = values[corner_index[:, c].long()]
        torch.minimum(low, value, out=low)
        torch.maximum(high, value, out=high)
    return low, high


def inside_main(octree: Octree) -> Tensor:
    """bool[N]: leaves whose centre is in the main bound."""
    low, high = octree.cube.inside
    half = cells_edge(octree.level).double() / 2
    inside = torch.ones_like(octree.path, dtype=torch.bool)
    for lower in lattice_of(octree.path):
        inside &= (lower + half > low) & (lower + half < high)
    return inside


def _lattice(octree: Octree, points: Tensor) -> Tensor:
    """World -> lattice coordinates, float64 [..., 3]."""
    origin = points.new_tensor(octree.cube.origin, dtype=torch.float64)
    return (points.double() - origin) / octree.cube.unit


def _cells(octree: Octree, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Finest cells (x, y, z), int64, that hold points; -1 where they are outside or not finite."""
    place = _lattice(octree, points)
    inside = ((place >= 0) & (place <= LATTICE)).all(dim=-1, keepdim=True)
    cell = torch.where(inside, place, 0.0).floor().long().clamp_(max=LATTICE - 1)
    x, y, z = torch.where(inside, cell, -1).unbind(-1)
    return x, y, z


def with_neighbours(octree: Octree, leaves: Tensor) -> Tensor:
    """`leaves` (bool[N]) and all that share a corner with one of them."""
    corner = torch.zeros(octree.corner_count, dtype=torch.bool, device=leaves.device)
    corner[octree.corner_index[leaves].long().flatten()] = True
    out = leaves.clone()
    for c in range(8):
        out |= corner[octree.corner_index[:, c].long()]
    return out
