"""Photos of two rooms in a row with a door between them, and panels that stand in them.

World: x right, y down, z from the first room into the second; the wall between them is at z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from repeating_facade import noise

HALF_M, HEIGHT_M, LENGTH_M = 4.0, 3.0, 9.0
TEXEL_M = 0.01
WIDTH, HEIGHT, FOCAL_PX = 640, 480, 420.0
DOOR = ((-0.5, 0.8), (0.5, HEIGHT_M))


@dataclass(frozen=True)
class Panel:
    """A rectangle across an axis: `low` and `high` along the other two, `door` an opening in it."""

    axis: int
    at: float
    low: tuple[float, float]
    high: tuple[float, float]
    colors: np.ndarray
    door: bool = False


def build(seed: int = 3) -> list[Panel]:
    """The surfaces, each with a texture of its own."""
    rng = np.random.default_rng(seed)

    def panel(
        axis: int,
        at: float,
        low: tuple[float, float],
        high: tuple[float, float],
        door: bool = False,
    ) -> Panel:
        rows, columns = (round((b - a) / TEXEL_M) for a, b in zip(low, high, strict=True))
        return Panel(axis, at, low, high, noise(rng, rows, columns, False), door)

    found = []
    for near, far in ((-LENGTH_M, 0.0), (0.0, LENGTH_M)):
        found += [panel(0, x, (0, near), (HEIGHT_M, far)) for x in (-HALF_M, HALF_M)]
        found += [panel(1, y, (-HALF_M, near), (HALF_M, far)) for y in (0, HEIGHT_M)]
    for z, door in ((-LENGTH_M, False), (-0.03, True), (0.03, True), (LENGTH_M, False)):
        found.append(panel(2, z, (-HALF_M, 0), (HALF_M, HEIGHT_M), door))
    for z in (-5, 5):
        found += [panel(2, z, (x - 0.6, 1.5), (x + 0.6, HEIGHT_M)) for x in (-2.5, 2.2)]
    return found


def photograph(rooms: list[Panel], center: np.ndarray, yaw_deg: float) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) uint8, looking along z at yaw 0."""
    yaw, n = np.radians(yaw_deg), 2
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    v, u = (np.mgrid[: HEIGHT * n, : WIDTH * n] + 0.5) / n
    rays = np.stack([(u - WIDTH / 2) / FOCAL_PX, (v - HEIGHT / 2) / FOCAL_PX, np.ones_like(u)], -1)
    rays = rays @ turn.T
    nearest, colors = np.full(u.shape, np.inf), np.zeros((*u.shape, 3), np.float32)
    for panel in rooms:
        along = (panel.at - center[panel.axis]) / rays[..., panel.axis]
        a, b = (center[k] + along * rays[..., k] for k in range(3) if k != panel.axis)
        hit = (along > 0) & (along < nearest) & _within(a, b, panel.low, panel.high)
        if panel.door:
            hit &= ~_within(a, b, *DOOR)
        at = [((p - low) / TEXEL_M).astype(np.float32) for p, low in zip((b, a), panel.low[::-1])]
        found = cv2.remap(panel.colors, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        colors[hit], nearest[hit] = found[hit], along[hit]
    small = colors.reshape(HEIGHT, n, WIDTH, n, 3).mean((1, 3))
    return np.rint(255 * small.clip(0, 1)).astype(np.uint8)


def _within(
    a: np.ndarray, b: np.ndarray, low: tuple[float, float], high: tuple[float, float]
) -> np.ndarray:
    return (a >= low[0]) & (a <= high[0]) & (b >= low[1]) & (b <= high[1])


def write_photos(folder: Path, places: list[tuple[float, float]]) -> dict[str, np.ndarray]:
    """Photos taken into the second room at these (x, z); the camera's centre of each by name."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, rooms, centers = np.random.default_rng(5), build(), {}
    for i, (x, z) in enumerate(places):
        center = np.array([x, HEIGHT_M / 2 + rng.normal(0, 0.15), z])
        name = f"{i:03d}.png"
        Image.fromarray(photograph(rooms, center, rng.normal(0, 2))).save(folder / name)
        centers[name] = center
    return centers
