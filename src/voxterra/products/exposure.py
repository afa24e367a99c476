"""Levelling of brightness and colour between photos that see the same surface.

Photos are compared at points spread evenly over the surface. There are as many as the photos need,
so that photos that overlap share enough of them in a survey of any size; what is kept of a photo is
bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.progress import Progress, no_progress
from voxterra.products.blocks import BLOCK_CELLS, Blocks
from voxterra.products.layout import Lattice

DARKEST, BRIGHTEST = 8.0, 247.0
FEWEST_COMMON = 40
LARGEST_GAIN = 2.0
LEAST_POINTS = 20_000
# A point is seen by ten photos or more where photos overlap as they should.
POINTS_A_PHOTO = 100
# 16 bytes each, over all photos.
MOST_SAMPLES = 24_000_000

Look = Callable[[int, NDArray[np.float64]], NDArray[np.float32]]
"""(photo, (N, 3) world points) -> (N, 3) colours [0, 255] of them, NaN where it sees none."""


@dataclass(frozen=True)
class Samples:
    """What one photo shows of the points.

    Attributes:
        point: (N,) ascending numbers of the points that it shows, neither dark nor glaring.
        log_color: (N, 3) float32 logarithms of their colours.
    """

    point: NDArray[np.int32]
    log_color: NDArray[np.float32]


def sample_photos(
    heights: NDArray[np.float32],
    cells: Lattice,
    blocks: Blocks,
    count: int,
    look: Look,
    progress: Progress = no_progress,
) -> list[Samples]:
    """Colours of points of a raster in each of `count` photos.

    Args:
        heights: (H, W) map heights, NaN = no cell.
        cells: of the raster in the world.
        blocks: which photos may see which part of the raster.
        count: of photos.
        look: reads colours.
        progress: called once a photo.
    """
    rows, columns = _sample_cells(heights, max(LEAST_POINTS, POINTS_A_PHOTO * count))
    points = cells.points(rows + 0.5, columns + 0.5, heights[rows, columns])
    in_block = rows // BLOCK_CELLS * blocks.columns + columns // BLOCK_CELLS
    order = np.argsort(in_block, kind="stable")
    start = np.searchsorted(in_block[order], np.arange(blocks.rows * blocks.columns + 1))
    # Where a photo shows too many, all photos keep the same ones.
    rank = np.random.default_rng(0).permutation(len(points))
    most = max(MOST_SAMPLES // max(count, 1), FEWEST_COMMON)
    found = []
    for index in range(count):
        progress(index / count, f"exposure {index + 1}/{count} photos")
        seen = [order[start[b] : start[b + 1]] for b in blocks.of_photo(index)]
        near = np.sort(np.concatenate([np.zeros(0, np.int64), *seen]))
        if not len(near):
            found.append(Samples(np.zeros(0, np.int32), np.zeros((0, 3), np.float32)))
            continue
        colors = look(index, points[near])
        good = ((colors > DARKEST) & (colors < BRIGHTEST)).all(axis=1)
        chosen = np.flatnonzero(good)
        if len(chosen) > most:
            chosen = np.sort(chosen[np.argsort(rank[near[chosen]])[:most]])
        log_color = np.log(np.maximum(colors[chosen], np.float32(1.0)))
        found.append(Samples(near[chosen].astype(np.int32), log_color))
    return found


def _sample_cells(
    heights: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of about `count` cells, spread evenly over those that are known."""
    stride = max(1, int((np.isfinite(heights).sum() / count) ** 0.5))
    coarse = heights[stride // 2 :: stride, stride // 2 :: stride]
    rows, columns = np.nonzero(np.isfinite(coarse))
    return rows * stride + stride // 2, columns * stride + stride // 2


def exposure_gains(samples: Sequence[Samples]) -> NDArray[np.float64]:
    """(V, 3) factors that make the photos agree, with geometric mean 1.

    Each pair of photos votes with the median ratio over the points both see; the logarithms of
    the gains solve the votes in the least-squares sense (as in Brown and Lowe 2007, "Automatic
    panoramic image stitching", section 6, with robust votes). Photos without a pair keep 1.
    """
    from scipy.sparse import coo_matrix, eye
    from scipy.sparse.linalg import splu

    views = len(samples)
    first, second, common = usable_pairs(samples)
    ratio = np.zeros((len(first), 3))
    for pair, (i, j) in enumerate(zip(first, second, strict=True)):
        _, own, other = np.intersect1d(
            samples[i].point, samples[j].point, assume_unique=True, return_indices=True
        )
        ratio[pair] = np.median(samples[j].log_color[other] - samples[i].log_color[own], axis=0)
    weight = np.minimum(1.0, common / 500.0)
    # A weak wish for gain 1 fixes what the votes leave open.
    normal = 0.02 * eye(views, format="csc")
    ends = np.concatenate([first, second])
    for values, across in (
        (weight, (ends, ends)),
        (-weight, (ends, np.concatenate([second, first]))),
    ):
        normal = normal + coo_matrix((np.tile(values, 2), across), shape=(views, views)).tocsc()
    right = np.zeros((views, 3))
    np.add.at(right, first, weight[:, None] * ratio)
    np.add.at(right, second, -weight[:, None] * ratio)
    gains = splu(normal.tocsc()).solve(right)
    gains -= gains.mean(axis=0)
    limit = np.log(LARGEST_GAIN)
    factors: NDArray[np.float64] = np.exp(np.clip(gains, -limit, limit))
    return factors


def usable_pairs(
    samples: Sequence[Samples],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of photos that share points enough: two indices, the first less, and how many."""
    from scipy.sparse import csr_matrix, triu

    start = np.concatenate([[0], np.cumsum([len(s.point) for s in samples])])
    points = np.concatenate([np.zeros(0, np.int32), *(s.point for s in samples)])
    size = int(points.max(initial=-1)) + 1
    shown = csr_matrix((np.ones(len(points), np.int32), points, start), shape=(len(samples), size))
    common = triu(shown @ shown.T, 1).tocoo()
    usable = common.data >= FEWEST_COMMON
    order = np.lexsort((common.col[usable], common.row[usable]))
    first, second, count = (x[usable][order] for x in (common.row, common.col, common.data))
    return first.astype(np.int64), second.astype(np.int64), count.astype(np.float64)
