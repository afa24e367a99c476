"""One surface of all that coarse sweeps found: a height a cell, drawn into any view from above.

Sweeps of single photos differ by a metre on a crown; drawn from one surface, their maps agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.kernels.raster.zbuffer import rasterize_depth

Float = NDArray[np.float64]

# Neighbouring cells that differ by more than this many cells belong to two crowns.
_STEEPEST = 40.0
_LEAST_POINTS = 4  # in a cell and its neighbours
_STRIPE = 256  # rows of cells that are worked on at once, which bounds memory


@dataclass(frozen=True)
class Canopy:
    """Cells of a level grid that have a height, sorted by row, then column.

    Attributes:
        cell: edge of a cell [world units].
        row, column: (N,) whole numbers of cells along y and x of the world.
        height: (N,) z in the world.
    """

    cell: float
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    height: Float

    def depth_in(self, view: PinholeView, box: tuple[Float, Float]) -> NDArray[np.float32]:
        """(H, W) depth of the surface in a view, 0 where there is none.

        Args:
            box: lowest and highest (x, y) in world of what may be seen.
        """
        (x0, y0), (x1, y1) = (np.floor(corner / self.cell).astype(int) for corner in box)
        rows = slice(*np.searchsorted(self.row, [y0, y1 + 1]))
        near = (self.column[rows] >= x0) & (self.column[rows] <= x1)
        row, column, height = (v[rows][near] for v in (self.row, self.column, self.height))
        if not len(row):
            return np.zeros((view.height, view.width), np.float32)
        number = np.full((y1 - y0 + 1, x1 - x0 + 1), -1, np.int64)
        number[row - y0, column - x0] = np.arange(len(row))
        points = np.column_stack([(column + 0.5) * self.cell, (row + 0.5) * self.cell, height])
        faces = _faces(number, height, _STEEPEST * self.cell)
        in_cam = points @ view.cam_from_world[:, :3].T + view.cam_from_world[:, 3]
        depth, _ = rasterize_depth(in_cam, faces, view.K, view.width, view.height)
        return depth


def canopy_of(points: Sequence[Float], cell: float) -> Canopy:
    """The median height of the points in each cell and its neighbours.

    Args:
        points: (N, 3) in world, of each photo.
        cell: edge of a cell [world units].
    """
    every = np.concatenate([np.zeros((0, 3)), *points])
    column, row = np.floor(every[:, :2] / cell).astype(np.int64).T
    order = np.argsort(row, kind="stable")
    row, column, height = row[order], column[order], every[order, 2]
    found = [np.zeros((3, 0))]
    first, last = (int(row[0]) - 1, int(row[-1]) + 1) if len(row) else (0, -1)
    for low in range(first, last + 1, _STRIPE):
        near = slice(*np.searchsorted(row, [low - 1, low + _STRIPE + 1]))
        medians = _medians(row[near], column[near], height[near])
        own = (medians[0] >= low) & (medians[0] < low + _STRIPE)
        found.append(medians[:, own])
    rows, columns, heights = np.concatenate(found, axis=1)
    return Canopy(cell, rows.astype(np.int64), columns.astype(np.int64), heights)


def _medians(row: NDArray[np.int64], column: NDArray[np.int64], height: Float) -> Float:
    """(3, N) row, column and median height of cells with points enough, by row, then column."""
    # Each point counts in its own cell and those beside it: gaps close, and lone points give way.
    spread = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1)]
    row = np.concatenate([row + r for r, _ in spread])
    column = np.concatenate([column + c for _, c in spread])
    height = np.tile(height, len(spread))
    order = np.lexsort((height, column, row))
    row, column, height = row[order], column[order], height[order]
    new = np.flatnonzero(
        (np.diff(row, prepend=row[:1] - 1) != 0) | (np.diff(column, prepend=column[:1]) != 0)
    )
    count = np.diff(np.append(new, len(row)))
    enough = count >= _LEAST_POINTS
    at, count = new[enough], count[enough]
    return np.stack([row[at], column[at], height[at + count // 2]]).astype(np.float64)


def _faces(number: NDArray[np.int64], height: Float, highest_step: float) -> NDArray[np.int32]:
    """(F, 3) triangles between neighbouring cells; -1 in `number` is no cell."""
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    corners = np.concatenate(
        [np.stack(triangle, -1).reshape(-1, 3) for triangle in ((a, b, c), (a, c, d))]
    )
    corners = corners[(corners >= 0).all(1)]
    steps = np.ptp(height[corners], axis=1)
    faces: NDArray[np.int32] = corners[steps <= highest_step].astype(np.int32)
    return faces
