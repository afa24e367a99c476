"""Photos of a box on a plane from above, with exactly known depth."""

from __future__ import annotations

import numpy as np
import trimesh

from voxterra.core.mesh import TriMesh
from voxterra.testing import MemoryDepthMaps, look_at, photograph


def _pattern(points: np.ndarray) -> np.ndarray:
    """Band-limited noise in space: many waves of random direction, so no two places look alike."""
    rng = np.random.default_rng(5)
    waves = rng.normal(size=(60, 3)) * rng.uniform(1.0, 9.0, (60, 1))
    phase = rng.uniform(0, 2 * np.pi, 60)
    value = np.cos(points @ waves.T + phase).sum(1) / 12
    return np.repeat(np.clip(0.5 + 0.4 * value, 0, 1)[:, None], 3, axis=1)


def _scene() -> TriMesh:
    ground = trimesh.creation.box(
        (40, 40, 0.1), trimesh.transformations.translation_matrix([0, 0, -0.05])
    )
    house = trimesh.creation.box((3, 4, 2), trimesh.transformations.translation_matrix([0.5, 0, 1]))
    both = trimesh.util.concatenate([ground, house])
    return TriMesh(np.asarray(both.vertices, np.float32), np.asarray(both.faces, np.int32))


def photos_of_a_box() -> MemoryDepthMaps:
    """Six overlapping views from 12 m above, with their images and depths."""
    places = [(x, y) for y in (-1.5, 1.5) for x in (-3.0, 0.0, 3.0)]
    views = [
        look_at(f"{i}.png", (x, y - 2.0, 12.0), (0.8 * x, y, 0.0))
        for i, (x, y) in enumerate(places)
    ]
    return photograph(_scene(), views, _pattern)
