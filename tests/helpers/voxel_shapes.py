"""Scenes of shapes whose signed distance is known everywhere, for tests of the voxel engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap
from voxterra.surface.voxels.scene.scene import Scene, ScenePoints, SceneView
from voxterra.testing import depth_normals, look_at

Sdf = Callable[[np.ndarray], np.ndarray]


def sphere(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points, axis=1) - 0.8


def cuboid(points: np.ndarray, center=(0, 0, 0), half=(0.9, 0.6, 0.4)) -> np.ndarray:
    q = np.abs(points - np.array(center)) - np.array(half)
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0)


def plate(points: np.ndarray) -> np.ndarray:
    return cuboid(points, half=(0.9, 0.9, 0.03))


def ground_and_block(points: np.ndarray) -> np.ndarray:
    return np.minimum(points[:, 2], cuboid(points, (0, 0, 0.25), (0.3, 0.3, 0.25)))


def around(n: int, distance: float = 4.0, *, lowest: float = -1.0) -> list[PinholeView]:
    """Views of the origin spread evenly over a sphere, or the part of it above `lowest`."""
    z = 1 - (1 - lowest) * (np.arange(n) + 0.5) / n
    turn = np.pi * (1 + 5**0.5) * np.arange(n)
    r = np.sqrt(1 - z**2)
    centers = distance * np.column_stack([r * np.cos(turn), r * np.sin(turn), z])
    return [
        look_at(f"{i}.png", c, (0, 0, 0), width=160, height=120, focal_px=150)
        for i, c in enumerate(centers)
    ]


def traced(view: PinholeView, sdf: Sdf, far: float = 60.0) -> np.ndarray:
    """(H, W) depth of an analytic surface by sphere tracing; 0 where the ray meets nothing."""
    v, u = np.mgrid[: view.height, : view.width] + 0.5
    pixels = np.column_stack([u.ravel(), v.ravel()])
    center = view.center_in_world
    ray = view.unproject(pixels, np.ones(len(pixels))) - center
    length = np.linalg.norm(ray, axis=1)
    depth = np.zeros(len(pixels))
    going = np.arange(len(pixels))
    for _ in range(80):
        step = sdf(center + depth[going, None] * ray[going]) / length[going]
        depth[going] += step
        going = going[(np.abs(step) > 1e-5) & (depth[going] < far)]
    hit = (depth < far) & (np.abs(sdf(center + depth[:, None] * ray)) < 1e-3)
    return np.where(hit, depth, 0).reshape(view.height, view.width).astype(np.float32)


def photo(
    view: PinholeView,
    depth: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    held_out: bool = False,
) -> SceneView:
    """A black photo with what is known of it."""
    prior = None
    if depth is not None:
        prior = DepthMap(view, depth, depth_normals(view, depth), (depth > 0).astype(np.float32))
    rgb = np.zeros((view.height, view.width, 3), np.uint8)
    return SceneView(view, rgb, mask, prior, held_out)


def depth_scene(views: Sequence[PinholeView], sdf: Sdf, *, masked: bool = False) -> Scene:
    """Photos with exact depth maps, and masks of what they show."""
    photos = []
    for view in views:
        depth = traced(view, sdf)
        mask = np.where(depth > 0, 255, 0).astype(np.uint8) if masked else None
        photos.append(photo(view, depth, mask))
    return Scene(tuple(photos), None, None, "test scene")


def mask_scene(views: Sequence[PinholeView], sdf: Sdf) -> Scene:
    """Photos with masks alone."""
    masks = [np.where(traced(view, sdf) > 0, 255, 0).astype(np.uint8) for view in views]
    return Scene(tuple(photo(v, None, m) for v, m in zip(views, masks)), None, None, "test scene")


def point_scene(
    views: Sequence[PinholeView],
    sdf: Sdf,
    count: int,
    *,
    reach: float = 1.2,
    noise: float = 0.0,
    observed: bool = True,
    seed: int = 1,
) -> Scene:
    """Photos with points of the surface (within a cube of half edge `reach`), and who saw them."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-reach, reach, (12 * count, 3))
    for _ in range(25):
        steps = 1e-4 * np.eye(3)
        slope = np.stack([(sdf(points + e) - sdf(points - e)) / 2e-4 for e in steps], axis=1)
        points -= 0.9 * sdf(points)[:, None] * slope
    points = points[np.abs(sdf(points)) < 1e-3][:count]
    points += rng.normal(0, noise, points.shape)
    seen = []
    for view in views:
        depth = traced(view, sdf)
        pixels, z = view.project(points)
        inside = (pixels >= 0).all(axis=1) & (pixels < [view.width, view.height]).all(axis=1)
        index = np.flatnonzero(inside & (z > 0))
        column, row = pixels[index].astype(int).T
        index = index[np.abs(depth[row, column] - z[index]) < 0.05]
        seen.append(index if observed else index[:0])
    start = np.concatenate([[0], np.cumsum([len(index) for index in seen])])
    known = ScenePoints(points, start, np.concatenate(seen))
    return Scene(tuple(photo(view) for view in views), known, None, "test scene")


def points_in(center: Sequence[float], edge: float, count: int = 40_000) -> np.ndarray:
    """(count, 3) random points of a cube."""
    return np.random.default_rng(0).uniform(-edge / 2, edge / 2, (count, 3)) + np.array(center)
