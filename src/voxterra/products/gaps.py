"""Gaps of a height raster: which to fill, and with what."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NEIGHBOURS = 12
# A rim cell that stands this steeply above another across the gap, and by so many cells, belongs
# to something higher: a roof beside the ground. Slopes are gentler.
_STEP_SLOPE = 1.0
_STEP_CELLS = 3.0
_RIM_SAMPLES = 512
_SLOPE_CELLS = 3.0


def fill_gaps(
    heights: NDArray[np.float32], gap_cells: float, cell_size: float
) -> NDArray[np.float32]:
    """Heights with gaps up to `gap_cells` wide filled from their rims; the outside stays NaN.

    What is filled is the morphological closing of the measured area with a disc. Photos from
    above miss what lies beside and below something high, so where the rim of a gap has two levels
    the gap gets the lower: inverse-distance weights over the rim's nearest cells that no other
    cell of the rim lies steeply below.

    Args:
        heights: (H, W) float32, NaN = not measured [m].
        gap_cells: widest gap to fill [cells].
        cell_size: edge of a cell [m], to tell a step from a slope.
    """
    import cv2

    measured = np.isfinite(heights)
    if gap_cells <= 0 or not measured.any():
        return heights
    gap = closing(measured, gap_cells / 2) & ~measured
    out = heights.copy()
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(gap.astype(np.uint8), connectivity=8)
    for label in range(1, len(boxes)):
        x, y, w, h = (int(v) for v in boxes[label, :4])
        window = slice(max(y - 1, 0), y + h + 1), slice(max(x - 1, 0), x + w + 1)
        inside = labels[window] == label
        rim = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        rim &= measured[window]
        out[window][inside] = _from_rim(inside, rim, heights[window], cell_size)
    return out


def _from_rim(
    inside: NDArray[np.bool_],
    rim: NDArray[np.bool_],
    heights: NDArray[np.float32],
    cell_size: float,
) -> NDArray[np.float32]:
    """(n,) heights of the cells `inside`, in row order, from those of the cells `rim`."""
    from scipy.spatial import cKDTree

    known = heights[rim]
    if not known.size:
        return np.full(int(inside.sum()), np.nan, np.float32)
    places = np.argwhere(rim)
    keep = ~_stands_above(places, known / np.float32(cell_size))
    places, known = places[keep], known[keep].astype(np.float64)
    cells = np.argwhere(inside)
    # Weights of distance level out: they carry what departs from the slope of the rim. A rim
    # that spans a few cells only one way says nothing of the slope that way.
    middle = places.mean(axis=0)
    offsets = places - middle
    spread = offsets.T @ offsets / len(offsets) + np.eye(2) * _SLOPE_CELLS**2
    slope = np.linalg.solve(spread, offsets.T @ (known - known.mean()) / len(offsets))
    known = known - offsets @ slope
    count = min(_NEIGHBOURS, len(known))
    distance, nearest = cKDTree(places).query(cells, k=count)
    distance, nearest = distance.reshape(-1, count), nearest.reshape(-1, count)
    weight = 1.0 / distance**2
    level = (weight * known[nearest]).sum(1) / weight.sum(1)
    return np.asarray(level + (cells - middle) @ slope, np.float32)


def _stands_above(
    places: NDArray[np.int64], heights_in_cells: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """(n,) True for rim cells (n, 2) that another stands steeply below."""
    above = np.zeros(len(places), bool)
    if np.ptp(heights_in_cells) <= _STEP_CELLS:
        return above
    others = np.arange(0, len(places), max(1, len(places) // _RIM_SAMPLES))
    others = np.append(others, np.argmin(heights_in_cells))
    for start in range(0, len(places), 4096):
        part = slice(start, start + 4096)
        step = heights_in_cells[part, None] - heights_in_cells[others]
        distance = np.linalg.norm((places[part, None] - places[others]).astype(np.float32), axis=2)
        steep = (step > _STEP_CELLS) & (step > _STEP_SLOPE * distance)
        above[part] = steep.any(axis=1)
    return above


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
