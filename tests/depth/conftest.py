"""A small survey with exactly known depth: photos of a box on a plane, on disk, with tracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from box_survey import photos_of_a_box
from PIL import Image as PilImage

from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.testing import MemoryDepthMaps


@dataclass(frozen=True)
class Survey:
    truth: MemoryDepthMaps
    component: Reconstruction
    photos: PhotoSet


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    folder = tmp_path_factory.mktemp("photos")
    truth = photos_of_a_box()
    views = truth.views
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
