"""Gaps of a height raster: which to fill, and with what."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# What closes the measured area: bays of the outline and openings of a gap's rim up to twice as
# many cells wide.
CLOSING_CELLS = 3.0


def fill_gaps(
    heights: NDArray[np.float32], gap_cells: float, cell_size: float, level: float
) -> NDArray[np.float32]:
    """Heights with enclosed gaps filled from the lower level of their rims; the rest stays NaN.

    Photos from above miss what lies beside and below something high. So a gap with a high and a
    low side is filled from the low one (`kernels.raster.gap_fill`), and never as a ramp.

    Args:
        heights: (H, W) float32, NaN = not measured.
        gap_cells: widest gap to fill [cells]; 0 fills none.
        cell_size: edge of a cell [unit of the heights].
        level: differences that do not make a step [unit of the heights].
    """
    import cv2

    from voxterra.kernels.raster.gap_fill import fill_gap_cells

    gap = gaps_to_fill(np.isfinite(heights), gap_cells)
    if not gap.any():
        return heights
    labels = cv2.connectedComponents(gap.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)[1]
    out = heights.copy()
    out[gap] = fill_gap_cells(
        heights, np.asarray(labels, np.int32), cell_size, max(gap_cells, 1.0), level
    )
    return out


def gaps_to_fill(measured: NDArray[np.bool_], gap_cells: float) -> NDArray[np.bool_]:
    """(H, W) cells to fill: of holes that the measured area encloses, and of narrow bays.

    The measured area is closed by `CLOSING_CELLS`, and grows nowhere by more. What it then encloses
    is a hole. A hole is filled whole where it is `gap_cells` wide or less, else it stays open: a
    width is the diameter of the largest disc in it. What reaches the edge of the raster is outside.

    Args:
        measured: (H, W).
        gap_cells: widest gap to fill [cells].
    """
    import cv2

    if gap_cells <= 0 or not measured.any():
        return np.zeros(measured.shape, bool)
    padded = np.pad(measured, int(CLOSING_CELLS) + 1).view(np.uint8)
    radius = round(min(CLOSING_CELLS, gap_cells / 2))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    closed = np.asarray(cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc), np.uint8)
    # Joined by their edges: what touches at corners only keeps two holes apart.
    holes = cv2.connectedComponents(1 - closed, connectivity=4, ltype=cv2.CV_32S)[1]
    wide = cv2.distanceTransform(1 - padded, cv2.DIST_L2, 5) > gap_cells / 2 + 0.5
    stays_open = np.zeros(int(holes.max()) + 1, bool)
    stays_open[holes[wide]] = True
    stays_open[holes[0, 0]] = True
    stays_open[0] = False  # not a hole: closed
    inner = (slice(int(CLOSING_CELLS) + 1, -int(CLOSING_CELLS) - 1),) * 2
    return np.asarray(~stays_open[holes[inner]] & ~measured)


def closing(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """`mask` closed with a disc of `radius` cells, by distance transforms: fast for any radius."""
    import cv2

    if not mask.any():
        return mask.copy()
    margin = int(np.ceil(radius)) + 1
    padded = np.pad(mask, margin)
    grown = cv2.distanceTransform((~padded).astype(np.uint8), cv2.DIST_L2, 5) <= radius
    shrunk = cv2.distanceTransform(grown.astype(np.uint8), cv2.DIST_L2, 5) > radius
    return np.asarray(shrunk[margin:-margin, margin:-margin] | mask)
