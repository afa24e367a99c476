"""A simulated survey: true cameras in a true frame, and what a drone would record of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from voxterra.core.camera import Camera
from voxterra.core.geo import GeoFrame
from voxterra.core.geoid import undulation_m
from voxterra.core.photos import Attitude, Gps, Photo, PhotoSet
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.core.transforms import Similarity, rotation_from_vector
from voxterra.evaluate.frame import FrameError, evaluate_frame
from voxterra.georef.attitude import cam_from_enu


@dataclass(frozen=True)
class Survey:
    """`truth` in `frame`; `model` is the same in a frame of its own; `photos` what was recorded."""

    frame: GeoFrame
    truth: Reconstruction
    model: Reconstruction
    photos: PhotoSet

    def with_photos(self, change: Callable[[int, Photo], Photo]) -> Survey:
        photos = tuple(change(i, p) for i, p in enumerate(self.photos.photos))
        return replace(self, photos=replace(self.photos, photos=photos))

    def error(self, delivered: Reconstruction, frame: GeoFrame) -> FrameError:
        truth = {i.name: i.cam_from_world for i in self.truth.images}
        return evaluate_frame(
            np.array([i.cam_from_world for i in delivered.images]),
            frame,
            np.array([truth[i.name] for i in delivered.images]),
            self.frame,
        )


def sparse(positions: np.ndarray) -> SparsePoints:
    n = len(positions)
    return SparsePoints(
        np.asarray(positions, float),
        np.zeros((n, 3), np.uint8),
        np.zeros(n),
        np.zeros(n + 1, np.int64),
        np.zeros(0, np.int32),
        np.zeros((0, 2)),
    )


def make_survey(
    *,
    seed: int = 0,
    n: int = 24,
    layout: str = "grid",
    lon: float = 9.9158,
    lat: float = 51.5413,
    gps_sigma: tuple[float, float] = (0.8, 2.0),
    attitude_sigma: float | None = 1.0,
    mount_bias: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Survey:
    """Cameras in a `layout` of "grid" (nadir, 50 m up, headings there and back) or "line"."""
    rng = np.random.default_rng(seed)
    if layout == "grid":
        side = int(np.ceil(np.sqrt(n)))
        x, y = np.meshgrid(np.arange(side) * 15.0, np.arange(side) * 15.0)
        centers = np.column_stack([x.ravel(), y.ravel(), np.full(side * side, 50.0)])[:n]
        yaw = np.where(np.round(centers[:, 0] / 15) % 2 == 0, 30.0, 210.0)
        pitch = np.full(n, -90.0)
    else:
        centers = np.column_stack([np.arange(n) * 3.0, np.zeros(n), np.full(n, 1.7)])
        yaw, pitch = np.full(n, 20.0), np.full(n, 3.0)
    centers = centers - [*centers[:, :2].mean(0), 0] + rng.normal(0, 0.3, (n, 3))
    angles = np.column_stack([yaw, pitch, np.zeros(n)]) + rng.normal(0, 1.0, (n, 3))
    frame = GeoFrame("geo", lon, lat, 150.0, "")
    images, photos = [], []
    common = rng.normal(0, 1, 3) * [gps_sigma[0], gps_sigma[0], gps_sigma[1]]
    for i in range(n):
        name = f"photo_{i:03d}.jpg"
        rotation = cam_from_enu(*angles[i])
        pose = np.hstack([rotation, (-rotation @ centers[i])[:, None]])
        images.append(Image(name, 1, pose))
        noise = rng.normal(0, 1, 3) * [gps_sigma[0], gps_sigma[0], gps_sigma[1]] + common
        g_lon, g_lat, h = frame.to_lonlat((centers[i] + noise)[None])[0]
        gps = Gps(g_lon, g_lat, h - float(undulation_m(g_lon, g_lat)), "egm96")
        attitude = None
        if attitude_sigma is not None:
            recorded = angles[i] + mount_bias + rng.normal(0, attitude_sigma, 3)
            attitude = Attitude(*map(float, recorded))
        photos.append(Photo(name, Path(name), 1000, 750, "", gps, attitude))
    ground = np.column_stack([rng.uniform(-60, 60, (300, 2)), rng.normal(0, 0.5, 300)])
    camera = Camera("SIMPLE_RADIAL", 1000, 750, (800.0, 500.0, 375.0, 0.0))
    truth = Reconstruction({1: camera}, tuple(images), sparse(ground))
    turn = rotation_from_vector(rng.normal(0, 1.5, 3))
    model_from_world = Similarity(float(rng.uniform(0.01, 5)), turn, rng.normal(0, 10, 3))
    model = truth.transformed(model_from_world)
    return Survey(frame, truth, model, PhotoSet(Path("."), tuple(photos)))


@pytest.fixture
def survey() -> Callable[..., Survey]:
    return make_survey
