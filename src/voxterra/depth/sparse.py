"""What the sparse points say of the depth of a view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.reconstruction import Reconstruction

Float = NDArray[np.float64]

_FEW = 12


@dataclass(frozen=True)
class SparseDepth:
    """Sparse points as one view sees them.

    Attributes:
        pixels: (N, 2) where they project [px of the view].
        depths: (N,) along the optical axis [world units].
        w_range: (min, max) inverse depth to search; (0, 0) without points.
    """

    pixels: Float
    depths: Float
    w_range: tuple[float, float]


def sparse_depth(component: Reconstruction, index: int, view: PinholeView) -> SparseDepth:
    """Sparse points that image `index` observes, as seen in its undistorted `view`."""
    points = component.points.positions_in_world
    observed = component.points.observed_by(index)
    pixels, depths = view.project(points[observed])
    ok = inside(view, pixels, depths)
    if ok.sum() < _FEW:  # too few of its own: borrow what projects into the view
        pixels, depths = view.project(points)
        ok = inside(view, pixels, depths)
    pixels, depths = pixels[ok], depths[ok]
    if not len(depths):
        return SparseDepth(pixels, depths, (0.0, 0.0))
    near, far = np.quantile(depths, [0.01, 0.99])
    return SparseDepth(pixels, depths, (1.0 / (1.6 * far), 1.0 / (0.6 * near)))


def inside(view: PinholeView, pixels: Float, depths: Float) -> NDArray[np.bool_]:
    """(N,) whether points lie in front of a view and in its frame.

    Args:
        pixels: (N, 2) [px of the view].
        depths: (N,) along the optical axis.
    """
    size = np.array([view.width, view.height])
    return (depths > 0) & (pixels >= 0).all(1) & (pixels < size).all(1)
