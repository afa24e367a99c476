"""The octree itself: leaves in Morton order, shared corners, and the orders a ray needs.

Everything is made from `(path, level)` alone, on the device where these lie: one sort of the
corner keys gives the corners, their indices and the list of voxels around each (CSR); three
sorts of the paths give the front-to-back order of all eight octants.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from voxterra.core.morton import MAX_LEVEL, PATH_BITS, key_of, lattice_of
from voxterra.core.voxels import Cube
from voxterra.surface.voxels.octree.lattice import cells_edge, world_of


@dataclass(frozen=True, eq=False)
class Octree:
    """N leaves and the M corners they share; all tensors on one device.

    Attributes:
        cube: where the root cube stands in world.
        path: int64[N], ascending.
        level: int8[N], root = 0.
        corner_key: int64[M], ascending (see `core.morton`).
        corner_index: int32[N, 8], corner c = 4x + 2y + z of each leaf.
        lo_size: float32[N, 4], lower corner (x, y, z) and edge [world].
        corner_start: int32[M + 1]; the slots around corner m are
            `corner_slot[corner_start[m]:corner_start[m + 1]]`.
        corner_slot: int32[8 N], each a `leaf * 8 + c`, ascending around each corner.
        rank_order: int32[8, N], the leaves front to back for rays of each sign octant (bit set
            where the direction is negative; x, y, z = 4, 2, 1).
    """

    cube: Cube
    path: Tensor
    level: Tensor
    corner_key: Tensor
    corner_index: Tensor
    lo_size: Tensor
    corner_start: Tensor
    corner_slot: Tensor
    rank_order: Tensor

    @property
    def count(self) -> int:
        """Leaves, N."""
        return self.path.shape[0]

    @property
    def corner_count(self) -> int:
        """Corners, M."""
        return self.corner_key.shape[0]

    @property
    def device(self) -> torch.device:
        """Where all tensors lie."""
        return self.path.device

    def to(self, device: torch.device | str) -> Octree:
        """The same octree on another device."""
        moved: dict[str, Any] = {
            field.name: getattr(self, field.name).to(device)
            for field in fields(self)
            if field.name != "cube"
        }
        return replace(self, **moved)


def make_octree(cube: Cube, path: Tensor, level: Tensor) -> Octree:
    """The octree of given leaves.

    Args:
        cube: root cube.
        path: int64[N], in any order.
        level: integer[N], 0 to 16.

    Raises:
        ValueError: there is no leaf, or too many to number, a level is not in 0 .. 16, a path has
            bits below its level, or two leaves overlap.
    """
    path = path.to(torch.int64)
    level = level.to(device=path.device, dtype=torch.int8)
    if path.ndim != 1 or path.shape != level.shape or path.numel() == 0:
        raise ValueError(f"leaves of an octree: paths {path.shape}, levels {level.shape}")
    if path.numel() >= 2**28:
        raise ValueError(f"too many leaves for 32-bit slots: {path.numel()}")
    if not bool((path[1:] > path[:-1]).all()):
        path, order = torch.sort(path)
        level = level[order]
    _check(path, level)
    path, level = path.contiguous(), level.contiguous()
    key, index, start, slot = shared_corners(path, level)
    return Octree(
        cube=cube,
        path=path,
        level=level,
        corner_key=key,
        corner_index=index,
        lo_size=_lo_size(cube, path, level),
        corner_start=start,
        corner_slot=slot,
        rank_order=_rank_order(path),
    )


def uniform(cube: Cube, level: int, device: torch.device | str = "cpu") -> Octree:
    """All 8^level voxels of one level of the root cube.

    Raises:
        ValueError: a level below 0, or of more voxels than 32-bit slots can number (10 and up).
    """
    if not 0 <= level <= 9:
        raise ValueError(f"a uniform octree has a level of 0 .. 9, not {level}")
    path = torch.arange(8**level, dtype=torch.int64, device=device) << (3 * (MAX_LEVEL - level))
    return make_octree(cube, path, torch.full_like(path, level, dtype=torch.int8))


def _check(path: Tensor, level: Tensor) -> None:
    if bool(((level < 0) | (level > MAX_LEVEL)).any()):
        raise ValueError("a leaf's level is not in 0 .. 16")
    span = cells_edge(level) ** 3
    if bool(((path < 0) | (path >= 1 << PATH_BITS) | ((path & (span - 1)) != 0)).any()):
        raise ValueError("a leaf's path does not belong to its level")
    if bool((path[1:] < path[:-1] + span[:-1]).any()):
        raise ValueError("two leaves of an octree overlap")


def shared_corners(path: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(corner_key, corner_index, corner_start, corner_slot) of leaves, as in `Octree`."""
    x, y, z = lattice_of(path)
    edge = cells_edge(level)
    lower = key_of(x, y, z)
    keys = torch.empty((path.numel(), 8), dtype=torch.int64, device=path.device)
    for c in range(8):
        # Keys add like coordinates: no coordinate overflows its 17 bits.
        step = key_of(*(edge * (c >> bit & 1) for bit in (2, 1, 0)))
        keys[:, c] = lower + step
    del x, y, z, edge, lower
    keys, order = torch.sort(keys.flatten(), stable=True)
    first = torch.ones_like(keys, dtype=torch.bool)
    first[1:] = keys[1:] != keys[:-1]
    slot = order.to(torch.int32)
    start = torch.nonzero(first).flatten()
    key = keys[start]
    del keys
    index = torch.empty_like(slot)
    index[order] = torch.cumsum(first, 0, dtype=torch.int32) - 1
    end = torch.full((1,), slot.numel(), dtype=torch.int32, device=path.device)
    return key, index.view(-1, 8), torch.cat([start.to(torch.int32), end]), slot


def _lo_size(cube: Cube, path: Tensor, level: Tensor) -> Tensor:
    edge = (cells_edge(level).double() * cube.unit).float()
    return torch.cat([world_of(cube, *lattice_of(path)), edge[:, None]], dim=1)


def _rank_order(path: Tensor) -> Tensor:
    count = path.numel()
    order = torch.empty((8, count), dtype=torch.int32, device=path.device)
    order[0] = torch.arange(count, dtype=torch.int32, device=path.device)
    for octant in (1, 2, 3):
        flip = sum(octant << (3 * level) for level in range(MAX_LEVEL))
        order[octant] = torch.argsort(path ^ flip).to(torch.int32)
    for octant in range(4):
        # Flipping all three signs turns the order round.
        order[7 - octant] = torch.flip(order[octant], (0,))
    return order
