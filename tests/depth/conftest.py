"""A small survey with exactly known depth: photos of a box on a plane, on disk, with tracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import trimesh
from PIL import Image as PilImage

from voxterra.core.mesh import TriMesh
from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.testing import MemoryDepthMaps, look_at, photograph


@dataclass(frozen=True)
class Survey:
    truth: MemoryDepthMaps
    component: Reconstruction
    photos: PhotoSet


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


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    folder = tmp_path_factory.mktemp("photos")
    places = [(x, y) for y in (-1.5, 1.5) for x in (-3.0, 0.0, 3.0)]
    views = [
        look_at(f"{i}.png", (x, y - 2.0, 12.0), (0.8 * x, y, 0.0))
        for i, (x, y) in enumerate(places)
    ]
    truth = photograph(_scene(), views, _pattern)
    for view, color in zip(views, truth.colors):
        PilImage.fromarray(color).save(folder / view.name)
    photos = tuple(Photo(v.name, folder / v.name, v.width, v.height, "") for v in views)
    return Survey(truth, _component(truth), PhotoSet(folder, photos))


def _component(truth: MemoryDepthMaps) -> Reconstruction:
    """Cameras as they are, and points 5 cm off, seen by every view whose depth they agree with."""
    rng = np.random.default_rng(0)
    points = []
    for view, depth in zip(truth.views, truth.depths):
        pixels = np.column_stack(
            [rng.integers(8, view.width - 8, 60), rng.integers(8, view.height - 8, 60)]
        )
        z = depth[pixels[:, 1], pixels[:, 0]].astype(float)
        points.append(view.unproject(pixels + 0.5, z))
    positions = np.concatenate(points)
    starts, images, xy = [0], [], []
    for position in positions:
        for k, (view, depth) in enumerate(zip(truth.views, truth.depths)):
            pixel, z = view.project(position[None])
            u, v = np.floor(pixel[0]).astype(int)
            if 0 <= u < view.width and 0 <= v < view.height and abs(depth[v, u] - z[0]) < 0.02:
                images.append(k)
                xy.append(pixel[0])
        starts.append(len(images))
    n = len(positions)
    positions = positions + rng.normal(scale=0.05, size=positions.shape)
    sparse = SparsePoints(
        positions, np.zeros((n, 3), np.uint8), np.zeros(n), np.array(starts, np.int64),
        np.array(images, np.int32), np.array(xy),
    )  # fmt: skip
    registered = tuple(Image(v.name, 1, v.cam_from_world) for v in truth.views)
    return Reconstruction({1: truth.views[0].camera}, registered, sparse)
