"""Analytic scenes seen by several cameras, as `DepthMaps`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from voxterra.core.camera import Camera, PinholeView
from voxterra.core.depth import DepthMap

# origin (3,), directions (N, 3) -> distance factor (N,), inf = none; normals (N, 3) in world
Surface = Callable[[NDArray, NDArray], tuple[NDArray, NDArray]]


def sphere(radius: float) -> Surface:
    def hit(origin: NDArray, d: NDArray) -> tuple[NDArray, NDArray]:
        a, b = (d * d).sum(1), d @ origin
        root = b * b - a * (origin @ origin - radius**2)
        t = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
        points = origin + np.where(np.isfinite(t), t, 0)[:, None] * d
        return t, points / radius

    return hit


def plane(height: float = 0.0) -> Surface:
    def hit(origin: NDArray, d: NDArray) -> tuple[NDArray, NDArray]:
        t = np.where(d[:, 2] < 0, (height - origin[2]) / np.minimum(d[:, 2], -1e-12), np.inf)
        return t, np.broadcast_to([0.0, 0.0, 1.0], d.shape)

    return hit


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> Surface:
    def hit(origin: NDArray, d: NDArray) -> tuple[NDArray, NDArray]:
        with np.errstate(divide="ignore", invalid="ignore"):
            t0, t1 = (np.array(low) - origin) / d, (np.array(high) - origin) / d
        near, far = np.minimum(t0, t1), np.maximum(t0, t1)
        axis = near.argmax(1)
        enter = near.max(1)
        t = np.where((enter <= far.min(1)) & (enter > 0), enter, np.inf)
        normals = np.zeros_like(d)
        rows = np.arange(len(d))
        normals[rows, axis] = -np.sign(d[rows, axis])
        return t, normals

    return hit


def union(*surfaces: Surface) -> Surface:
    def hit(origin: NDArray, d: NDArray) -> tuple[NDArray, NDArray]:
        hits = [s(origin, d) for s in surfaces]
        t = np.stack([h[0] for h in hits])
        best = t.argmin(0)
        normals = np.stack([h[1] for h in hits])[best, np.arange(len(d))]
        return t.min(0), normals

    return hit


@dataclass
class SceneMaps:
    views: tuple[PinholeView, ...]
    maps: list[DepthMap]
    colors: list[NDArray[np.uint8]]
    masks: list[NDArray[np.bool_]] | None = None

    def load(self, index: int) -> DepthMap:
        return self.maps[index]

    def load_color(self, index: int) -> NDArray[np.uint8]:
        return self.colors[index]

    def load_mask(self, index: int) -> NDArray[np.bool_] | None:
        return None if self.masks is None else self.masks[index]


def look_at(eye: NDArray, target: NDArray, focal: float, width: int, height: int) -> PinholeView:
    z = np.asarray(target, float) - eye
    z /= np.linalg.norm(z)
    up = np.array([0.0, 1.0, 0.0]) if abs(z[2]) > 0.9 else np.array([0.0, 0.0, 1.0])
    x = np.cross(z, up)
    x /= np.linalg.norm(x)
    rotation = np.stack([x, np.cross(z, x), z])
    cam_from_world = np.column_stack([rotation, -rotation @ eye])
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    camera = Camera("PINHOLE", width, height, (focal, focal, width / 2, height / 2))
    name = f"{eye[0]:.2f}_{eye[1]:.2f}_{eye[2]:.2f}.jpg"
    return PinholeView(name, K, cam_from_world, width, height, camera)


def render(surface: Surface, views: list[PinholeView], max_depth: float = 1e3) -> SceneMaps:
    """True depths, normals and colours; the colour encodes the world position."""
    maps, colors = [], []
    for view in views:
        h, w = view.height, view.width
        u, v = np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5)
        pixels = np.column_stack([u.ravel(), v.ravel()])
        rays = (np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(view.K).T) @ (
            view.cam_from_world[:, :3]
        )
        t, normals = surface(view.center_in_world, rays)
        seen = np.isfinite(t) & (t > 0) & (t < max_depth)
        depth = np.where(seen, t, 0).astype(np.float32).reshape(h, w)
        in_cam = np.where(seen[:, None], normals @ view.cam_from_world[:, :3].T, 0)
        points = view.center_in_world + np.where(seen, t, 0)[:, None] * rays
        color = np.clip(128 + 60 * points, 0, 255).astype(np.uint8).reshape(h, w, 3)
        normal = in_cam.astype(np.float32).reshape(h, w, 3)
        maps.append(DepthMap(view, depth, normal, seen.astype(np.float32).reshape(h, w)))
        colors.append(color)
    return SceneMaps(tuple(views), maps, colors)


def around(distance: float, count: int = 20, size: int = 96) -> list[PinholeView]:
    """Views from all sides onto the origin (Fibonacci sphere)."""
    i = np.arange(count) + 0.5
    z = 1 - 2 * i / count
    angle = np.pi * (1 + 5**0.5) * i
    eyes = distance * np.column_stack(
        [np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z]
    )
    return [look_at(eye, np.zeros(3), 1.2 * size, size, size) for eye in eyes]


def above(height: float, spacing: float, count: int = 3, size: int = 96) -> list[PinholeView]:
    """A grid of views straight down."""
    offsets = (np.arange(count) - (count - 1) / 2) * spacing
    return [
        look_at(np.array([x, y, height]), np.array([x, y, 0.0]), 1.0 * size, size, size)
        for y in offsets
        for x in offsets
    ]


@pytest.fixture(scope="session")
def scenes() -> SimpleNamespace:
    """The functions above: test modules cannot import each other."""
    functions = (sphere, plane, box, union, look_at, render, around, above)
    return SimpleNamespace(SceneMaps=SceneMaps, **{f.__name__: f for f in functions})
