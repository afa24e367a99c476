"""Leaves split into eight, leaves dropped, and what lies at corners carried over.

A new corner takes the value that the split leaf has there, so a split leaves the field as it was in
every leaf, with one exception that closes a gap: a corner of a finer leaf that hung on a face or an
edge of the split leaf keeps its value, and the children next to it now read it.
A new corner may itself hang on a coarser leaf that is not split. The two leaves then disagree
there as much as they disagreed before, since the coarser leaf never reads it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from voxterra.core.morton import MAX_LEVEL, coordinates_of, lattice_of
from voxterra.surface.voxels.octree.lattice import cells_edge, find
from voxterra.surface.voxels.octree.octree import Octree, make_octree
from voxterra.surface.voxels.octree.query import CHUNK, blend, locate_lattice


def split(octree: Octree, mask: Tensor) -> tuple[Octree, Tensor]:
    """Replace leaves by their eight children, the others stay.

    Args:
        mask: bool[N]; leaves of level 16 are left as they are.

    Returns:
        The octree, and int64[N'] the leaf of the old one that each new leaf is or lies in.
    """
    mask = mask & (octree.level < MAX_LEVEL)
    parent = torch.arange(octree.count, device=octree.device)
    parent = parent.repeat_interleave(torch.where(mask, 8, 1))
    is_child = mask[parent]
    # The children of a leaf stand together: count them from the first.
    child = torch.arange(parent.numel(), device=octree.device)
    child -= torch.searchsorted(parent, parent)
    level = octree.level[parent].long() + is_child
    path = octree.path[parent] + (child << (3 * (MAX_LEVEL - level)))
    return make_octree(octree.cube, path, level), parent


def keep(octree: Octree, mask: Tensor) -> tuple[Octree, Tensor]:
    """Drop the leaves where `mask` (bool[N]) is false.

    Returns:
        The octree, and int64[N'] the index that each leaf had.

    Raises:
        ValueError: nothing is left.
    """
    old = torch.nonzero(mask).flatten()
    return make_octree(octree.cube, octree.path[old], octree.level[old]), old


def transfer_corners(
    old: Octree, values: Tensor, new: Octree, *, missing: float = torch.nan
) -> Tensor:
    """What lies at the corners of `old`, carried to the corners of `new`.

    A corner that existed keeps its value to the last bit. Any other takes the trilinear value of
    the finest old leaf that it touches, which after a split is the split leaf; split leaves that
    share the corner agree about it.

    Args:
        values: [M, ...] at the corners of `old`: distances, or moments of an optimiser.
        missing: value of new corners where no old leaf is.

    Returns:
        [M', ...] of the type of `values`.
    """
    at = find(old.corner_key, new.corner_key)
    out = values[at.clamp(min=0)]
    fresh = torch.nonzero(at < 0).flatten()
    for part in fresh.split(CHUNK):
        out[part] = _inside(old, values, new.corner_key[part], missing)
    return out


def _inside(old: Octree, values: Tensor, key: Tensor, missing: float) -> Tensor:
    """Trilinear values at lattice points, each from the finest leaf that it touches."""
    point = coordinates_of(key)
    leaf, best = torch.full_like(key, -1), torch.full_like(key, -1)
    for c in range(8):
        # A point on a face, an edge or a corner belongs to the leaves of all cells around it.
        found = locate_lattice(old, *(p - (c >> bit & 1) for p, bit in zip(point, (2, 1, 0))))
        level = torch.where(found >= 0, old.level[found.clamp(min=0)].long(), -1)
        finer = level > best
        leaf, best = torch.where(finer, found, leaf), torch.where(finer, level, best)
    there = leaf.clamp(min=0)
    lower = torch.stack(lattice_of(old.path[there]), dim=-1)
    offset = torch.stack(point, dim=-1) - lower
    unit = offset / cells_edge(old.level[there])[:, None].double()
    out = blend(old, values, there, unit.clamp(0, 1))
    out[leaf < 0] = missing
    return out
