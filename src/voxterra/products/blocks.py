"""Which photos can see which part of a raster: by blocks of cells, with a test that misses none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.products.layout import Lattice

BLOCK_CELLS = 256
# Of a photo's longer side: between the corners of a block the surface of the Earth is curved.
_SLACK = 0.02

Window = tuple[slice, slice]
"""Rows and columns of a raster."""


@dataclass(frozen=True)
class Blocks:
    """A raster of heights in square blocks, and the photos that may see each.

    Attributes:
        rows, columns: number of blocks down and across.
        start, block: photo i may see the blocks block[start[i]:start[i + 1]], ascending numbers,
            counted row by row.
    """

    rows: int
    columns: int
    start: NDArray[np.int64]
    block: NDArray[np.int32]

    def of_photo(self, index: int) -> NDArray[np.int32]:
        """Numbers of the blocks that a photo may see."""
        return self.block[self.start[index] : self.start[index + 1]]

    def window(self, index: int, within: Window) -> Window | None:
        """What of a part of the raster a photo may see; None: nothing of it."""
        row, column = np.divmod(self.of_photo(index), self.columns)
        first_row, last_row = _range(within[0])
        first_column, last_column = _range(within[1])
        inside = (row >= first_row) & (row <= last_row)
        inside &= (column >= first_column) & (column <= last_column)
        if not inside.any():
            return None
        return (
            _cut(row[inside].min(), row[inside].max(), within[0]),
            _cut(column[inside].min(), column[inside].max(), within[1]),
        )


def _range(cells: slice) -> tuple[int, int]:
    return cells.start // BLOCK_CELLS, (cells.stop - 1) // BLOCK_CELLS


def _cut(first: int, last: int, cells: slice) -> slice:
    """The cells of blocks `first` to `last`, within `cells`."""
    start, stop = int(first) * BLOCK_CELLS, (int(last) + 1) * BLOCK_CELLS
    return slice(max(start, cells.start), min(stop, cells.stop))


def blocks_of(heights: NDArray[np.float32], cells: Lattice, views: Sequence[PinholeView]) -> Blocks:
    """The blocks of a raster, and which of them each photo may see.

    A block that a photo sees is always among its blocks; some that it does not see are too.

    Args:
        heights: (H, W) map heights, NaN = no cell.
        cells: of the raster in the world.
        views: photos.
    """
    rows, columns = (-(-size // BLOCK_CELLS) for size in heights.shape)
    number, corners = [], []
    for row in range(rows):
        for column in range(columns):
            window = (
                _cut(row, row, slice(0, heights.shape[0])),
                _cut(column, column, slice(0, heights.shape[1])),
            )
            known = heights[window]
            known = known[np.isfinite(known)]
            if known.size:
                number.append(row * columns + column)
                corners.append(_corners(window, float(known.min()), float(known.max()), cells))
    boxes = np.array(corners).reshape(-1, 8, 3)
    seen = [np.array(number, np.int32)[_may_see(view, boxes)] for view in views]
    start = np.concatenate([[0], np.cumsum([len(blocks) for blocks in seen])]).astype(np.int64)
    return Blocks(rows, columns, start, np.concatenate([np.zeros(0, np.int32), *seen]))


def _corners(window: Window, low: float, high: float, cells: Lattice) -> NDArray[np.float64]:
    """(8, 3) world corners of a block between two heights."""
    r, c, h = np.meshgrid(
        [window[0].start, window[0].stop], [window[1].start, window[1].stop], [low, high]
    )
    return cells.points(r.ravel(), c.ravel(), h.ravel())


def _may_see(view: PinholeView, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(B,) False where all corners of a box (B, 8, 3) lie beyond one side of the photo."""
    x, y, z = (boxes @ view.cam_from_world[:, :3].T + view.cam_from_world[:, 3]).transpose(2, 0, 1)
    K, slack = view.K, _SLACK * max(view.width, view.height)
    left = K[0, 0] * x + (K[0, 2] + slack) * z
    right = K[0, 0] * x + (K[0, 2] - view.width - slack) * z
    top = K[1, 1] * y + (K[1, 2] + slack) * z
    bottom = K[1, 1] * y + (K[1, 2] - view.height - slack) * z
    beyond = (z <= 0).all(1) | (left < 0).all(1) | (right > 0).all(1)
    return np.asarray(~(beyond | (top < 0).all(1) | (bottom > 0).all(1)))
