"""Photos of a long façade of which a share repeats from bay to bay, with exact cameras.

Nothing but what does not repeat tells one bay from the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

BAY_M, HEIGHT_M, LENGTH_M = 4.0, 9.0, 64.0
TEXEL_M = 0.0125
WIDTH, HEIGHT, FOCAL_PX = 640, 480, 520.0


@dataclass(frozen=True)
class Facade:
    """Colours and relief over (height, length), and where the texture does not repeat."""

    colors: np.ndarray
    relief_m: np.ndarray
    own: np.ndarray


def noise(rng: np.random.Generator, rows: int, columns: int, wrap: bool) -> np.ndarray:
    """(rows, columns, 3) texture with detail at all sizes, in [0, 1]; `wrap`: ends meet."""
    out = np.zeros((rows, columns, 3), np.float32)
    for size in (2, 4, 8, 16, 32, 64):
        cells = rng.random((max(2, rows // size), max(2, columns // size), 3)).astype(np.float32)
        if wrap:
            cells = np.concatenate([cells, cells, cells], axis=1)
        large = cv2.resize(
            cells, (columns * (3 if wrap else 1), rows), interpolation=cv2.INTER_CUBIC
        )
        out += (large[:, columns : 2 * columns] if wrap else large) * size**0.4
    out -= out.min()
    return out / out.max()


def build(own_share: float, seed: int = 0) -> Facade:
    """A façade of which `own_share` of the area is in no other bay."""
    rng = np.random.default_rng(seed)
    rows, bay, columns = (round(m / TEXEL_M) for m in (HEIGHT_M, BAY_M, LENGTH_M))
    bays = columns // bay
    colors = np.tile(noise(rng, rows, bay, True), (1, bays, 1))
    relief = np.zeros((rows, bay), np.float32)
    for top in range(60, rows - 120, 220):  # a window in each storey stands back
        relief[top : top + 120, 90:230] = 0.3
    relief = cv2.GaussianBlur(np.tile(relief, (1, bays)), (0, 0), 4)
    fresh = noise(rng, rows, columns, False)
    own = np.zeros((rows, columns), bool)
    while own.mean() < own_share:
        height, width = rng.integers(40, 120, 2)
        y, x = rng.integers(0, rows - height), rng.integers(0, columns - width)
        own[y : y + height, x : x + width] = True
    colors[own] = fresh[own]
    return Facade(colors, relief, own)


def photograph(
    facade: Facade, center: np.ndarray, yaw_deg: float, pitch_deg: float = 0.0
) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) uint8. World: x along the façade, y down, z into it; it lies at z = 0."""
    yaw, pitch = np.radians([yaw_deg, pitch_deg])
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    tilt = np.array(
        [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    )
    n = 2
    v, u = (np.mgrid[: HEIGHT * n, : WIDTH * n] + 0.5) / n
    rays = np.stack([(u - WIDTH / 2) / FOCAL_PX, (v - HEIGHT / 2) / FOCAL_PX, np.ones_like(u)], -1)
    rays = rays @ (turn @ tilt).T
    depth = np.zeros(u.shape, np.float32)
    for _ in range(6):
        along = (depth - center[2]) / rays[..., 2]
        at = [
            ((center[i] + along * rays[..., i]) / TEXEL_M - 0.5).astype(np.float32) for i in (0, 1)
        ]
        depth = cv2.remap(facade.relief_m, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    colors = cv2.remap(facade.colors, *at, cv2.INTER_LINEAR, borderValue=(0.55, 0.65, 0.75))
    small = colors.reshape(HEIGHT, n, WIDTH, n, 3).mean((1, 3))
    return np.rint(255 * small.clip(0, 1)).astype(np.uint8)


def at_another_time(facade: Facade, seed: int = 5) -> Facade:
    """The same under another sun: shadows with sharp edges, other contrast and colour."""
    rng = np.random.default_rng(seed)
    rows, columns = facade.own.shape
    light = np.ones((rows, columns), np.float32)
    for _ in range(150):
        corners = rng.uniform([-200, -200], [columns, rows], 2) + rng.uniform(0, 400, (3, 2))
        cv2.fillPoly(light, [corners.astype(np.int32)], 0.35)
    light = cv2.GaussianBlur(light, (0, 0), 3)
    colors = facade.colors ** np.array([0.6, 0.8, 1.3], np.float32) * light[..., None]
    return Facade(colors, facade.relief_m, facade.own)


def write_walk(
    folder: Path, facade: Facade, xs: list[float], seed: int = 1, first: int = 0
) -> dict[str, np.ndarray]:
    """Photos from in front of the façade at these places; the camera's centre of each by name.

    Names count from `first` on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    centers = {}
    for i, x in enumerate(xs, first):
        center = np.array([x, 0.55 * HEIGHT_M + rng.normal(0, 0.3), -10 + rng.normal(0, 0.6)])
        picture = photograph(facade, center, rng.normal(0, 6), rng.normal(0, 2))
        name = f"{i:03d}.png"
        Image.fromarray(picture).save(folder / name)
        centers[name] = center
    return centers
