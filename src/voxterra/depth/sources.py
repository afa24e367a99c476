"""Which photos to match against which, and the depth range of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.reconstruction import Reconstruction

Float = NDArray[np.float64]

# Triangulation angles [deg] below the first add little depth information, above the second the
# patches look too different. Weights as in MVSNet's view selection (Yao 2018), after COLMAP's.
_BEST_ANGLE, _SIGMA_BELOW, _SIGMA_ABOVE = 8.0, 4.0, 12.0


@dataclass(frozen=True)
class Prior:
    """What the sparse points say of one view.

    Attributes:
        pixels: (N, 2) where they project [px of the view].
        depths: (N,) along the optical axis.
        w_range: (min, max) inverse depth to search.
    """

    pixels: Float
    depths: Float
    w_range: tuple[float, float]


def choose_sources(component: Reconstruction, count: int) -> list[list[int]]:
    """For each image of `component` the indices of its best source images, best first.

    The score of a pair sums over shared points a weight of the triangulation angle, times how
    alike the two photos' resolutions on the point are.
    """
    n = len(component.images)
    points = component.points
    centers = component.centers_in_world()
    rays = points.positions_in_world[:, None, :]  # expanded lazily per image below
    seen = np.zeros((n, len(points)), bool)
    point_of = np.repeat(np.arange(len(points)), np.diff(points.track_start))
    seen[points.track_image, point_of] = True
    focal = np.array([component.camera_of(image).params[0] for image in component.images])
    out: list[list[int]] = []
    for i in range(n):
        idx = np.flatnonzero(seen[i])
        to_points = rays[idx, 0] - centers[i]
        distance = np.linalg.norm(to_points, axis=1)
        score = np.zeros(n)
        for j in range(n):
            both = seen[j, idx]
            if j == i or both.sum() < 5:
                continue
            other = rays[idx[both], 0] - centers[j]
            d_other = np.linalg.norm(other, axis=1)
            cos = (to_points[both] * other).sum(1) / (distance[both] * d_other)
            angle = np.degrees(np.arccos(np.clip(cos, -1, 1)))
            sigma = np.where(angle < _BEST_ANGLE, _SIGMA_BELOW, _SIGMA_ABOVE)
            weight = np.exp(-(((angle - _BEST_ANGLE) / sigma) ** 2) / 2)
            ratio = (focal[i] / distance[both]) / (focal[j] / d_other)
            score[j] = float((weight * np.minimum(ratio, 1 / ratio)).sum())
        order = np.argsort(-score, kind="stable")
        out.append([int(j) for j in order[:count] if score[j] > 0])
    return out


def sparse_prior(component: Reconstruction, index: int, view: PinholeView) -> Prior:
    """Sparse points that image `index` observes, as seen in its undistorted `view`."""
    points = component.points.positions_in_world
    observed = component.points.observed_by(index)
    pixels, depths = view.project(points[observed])
    ok = _inside(view, pixels, depths)
    if ok.sum() < 12:  # too few of its own: borrow what projects into the view
        pixels, depths = view.project(points)
        ok = _inside(view, pixels, depths)
    pixels, depths = pixels[ok], depths[ok]
    if not len(depths):
        return Prior(pixels, depths, (0.0, 0.0))
    near, far = np.quantile(depths, [0.01, 0.99])
    return Prior(pixels, depths, (1.0 / (1.6 * far), 1.0 / (0.6 * near)))


def _inside(view: PinholeView, pixels: Float, depths: Float) -> NDArray[np.bool_]:
    size = np.array([view.width, view.height])
    return (depths > 0) & (pixels >= 0).all(1) & (pixels < size).all(1)
