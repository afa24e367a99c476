"""A small scene to train on: a block on the ground, patterned, with exact photos and depths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import voxel_shapes

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap
from voxterra.core.voxels import VoxelModel
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.scene.scene import Scene, ScenePoints, SceneView
from voxterra.testing import checker, depth_normals, look_at

WIDTH, HEIGHT = 48, 36
SDF = voxel_shapes.ground_and_block

SMALL = VoxelConfig(
    device="cpu",
    n_iter=24,
    bound=(-1.0, -1.0, -0.6, 1.0, 1.0, 1.0),
    outside_level=3,
    init_level=4,
    max_level=6,
    max_voxels=20_000,
    adapt_every=2000,
    ss=1.0,
    sh_degree=1,
    save_every=0,
    view_every=0,
    seed=3,
)
"""A training of a second or two."""


def views(count: int = 10, width: int = WIDTH, height: int = HEIGHT) -> list[PinholeView]:
    turn = np.pi * (1 + 5**0.5) * np.arange(count)
    z = 0.5 + 0.4 * (np.arange(count) + 0.5) / count
    r = np.sqrt(1 - z * z)
    centers = 2.5 * np.column_stack([r * np.cos(turn), r * np.sin(turn), z])
    return [
        look_at(f"{i}.png", c, (0, 0, 0.1), width=width, height=height, focal_px=0.9 * width)
        for i, c in enumerate(centers)
    ]


def color_at(points: np.ndarray) -> np.ndarray:
    return checker(points, 0.8)


def photographed(
    view: PinholeView,
    *,
    depth_factor: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    gain: float = 1.0,
    prior: bool = True,
    held_out: bool = False,
    subpixels: int = 2,
) -> SceneView:
    """The view's photo (each pixel the mean of `subpixels`^2) and its depth map."""
    n = subpixels
    large = view.resized(view.width * n, view.height * n)
    depth = voxel_shapes.traced(large, SDF)
    v, u = np.mgrid[: large.height, : large.width] + 0.5
    pixels = np.column_stack([u.ravel(), v.ravel()])
    colors = gain * color_at(large.unproject(pixels, depth.ravel().astype(np.float64)))
    colors = np.where(depth.ravel()[:, None] > 0, colors, 0.0)
    colors = colors.reshape(view.height, n, view.width, n, 3).mean((1, 3))
    known = None
    if prior:
        z = voxel_shapes.traced(view, SDF)
        if depth_factor is not None:
            y, x = np.mgrid[: view.height, : view.width]
            z = (z * depth_factor(x, y)).astype(np.float32)
        known = DepthMap(view, z, depth_normals(view, z), 0.8 * (z > 0).astype(np.float32))
    return SceneView(view, np.rint(255 * colors.clip(0, 1)).astype(np.uint8), None, known, held_out)


@lru_cache(maxsize=4)
def scene(count: int = 10, held_out: Sequence[int] = (3, 7), prior: bool = True) -> Scene:
    """Exact photos, and depth maps that are wavy by 1.5 %."""

    def wavy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 1.0 + 0.015 * np.sin(0.5 * x) * np.cos(0.4 * y)

    shots = (
        photographed(view, depth_factor=wavy, prior=prior, held_out=i in held_out)
        for i, view in enumerate(views(count))
    )
    return Scene(tuple(shots), points(views(count)), None, "a block on the ground")


def points(seen_by: Sequence[PinholeView]) -> ScenePoints:
    """200 exact points of the surface, seen by all views that have them in their image."""
    rng = np.random.default_rng(5)
    at = np.column_stack([rng.uniform(-0.9, 0.9, (400, 2)), np.zeros(400)])
    at = at[np.abs(at[:, :2]).max(1) > 0.32][:200]
    seen = []
    for view in seen_by:
        xy, depth = view.project(at)
        inside = (depth > 0) & (xy >= 0).all(1) & (xy < [view.width, view.height]).all(1)
        front = voxel_shapes.traced(view, SDF)
        index = np.flatnonzero(inside)
        column, row = xy[index].astype(int).T
        seen.append(index[np.abs(front[row, column] - depth[index]) < 0.1])
    start = np.concatenate([[0], np.cumsum([len(s) for s in seen])])
    return ScenePoints(at, start.astype(np.int64), np.concatenate(seen).astype(np.int64))


def without_priors(of: Scene) -> Scene:
    return replace(of, views=tuple(replace(view, prior=None) for view in of.views))


def same(a: VoxelModel, b: VoxelModel) -> bool:
    """Whether two models are equal bit for bit."""
    names = ("path", "level", "sdf", "sh0", "shs", "sharpness", "background", "center")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)
