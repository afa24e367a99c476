"""Photos of 14 bits through features and stereo: the model is that of 8 bits, the numbers stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from box_survey import photos_of_a_box

from voxterra.core.bands import RGB
from voxterra.core.camera import Camera
from voxterra.core.photos import Photo
from voxterra.core.reconstruction import Image
from voxterra.depth.config import DepthConfig
from voxterra.depth.estimate import estimate_depth
from voxterra.depth.undistort import write_undistorted
from voxterra.imaging.undistort import pinhole_view, undistort
from voxterra.ingest.ingest import ingest_photos
from voxterra.io.depth_store import DepthStore, bands_path, write_views
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.reconstruct import reconstruct

VIEWS = (0, 1, 2)
LOW, STEP = 7000, 5  # a value of 8 bits becomes LOW + STEP * value, as thermal cameras count


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Photos and components of three photos in 8 and in 14 bits."""
    truth, found = photos_of_a_box(), {}
    for kind in ("8", "14"):
        folder = tmp_path_factory.mktemp(kind)
        for i in VIEWS:
            gray = truth.colors[i][..., 0]
            values = gray if kind == "8" else (LOW + STEP * gray.astype(np.uint16))
            tifffile.imwrite(folder / f"{i}.tif", values, compression="zlib")
        photos = ingest_photos(folder, work_dir=folder / "work")
        photos = replace(photos, photos=tuple(replace(p, focal_px=300.0) for p in photos.photos))
        registered = reconstruct(photos, SfmConfig(), work_dir=folder / "sfm")
        found[kind] = photos, registered.components
    return found


def test_the_model_is_that_of_8_bits(models):
    (eight,), (more,) = models["8"][1], models["14"][1]
    assert len(eight.images) == len(more.images) == len(VIEWS)
    assert len(more.points) > 0.8 * len(eight.points)
    turns = [
        [image.cam_from_world[:, :3] @ c.images[0].cam_from_world[:, :3].T for image in c.images]
        for c in (eight, more)
    ]
    for one, other in zip(*turns):
        angle = np.degrees(np.arccos(np.clip((np.trace(one @ other.T) - 1) / 2, -1, 1)))
        assert angle < 0.2


def test_stereo_sees_the_stretch_and_bands_keep_their_numbers(models, tmp_path):
    photos, components = models["14"]
    config = DepthConfig(levels=2, max_size=160, device="cpu")
    store = estimate_depth(components, photos, config, out_dir=tmp_path)
    assert np.mean([store.load(i).depth > 0 for i in range(3)]) > 0.4
    for i in range(3):
        bands, color = store.load_bands(i), store.load_color(i)
        assert bands.values.shape == (*color.shape[:2], 1) and bands.values.dtype == np.uint16
        assert bands.values.min() > LOW - 50 and bands.values.max() < LOW + STEP * 255 + 50
        low, high = photos.photos[i].stretch
        shown = (bands.values[..., 0] - low) * 255 / (high - low)
        assert np.abs(shown - color[..., 0]).mean() < 2  # one geometry, but for the JPEG


def test_bands_are_undistorted_in_their_own_type(tmp_path):
    camera = Camera("SIMPLE_RADIAL", 64, 48, (60.0, 32.0, 24.0, -0.1))
    view = pinhole_view(Image("a.tif", 1, np.eye(3, 4)), camera, 0, 0)
    values = np.random.default_rng(0).integers(0, 1 << 31, (48, 64, 2)).astype(np.uint32)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig")
    photo = Photo("a.tif", tmp_path / "a.tif", 64, 48, "", stretch=(0.0, 2.0**31))
    write_views((view, view), tmp_path)
    write_undistorted(photo, view, tmp_path, 0)
    bands = DepthStore(tmp_path).load_bands(0)
    assert bands.values.dtype == np.uint32 and bands.names == ("band 1", "band 2")
    exact = undistort(values[..., 1].astype(np.float64), view).clip(0)
    assert np.abs(bands.values[..., 1] - exact).max() <= 0.5


def test_a_photo_of_8_bits_has_its_colours_as_bands_and_no_file_of_them(tmp_path):
    camera = Camera("PINHOLE", 64, 48, (60.0, 60.0, 32.0, 24.0))
    view = pinhole_view(Image("a.tif", 1, np.eye(3, 4)), camera, 0, 0)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    write_views((view,), tmp_path)
    write_undistorted(Photo("a.tif", tmp_path / "a.tif", 64, 48, ""), view, tmp_path, 0)
    store = DepthStore(tmp_path)
    assert not bands_path(tmp_path, 0).exists()
    assert np.array_equal(store.load_bands(0).values, store.load_color(0))
    assert store.load_bands(0).names == RGB
