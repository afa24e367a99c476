"""Which photos to match against which."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from voxterra.core.camera import PinholeView
from voxterra.core.reconstruction import Reconstruction
from voxterra.depth.sparse import SparseDepth, inside

Float = NDArray[np.float64]

# Triangulation angles [deg] below the first add little depth information, above the second the
# patches look too different. Weights as in MVSNet's view selection (Yao 2018), after COLMAP's.
_BEST_ANGLE, _SIGMA_BELOW, _SIGMA_ABOVE = 8.0, 4.0, 14.0
_SHARED_POINTS = 5


def choose_neighbours(
    component: Reconstruction, views: list[PinholeView], points: list[SparseDepth], count: int
) -> list[list[int]]:
    """For each image of `component` the indices of up to `count` others, most useful first.

    Greedy cover: the frame of each photo is divided into cells that lie at the depth of the
    sparse points; a neighbour is worth what it adds to the cells it sees at a good angle, less
    where others see the cell already, and less when the two photos share few points (it looks at
    something else, or from behind a wall).
    """
    shared = _shared_points(component)
    centers = component.centers_in_world()
    focal = np.array([view.K[0, 0] / max(view.width, view.height) for view in views])
    out: list[list[int]] = []
    for i, view in enumerate(views):
        candidates, counts = _sharing(shared, i)
        if not len(candidates) or not len(points[i].depths):
            out.append([])
            continue
        cells = _cells(view, points[i])
        worth = np.array(
            [
                _worth(cells, centers[i], focal[i], views[j], centers[j], focal[j])
                for j in candidates
            ]
        )
        affinity = np.sqrt(np.minimum(counts / np.median(counts), 1))
        out.append([int(candidates[k]) for k in _greedy(worth * affinity[:, None], count)])
    return out


def _shared_points(component: Reconstruction) -> csr_matrix:
    """(n, n) number of sparse points that two images both observe."""
    points = component.points
    point_of = np.repeat(np.arange(len(points)), np.diff(points.track_start))
    seen = csr_matrix(
        (np.ones(len(point_of), np.int64), (points.track_image, point_of)),
        shape=(len(component.images), len(points)),
    )
    seen.data[:] = 1
    shared = csr_matrix(seen @ seen.T)
    shared.sort_indices()
    return shared


def _sharing(shared: csr_matrix, index: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Images that share enough points with image `index`, ascending, and how many."""
    row = slice(shared.indptr[index], shared.indptr[index + 1])
    others, counts = shared.indices[row], shared.data[row]
    enough = (counts >= _SHARED_POINTS) & (others != index)
    return others[enough], counts[enough]


def _cells(view: PinholeView, points: SparseDepth) -> Float:
    """(N, 3) world points in the middle of each cell of the frame, at the sparse points' depth."""
    nx = 12
    ny = max(1, round(nx * view.height / view.width))
    x, y = np.meshgrid((np.arange(nx) + 0.5) / nx, (np.arange(ny) + 0.5) / ny)
    pixels = np.column_stack([x.ravel() * view.width, y.ravel() * view.height])
    _, nearest = cKDTree(points.pixels).query(pixels, k=min(5, len(points.depths)))
    depths = np.median(points.depths[nearest].reshape(len(pixels), -1), axis=1)
    return view.unproject(pixels, depths)


def _worth(
    cells: Float, center: Float, focal: float, other: PinholeView, other_center: Float,
    other_focal: float,
) -> Float:  # fmt: skip
    """(N,) what `other` tells about each cell: 0 out of frame, up to 1 at the best angle."""
    pixels, depth = other.project(cells)
    to_cell, to_other = cells - center, cells - other_center
    d, d_other = np.linalg.norm(to_cell, axis=1), np.linalg.norm(to_other, axis=1)
    angle = np.degrees(np.arccos(np.clip((to_cell * to_other).sum(1) / (d * d_other), -1, 1)))
    sigma = np.where(angle < _BEST_ANGLE, _SIGMA_BELOW, _SIGMA_ABOVE)
    weight = np.exp(-(((angle - _BEST_ANGLE) / sigma) ** 2) / 2)
    ratio = (focal / d) / (other_focal / d_other)
    worth: Float = weight * np.minimum(ratio, 1 / ratio) * inside(other, pixels, depth)
    return worth


def _greedy(worth: Float, count: int) -> list[int]:
    """Rows of (candidates, cells) `worth` that together cover the cells best."""
    covered = np.zeros(worth.shape[1])
    chosen: list[int] = []
    while len(chosen) < min(count, len(worth)):
        gain = (worth * 0.5**covered).sum(1)
        gain[chosen] = -1
        best = int(np.argmax(gain))
        if gain[best] < 1e-3 * worth.shape[1]:
            break
        chosen.append(best)
        covered += worth[best]
    return chosen
