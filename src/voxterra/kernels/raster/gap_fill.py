"""Heights for the gaps of a height raster, taken from the lower level of their rims.

Two steps, gap by gap:

1. Which cells of the rim stand above the rest of it, such as a roof, a car or a crown beside the
   ground. A cell of the rim sees the surface beside it as a small plane. A cell stands above when
   these planes, carried on over the gap, pass well below it.
2. A membrane over the rest of the rim (Laplace's equation: each cell is the mean of its
   neighbours). It carries a slope through the gap, is level where only one side holds it, and
   never leaves the heights of the cells that hold it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

# A rim cell stands above when it is more than the tolerance, and this much of the distance, over
# where another one's plane leads. Steeper than any error of these planes, flatter than the way up
# to what hides the ground beside it.
SLOPE_SLACK = 0.25
# So many others, and this share of those within reach, must say so: a few wrong pits do not.
LEAST_LOWER = 3
LEAST_SHARE = 0.05
# Of the rim, so many cells are compared with along the reach; more would say the same.
REACH_SAMPLES = 32
# Radius of the small planes, the steepest surface they follow, and spread added [cells squared].
PLANE_CELLS = 8
PLANE_STEEPEST = 2.0
PLANE_SPREAD = 0.3
# When the membrane is at rest, of the tolerance.
REST = 1e-3


def fill_gap_cells(
    heights: NDArray[np.float32],
    labels: NDArray[np.int32],
    cell_size: float,
    reach: float,
    tolerance: float,
) -> NDArray[np.float32]:
    """Heights of the cells of all gaps.

    Args:
        heights: (H, W) float32, NaN = not known [any unit].
        labels: (H, W) int32: 0 = no gap; each gap, whose cells are unknown and joined by their
            edges, has its own number above 0. Is overwritten.
        cell_size: edge of a cell [unit of the heights].
        reach: how far apart cells of a rim are compared [cells].
        tolerance: what still counts as one level [unit of the heights].

    Returns:
        (n,) float32 of the cells with labels above 0, in row order; NaN for a gap without a rim.
    """
    rows, columns = (index.astype(np.int32) for index in np.nonzero(labels))
    out = np.full(len(rows), np.nan, np.float32)
    if not len(rows):
        return out
    rim_of, rim_rows, rim_columns = _rims(heights, labels)
    label = labels[rows, columns]
    order = np.argsort(label, kind="stable").astype(np.int32)
    rows, columns, label = rows[order], columns[order], label[order]
    starts = np.flatnonzero(np.diff(label, prepend=0)).astype(np.int64)
    names = label[starts]
    at_rim = np.searchsorted(rim_of, np.append(names, names[-1] + 1))
    labels[labels == 0] = -1
    labels[rows, columns] = np.arange(len(rows), dtype=np.int32)
    slopes = _slopes(heights, rim_rows, rim_columns, cell_size, tolerance)
    above = _stands_above(
        heights, rim_rows, rim_columns, slopes, at_rim, cell_size, float(reach), tolerance
    )
    filled = np.full(len(rows), np.nan)
    ends = np.append(starts, len(rows))
    _membranes(
        heights, labels, rows, columns, ends, rim_rows, rim_columns, at_rim, above,
        REST * tolerance, filled,
    )  # fmt: skip
    _hold_down(heights, rows, columns, tolerance + cell_size, filled)
    out[order] = filled
    return out


def _rims(heights, labels):
    """Label, row and column of every known cell beside a gap, by label and then in row order.

    A cell beside several gaps counts for each.
    """
    count = _rim_pairs(heights, labels, np.zeros((3, 0), np.int32))
    pairs = np.empty((3, count), np.int32)
    _rim_pairs(heights, labels, pairs)
    order = np.argsort(pairs[0], kind="stable")
    return pairs[0][order], pairs[1][order], pairs[2][order]


@njit(cache=True)
def _rim_pairs(heights, labels, pairs):
    """Count the pairs of rim cell and gap, and write them where there is room for them."""
    height, width = heights.shape
    found = 0
    beside = np.zeros(8, np.int32)
    for r in range(height):
        for c in range(width):
            if not np.isfinite(heights[r, c]):
                continue
            several = 0
            for rr in range(max(r - 1, 0), min(r + 2, height)):
                for cc in range(max(c - 1, 0), min(c + 2, width)):
                    name = labels[rr, cc]
                    if name == 0:
                        continue
                    known = False
                    for k in range(several):
                        known = known or beside[k] == name
                    if not known:
                        beside[several] = name
                        several += 1
            for k in range(several):
                if found < pairs.shape[1]:
                    pairs[0, found] = beside[k]
                    pairs[1, found] = r
                    pairs[2, found] = c
                found += 1
    return found


@njit(cache=True)
def _slopes(heights, rows, columns, cell_size, tolerance):
    """(n, 2) slope down the rows and along the columns at rim cells [height unit per cell].

    Least squares over the known cells around that lie on one surface with the cell.
    """
    height, width = heights.shape
    out = np.zeros((len(rows), 2))
    for i in range(len(rows)):
        r, c = rows[i], columns[i]
        at = heights[r, c]
        n = sr = sc = sz = srr = src = scc = srz = scz = 0.0
        for rr in range(max(r - PLANE_CELLS, 0), min(r + PLANE_CELLS + 1, height)):
            for cc in range(max(c - PLANE_CELLS, 0), min(c + PLANE_CELLS + 1, width)):
                y, x = float(rr - r), float(cc - c)
                z = heights[rr, cc] - at
                far = np.hypot(y, x)
                # False for NaN, too.
                if not abs(z) <= tolerance / 2 + PLANE_STEEPEST * cell_size * far:
                    continue
                if far > PLANE_CELLS:
                    continue
                n += 1.0
                sr += y
                sc += x
                sz += z
                srr += y * y
                src += y * x
                scc += x * x
                srz += y * z
                scz += x * z
        # A little spread more: a thin strip says nothing of the slope across it.
        a, b, d = srr / n - (sr / n) ** 2, src / n - sr * sc / n**2, scc / n - (sc / n) ** 2
        a, d = a + PLANE_SPREAD, d + PLANE_SPREAD
        u, v = srz / n - sr * sz / n**2, scz / n - sc * sz / n**2
        det = a * d - b * b
        y, x = (d * u - b * v) / det, (a * v - b * u) / det
        steep = np.hypot(y, x) / (PLANE_STEEPEST * cell_size)
        out[i, 0], out[i, 1] = y / max(steep, 1.0), x / max(steep, 1.0)
    return out


@njit(cache=True)
def _stands_above(heights, rows, columns, slopes, at_rim, cell_size, reach, tolerance):
    """(n,) whether a rim cell stands above the others of its gap within reach."""
    above = np.zeros(len(rows), np.bool_)
    stride = max(1, int(reach) // REACH_SAMPLES)
    for i in range(len(rows)):
        gap = np.searchsorted(at_rim, i, side="right") - 1
        # Cells of a gap's rim are in row order.
        first = at_rim[gap] + np.searchsorted(rows[at_rim[gap] : at_rim[gap + 1]], rows[i] - reach)
        compared = lower = 0
        own = float(heights[rows[i], columns[i]])
        for j in range(first, at_rim[gap + 1]):
            y, x = float(rows[i] - rows[j]), float(columns[i] - columns[j])
            if y < -reach:
                break
            # Of a long rim, cells spread evenly, the same for all.
            if stride > 1 and (rows[j] + columns[j]) % stride and abs(y) + abs(x) > stride:
                continue
            far = np.hypot(y, x)
            if far > reach:
                continue
            compared += 1
            other = float(heights[rows[j], columns[j]])
            led = max(other + slopes[j, 0] * y + slopes[j, 1] * x, other)
            lower += own > led + tolerance + SLOPE_SLACK * cell_size * far
        above[i] = lower >= max(LEAST_LOWER, LEAST_SHARE * compared)
    return above


@njit(cache=True)
def _membranes(
    heights, index, rows, columns, ends, rim_rows, rim_columns, at_rim, above, rest, out
):
    """Solve every gap into `out`: start from the rim inwards, then successive over-relaxation."""
    held = np.zeros(len(rows))
    holders = np.zeros(len(rows), np.int32)
    for gap in range(len(ends) - 1):
        cells = (ends[gap], ends[gap + 1])
        rim = (at_rim[gap], at_rim[gap + 1])
        place = (heights, index, rim_rows, rim_columns, above)
        if not _hold(place, cells, rim, True, held, holders):
            _hold(place, cells, rim, False, held, holders)
        depth = _start(index, rows, columns, cells, held, holders, out)
        if depth > 0:
            _relax(index, rows, columns, cells, held, holders, depth, rest, out)


@njit(cache=True)
def _hold(place, cells, rim, by_edge, held, holders):
    """Sum up, for each cell of a gap, the rim cells beside it that hold it; whether any do."""
    heights, index, rim_rows, rim_columns, above = place
    any_held = False
    for k in range(rim[0], rim[1]):
        if above[k]:
            continue
        r, c = rim_rows[k], rim_columns[k]
        for rr in range(max(r - 1, 0), min(r + 2, index.shape[0])):
            for cc in range(max(c - 1, 0), min(c + 2, index.shape[1])):
                i = index[rr, cc]
                if i < cells[0] or i >= cells[1] or (by_edge and rr != r and cc != c):
                    continue
                held[i] += heights[r, c]
                holders[i] += 1
                any_held = True
    return any_held


@njit(cache=True)
def _start(index, rows, columns, cells, held, holders, out):
    """Spread the heights of the rim inwards, ring by ring; how many rings there are."""
    queue = np.empty(cells[1] - cells[0], np.int32)
    ring = np.zeros(cells[1] - cells[0], np.int32)
    known = 0
    for i in range(cells[0], cells[1]):
        if holders[i]:
            out[i] = held[i] / holders[i]
            queue[known] = i
            ring[i - cells[0]] = 1
            known += 1
    done = 0
    while done < known:
        i = queue[done]
        done += 1
        for side in range(4):
            j = _beside(index, rows[i], columns[i], side)
            if j < cells[0] or j >= cells[1] or ring[j - cells[0]]:
                continue
            ring[j - cells[0]] = ring[i - cells[0]] + 1
            out[j] = out[i]
            queue[known] = j
            known += 1
    return ring[queue[known - 1] - cells[0]] if known else 0


@njit(cache=True)
def _relax(index, rows, columns, cells, held, holders, depth, rest, out):
    weight = 2.0 / (1.0 + np.sin(np.pi / (2.0 * (depth + 1.0))))
    for _ in range(100 + 20 * depth):
        most = 0.0
        for i in range(cells[0], cells[1]):
            total, count = held[i], float(holders[i])
            for side in range(4):
                j = _beside(index, rows[i], columns[i], side)
                if cells[0] <= j < cells[1]:
                    total += out[j]
                    count += 1.0
            if count == 0.0:
                continue
            change = weight * (total / count - out[i])
            out[i] += change
            most = max(most, abs(change))
        if most < rest:
            break


@njit(cache=True)
def _beside(index, r, c, side):
    """What `index` has beyond one edge of a cell; at the edge of the raster, at the cell itself."""
    if side == 0:
        return index[max(r - 1, 0), c]
    if side == 1:
        return index[r, max(c - 1, 0)]
    if side == 2:
        return index[r, min(c + 1, index.shape[1] - 1)]
    return index[min(r + 1, index.shape[0] - 1), c]


@njit(cache=True)
def _hold_down(heights, rows, columns, most, filled):
    """No filled cell more than `most` above a known cell beside it."""
    for i in range(len(rows)):
        r, c = rows[i], columns[i]
        for rr in range(max(r - 1, 0), min(r + 2, heights.shape[0])):
            for cc in range(max(c - 1, 0), min(c + 2, heights.shape[1])):
                if filled[i] > heights[rr, cc] + most:
                    filled[i] = heights[rr, cc] + most
