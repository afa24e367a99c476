"""A flight straight down whose lens came out wrong: bent, and flat again with GPS heights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from voxterra.adjust.unbend import unbend
from voxterra.core.bend import bend_m
from voxterra.core.camera import Camera
from voxterra.core.geo import GeoFrame
from voxterra.core.photos import Gps, Photo
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.core.transforms import Similarity, fit_similarity, rotation_from_vector
from voxterra.io.colmap.model import to_pycolmap_camera, write_colmap
from voxterra.sfm.config import SfmConfig

TRUE = Camera("SIMPLE_RADIAL", 1200, 900, (1000.0, 600.0, 450.0, -0.08))
FLAT = replace(TRUE, params=(1000.0, 600.0, 450.0, 0.0))
FRAME = GeoFrame("geo", 9.9, 51.5, 200.0)


def flight(noise_px: float, seed: int = 0, tilt: float = 0.02) -> tuple[Reconstruction, np.ndarray]:
    """Thirty photos down, 50 m up, tilted by `tilt` rad, over rough ground; the true centres."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(6) * 12.0, np.arange(5) * 12.0)
    centers = np.column_stack([x.ravel(), y.ravel(), np.full(30, 50.0)]) + rng.normal(0, 0.4, 3)
    centers += rng.normal(0, 0.5, centers.shape)
    images = []
    for i, center in enumerate(centers):
        rotation = rotation_from_vector(rng.normal(0, tilt, 3)) @ np.diag([1.0, -1.0, -1.0])
        pose = np.hstack([rotation, (-rotation @ center)[:, None]])
        images.append(Image(f"{i:03d}.jpg", 1, pose))
    ground = np.column_stack([rng.uniform(-25, 85, (1500, 2)), rng.normal(0, 2.0, 1500)])
    tracks: list[list[tuple[int, np.ndarray]]] = [[] for _ in ground]
    camera = to_pycolmap_camera(TRUE)
    for i, image in enumerate(images):
        in_cam = ground @ image.cam_from_world[:, :3].T + image.cam_from_world[:, 3]
        pixels = np.asarray(camera.img_from_cam(in_cam)) + rng.normal(0, noise_px, (1500, 2))
        inside = (pixels > 0).all(1) & (pixels < [1200, 900]).all(1)
        for k in np.flatnonzero(inside):
            tracks[k].append((i, pixels[k]))
    kept = [k for k, track in enumerate(tracks) if len(track) >= 3]
    points = SparsePoints(
        ground[kept],
        np.zeros((len(kept), 3), np.uint8),
        np.zeros(len(kept)),
        np.cumsum([0, *(len(tracks[k]) for k in kept)]),
        np.array([i for k in kept for i, _ in tracks[k]], np.int32),
        np.array([xy for k in kept for _, xy in tracks[k]]),
    )
    return Reconstruction({1: FLAT}, tuple(images), points), centers


def bent_model(folder: Path, seed: int = 0) -> tuple[pycolmap.Reconstruction, np.ndarray]:
    """The flight adjusted with a lens that is held without its distortion, in a free frame."""
    made, centers = flight(0.5, seed)
    turned = made.transformed(Similarity(0.1, rotation_from_vector(np.ones(3)), np.ones(3)))
    write_colmap(turned, folder)
    model = pycolmap.Reconstruction(folder)
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_focal_length = options.refine_extra_params = False
    options.refine_principal_point = options.print_summary = False
    config = pycolmap.BundleAdjustmentConfig()
    for image_id in model.reg_image_ids():
        config.add_image(image_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    pycolmap.create_default_ceres_bundle_adjuster(options, config, model).solve()
    model.update_point_3d_errors()
    return model, centers


def recorded(centers: np.ndarray, sigma: tuple[float, float], seed: int = 1) -> tuple[Photo, ...]:
    """Photos with noisy positions, all off by a common error too."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, centers.shape) * [sigma[0], sigma[0], sigma[1]] + [1.5, -1.0, 4.0]
    return tuple(
        Photo(f"{i:03d}.jpg", Path("x"), 1200, 900, "", Gps(lon, lat, h, "ellipsoidal"))
        for i, (lon, lat, h) in enumerate(FRAME.to_lonlat(centers + noise))
    )


def in_truth(model: pycolmap.Reconstruction, centers: np.ndarray) -> np.ndarray:
    ids = sorted(model.reg_image_ids())
    found = np.array([model.image(i).projection_center() for i in ids])
    return fit_similarity(found, centers).apply(found)


def mend(
    model: pycolmap.Reconstruction, photos: tuple[Photo, ...], config: SfmConfig = SfmConfig()
) -> tuple[pycolmap.Reconstruction, tuple[str, ...]]:
    return unbend(
        model, photos, config.adjust, free_focal=False, known_focal_px={1: 1000.0},
        progress=lambda *_: None,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_a_bent_flight_is_flattened(tmp_path: Path, seed: int) -> None:
    model, centers = bent_model(tmp_path, seed)
    bend = bend_m(in_truth(model, centers), centers)
    assert bend is not None and abs(bend) > 1.0
    mended, told = mend(model, recorded(centers, (1.0, 0.5), seed))
    assert len(told) == 1 and "bends against the recorded heights" in told[0]
    off = in_truth(mended, centers) - centers
    before = in_truth(model, centers) - centers
    assert np.abs(off).max() < 0.35 * np.abs(before).max()
    errors = [m.compute_mean_reprojection_error() for m in (model, mended)]
    assert errors[1] <= 1.05 * errors[0]


def test_a_flat_flight_is_left_alone(tmp_path: Path) -> None:
    made, centers = flight(0.5)
    write_colmap(replace(made, cameras={1: TRUE}), tmp_path)
    model = pycolmap.Reconstruction(tmp_path)
    mended, told = mend(model, recorded(centers, (1.0, 0.5)))
    assert mended is model and told == ()


Change = Callable[[Photo, float], Photo]


@pytest.mark.parametrize(
    "change",
    [
        lambda p, h: replace(p, gps=replace(p.gps, height_m=250.0)),
        lambda p, h: replace(p, gps=replace(p.gps, height_m=None)),
        lambda p, h: replace(p, gps=None),
    ],
    ids=["one height", "no height", "no GPS"],
)
def test_heights_that_tell_nothing_change_nothing(tmp_path: Path, change: Change) -> None:
    model, centers = bent_model(tmp_path)
    photos = tuple(change(p, 0.0) for p in recorded(centers, (1.0, 0.5)))
    assert mend(model, photos) == (model, ())


def test_heights_bent_against_good_photos_do_not_bend_them(tmp_path: Path) -> None:
    """With a calibrated lens the photos determine the shape; drifting heights cannot change it."""
    made, centers = flight(0.5)
    rng = np.random.default_rng(3)
    write_colmap(replace(made, cameras={1: TRUE}), tmp_path)
    model = pycolmap.Reconstruction(tmp_path)
    radius2 = ((centers - centers.mean(0))[:, :2] ** 2).sum(1)
    wrong = centers + np.outer(8.0 * radius2 / radius2.max(), [0, 0, 1.0])
    photos = recorded(wrong + rng.normal(0, 0.05, wrong.shape), (0.05, 0.1))
    mended, told = unbend(
        model, photos, SfmConfig().adjust, free_focal=False, known_focal_px={1: 1000.0},
        fixed=frozenset({1}), progress=lambda *_: None,
    )  # fmt: skip
    assert mended is model and told == ()


def test_heights_that_drift_do_not_bend_photos_that_know_the_lens(tmp_path: Path) -> None:
    """Tilted views determine the lens: it is free to follow the heights, and must not."""
    made, centers = flight(0.5, tilt=0.3)
    write_colmap(replace(made, cameras={1: TRUE}), tmp_path)
    model = pycolmap.Reconstruction(tmp_path)
    radius2 = ((centers - centers.mean(0))[:, :2] ** 2).sum(1)
    wrong = centers + np.outer(0.8 * radius2 / radius2.max(), [0, 0, 1.0])
    photos = recorded(wrong, (0.5, 0.1))
    assert bend_m(in_truth(model, centers), wrong) is not None
    assert mend(model, photos) == (model, ())


def test_never_means_never(tmp_path: Path) -> None:
    model, centers = bent_model(tmp_path)
    config = SfmConfig(position_priors="never")
    assert mend(model, recorded(centers, (1.0, 0.5)), config)[0] is model
