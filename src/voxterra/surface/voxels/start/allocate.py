"""The octree that a training starts from: fine where the surface is, nothing far from it.

A structured start: the main bound is looked at in full on a coarse level, what lies outside in
shells that coarsen with the distance, and only cells that the surface can touch are divided, down
to the size of a pixel (such a start converges faster than a uniform grid: arXiv 2601.17720).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from voxterra.core.morton import MAX_LEVEL, coordinates_of, lattice_of
from voxterra.core.voxels import Cube
from voxterra.errors import ReconstructionError
from voxterra.surface.voxels.octree.lattice import cells_edge, world_of
from voxterra.surface.voxels.octree.octree import Octree, make_octree, shared_corners
from voxterra.surface.voxels.octree.query import (
    corner_positions,
    corner_range,
    crossing,
    inside_main,
    locate_lattice,
)
from voxterra.surface.voxels.octree.refinement import keep

logger = logging.getLogger(__name__)

Field = Callable[[Tensor], Tensor]
"""float[P, 3] in world -> float[P]."""

DENSE = 6
"""Levels inside the main bound down to which every cell is looked at."""
SHELL = 4
"""Each doubling of the edge outside of it is looked at in cells 2^-4 of that edge ..."""
SHELL_FINEST = 6
"""... and divided at the surface down to 2^-6: a closed far sphere takes some ten thousand."""
PIXELS = 2.0
"""Cells are divided while their edge exceeds this many pixels: children are one pixel or more."""
NEAR_SHARE = 0.65
"""Part of the budget for cells near the surface; the ring around them takes the rest."""
CHUNK = 1 << 20
"""Points looked at together ..."""
CELLS = 1 << 18
"""... and cells with their corners."""


def allocate(
    cube: Cube,
    sdf_at: Field,
    pixel_footprint_at: Field | None,
    *,
    start_level: int,
    max_level: int,
    max_voxels: int,
    band: float,
    device: torch.device | str = "cpu",
) -> tuple[Octree, Tensor]:
    """The first octree and the signed distances at its corners.

    A leaf is near the surface where its corners differ in sign, or where |sdf| at its centre is at
    most (1 + band) half diagonals. Near leaves are divided down to `start_level`, then on to
    `max_level` while larger than `PIXELS` pixels; outside of the main bound not below 2^-6 of the
    distance's doubling. Near leaves stay, and those that touch a corner of one, so that every
    corner of a near leaf is surrounded; these are of the same level, one coarser, seldom two. The
    rest is dropped.

    Args:
        cube: root cube.
        sdf_at: signed distance, positive in free space [world]; called with float32[P, 3] on
            `device`.
        pixel_footprint_at: size of a pixel [world], inf where nothing looks; None: divide on to
            `max_level`.
        start_level, max_level: levels counted from the root.
        max_voxels: stop dividing when this many are there, the cells with the most pixels first;
            the coarsest look is there in any case.
        band: see above, 0 or more.

    Returns:
        The octree, and float32[M] distances.

    Raises:
        ReconstructionError: no surface inside the main bound.
        ValueError: a distance is not finite.
    """
    max_level = min(max_level, MAX_LEVEL)
    start_level = min(start_level, max_level)
    grid = Nearness(cube, sdf_at, band)
    inside = start_level - cube.outside_level
    path, level = graded(cube, min(inside, DENSE), min(inside, SHELL), device)
    near = grid.near(path, level)
    finished, budget = False, int(NEAR_SHARE * max_voxels)
    while not finished:
        urgency = _urgency(cube, path, level, near, start_level, max_level, pixel_footprint_at)
        (path, level, near), finished = _divide(grid, path, level, near, urgency, budget)
    return _finish(grid, path, level, near, max_voxels)


def _divide(
    grid: Nearness, path: Tensor, level: Tensor, near: Tensor, urgency: Tensor, budget: int
) -> tuple[tuple[Tensor, Tensor, Tensor], bool]:
    """Divide the cells with an urgency, the most urgent first, up to `budget` near ones.

    Returns:
        (paths, levels, near) and whether this was the last time.
    """
    parents = torch.nonzero(urgency > 0).flatten()
    if not len(parents):
        return (path, level, near), True
    child_path, child_level = children(path[parents], level[parents])
    child_near = grid.near(child_path, child_level)
    # A cell none of whose children is near stays whole, for the ring.
    useful = child_near.view(-1, 8).any(dim=1)
    near = near.clone()
    near[parents[~useful]] = False
    parents = parents[useful]
    gain = child_near.view(-1, 8).sum(dim=1)[useful] - 1
    order = torch.argsort(urgency[parents], descending=True, stable=True)
    total = int(near.sum()) + torch.cumsum(gain[order], 0)
    taken = torch.zeros_like(parents, dtype=torch.bool)
    taken[order[torch.cummax(total, 0).values <= budget]] = True
    last = not bool(taken.all())
    if last:
        logger.info("start: dividing %d of %d cells: max_voxels", int(taken.sum()), len(taken))
    stay = torch.ones_like(near)
    stay[parents[taken]] = False
    new = torch.zeros_like(useful)
    new[useful] = taken
    new = new.repeat_interleave(8)
    return (
        torch.cat([path[stay], child_path[new]]),
        torch.cat([level[stay], child_level[new]]),
        torch.cat([near[stay], child_near[new]]),
    ), last


def _urgency(
    cube: Cube,
    path: Tensor,
    level: Tensor,
    near: Tensor,
    start_level: int,
    max_level: int,
    pixel_footprint_at: Field | None,
) -> Tensor:
    """[N] pixels along the edge of the cells to divide, inf if to be divided anyhow, 0 if not."""
    urgency = torch.zeros(len(path), dtype=torch.float32, device=path.device)
    around = shell_of(cube, path, level)
    finest = torch.where(around > 0, cube.outside_level - around + SHELL_FINEST, max_level)
    chosen = torch.nonzero(near & (level < finest.clamp(max=max_level))).flatten()
    if pixel_footprint_at is None or not len(chosen):
        urgency[chosen] = 1.0
    else:
        half = cells_edge(level[chosen]) // 2
        center = world_of(cube, *(p + half for p in lattice_of(path[chosen])))
        edge = cells_edge(level[chosen]).float() * cube.unit
        size = torch.cat([pixel_footprint_at(part) for part in center.split(CHUNK)])
        pixels = edge / size.to(torch.float32)
        urgency[chosen] = torch.where(pixels > PIXELS, pixels, 0.0)
    must = near & (around == 0) & (level < start_level)
    return torch.where(must, torch.inf, urgency)


def _finish(
    grid: Nearness, path: Tensor, level: Tensor, near: Tensor, max_voxels: int
) -> tuple[Octree, Tensor]:
    """Octree of the near cells and of those that touch a corner of one; distances at corners."""
    path, order = torch.sort(path)
    level, near = level[order], near[order]
    if not bool(near.any()):
        raise _no_surface()
    whole = make_octree(grid.cube, path, level)
    ring = torch.zeros_like(near)
    is_corner = torch.zeros(whole.corner_count, dtype=torch.bool, device=path.device)
    is_corner[whole.corner_index[near].flatten().long()] = True
    point = coordinates_of(whole.corner_key[is_corner])
    for c in range(8):
        leaf = locate_lattice(whole, *(p - (c >> bit & 1) for p, bit in zip(point, (2, 1, 0))))
        ring[leaf[leaf >= 0]] = True
    spare = torch.nonzero(ring & ~near).flatten()
    room = max(0, max_voxels - int(near.sum()))
    if len(spare) > room:
        # Coarse cells support more corners each.
        ring[spare[torch.argsort(whole.level[spare], stable=True)[room:]]] = False
    octree, _ = keep(whole, near | ring)
    sdf = grid.value(corner_positions(octree))
    if not bool((crossing(octree, sdf) & inside_main(octree)).any()):
        raise _no_surface()
    return octree, sdf


def _no_surface() -> ReconstructionError:
    return ReconstructionError(
        "There is no surface inside the main bound to start from.",
        where="main bound",
        next_step="Check the bound (--bound), or start from a sphere (--init sphere).",
    )


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
