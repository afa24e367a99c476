"""The whole of structure from motion on real photos; the larger sets are slow tests."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voxterra.core.photos import PhotoSet
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.transforms import fit_similarity
from voxterra.errors import Cancelled, FormatError, NoOverlapError, TooFewPhotosError
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.reconstruct import reconstruct

BuildSet = Callable[..., PhotoSet]
FindData = Callable[[str], Path]
SMALL = SfmConfig(max_image_size=800, max_features=2000, threads=2)
DEMO = Path(__file__).resolve().parents[2] / "demo" / "photos"


@pytest.fixture(scope="module")
def demo(photo_set: BuildSet) -> PhotoSet:
    """Four drone photos that overlap well."""
    photos = photo_set(DEMO)
    wanted = ("0025", "0026", "0033", "0034")
    return replace(photos, photos=tuple(p for p in photos.photos if p.id[4:8] in wanted))


def center_errors_m(component: Reconstruction, truth: dict[str, np.ndarray]) -> np.ndarray:
    found = component.centers_in_world()
    true = np.array([truth[image.name] for image in component.images])
    return np.linalg.norm(fit_similarity(found, true).apply(found) - true, axis=1)


def reprojection_errors_px(component: Reconstruction) -> np.ndarray:
    """Distances of tracks' pixels from projections by a formula of our own (SIMPLE_RADIAL)."""
    points = component.points
    of_point = np.repeat(np.arange(len(points)), np.diff(points.track_start))
    out = np.empty(len(of_point))
    for index, image in enumerate(component.images):
        camera = component.camera_of(image)
        assert camera.model == "SIMPLE_RADIAL"
        f, cx, cy, k = camera.params
        rows = points.track_image == index
        in_cam = points.positions_in_world[of_point[rows]] @ image.cam_from_world[:, :3].T
        in_cam = in_cam + image.cam_from_world[:, 3]
        xy = in_cam[:, :2] / in_cam[:, 2:]
        xy = f * xy * (1 + k * (xy**2).sum(1, keepdims=True)) + [cx, cy]
        out[rows] = np.linalg.norm(xy - points.track_xy[rows], axis=1)
    return out


def test_demo_photos(demo: PhotoSet, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[float] = []
    (component,) = reconstruct(
        demo, SMALL, work_dir=tmp_path, progress=lambda f, message="": seen.append(f)
    ).components
    assert [image.name for image in component.images] == [photo.id for photo in demo.photos]
    assert len(component.points) > 100
    assert np.mean(reprojection_errors_px(component)) < 1.5
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(seen) > 5
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "images").exists()


def test_a_second_run_continues_the_first(
    demo: PhotoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped while matching; then nothing that is there is computed again."""

    def stop(fraction: float, message: str = "") -> None:
        if message.startswith("matched"):
            raise Cancelled("stopped")

    config = replace(SMALL, deterministic=True)
    demo = replace(demo, photos=demo.photos[:3])
    with pytest.raises(Cancelled):
        reconstruct(demo, config, work_dir=tmp_path, progress=stop)
    (database,) = tmp_path.glob("database-*.db")
    messages: list[str] = []
    (first,) = reconstruct(
        demo, config, work_dir=tmp_path, progress=lambda f, message="": messages.append(message)
    ).components
    features = [m for m in messages if m.startswith("features")]
    assert set(features) == {"features in 3/3 photos"}
    assert list(tmp_path.glob("database-*.db")) == [database]
    (again,) = reconstruct(demo, config, work_dir=tmp_path).components
    np.testing.assert_array_equal(again.centers_in_world(), first.centers_in_world())
    with pytest.raises(Cancelled):  # other options do not continue it
        reconstruct(demo, replace(config, max_features=999), work_dir=tmp_path, progress=stop)
    (other,) = tmp_path.glob("database-*.db")
    assert other != database


def test_odd_names_formats_and_masks(demo: PhotoSet, tmp_path: Path, photo_set: BuildSet) -> None:
    """Blanks, sub-folders, umlauts; 16 bit TIFF, palette PNG, EXIF orientation; half masked."""
    folder = tmp_path / "in"
    names = ["a b/1 ä.jpg", "a b/2 'x'.jpg", "c/3.tif", "c/4.png"]
    photos = []
    for name, photo in zip(names, demo.photos, strict=False):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(photo.path) as image:
            if name.endswith(".tif"):
                grey = np.asarray(image.convert("L"), np.uint16) * 257
                Image.fromarray(grey).save(path)
            elif name.endswith(".png"):
                image.convert("P", palette=Image.Palette.ADAPTIVE).save(path)
            else:
                exif = image.getexif()
                exif[0x0112] = 6  # a quarter turn, which is not applied
                image.save(path, quality=95, exif=exif)
        photos.append(replace(photo, id=name, path=path))
    mask = np.zeros((photos[0].height, photos[0].width), np.uint8)
    mask[:, : photos[0].width // 2] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    photos[0] = replace(photos[0], mask_path=folder / "mask.png")
    found = reconstruct(PhotoSet(folder, tuple(photos)), SMALL, work_dir=tmp_path / "w")
    (component,) = found.components
    assert [image.name for image in component.images] == names
    assert np.mean(reprojection_errors_px(component)) < 1.5
    points = component.points
    assert points.track_xy[points.track_image == 0, 0].max() <= photos[0].width / 2 + 2
    assert points.track_xy[points.track_image == 1, 0].max() > photos[0].width / 2 + 2


def test_too_few_photos(demo: PhotoSet, tmp_path: Path) -> None:
    with pytest.raises(TooFewPhotosError):
        reconstruct(replace(demo, photos=demo.photos[:1]), work_dir=tmp_path)


def noise_photos(folder: Path, photo_set: BuildSet, *, blank: bool) -> PhotoSet:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        pixels = np.full((300, 400), 128, np.uint8)
        if not blank:
            pixels = np.kron(rng.integers(0, 255, (30, 40)), np.ones((10, 10))).astype(np.uint8)
        Image.fromarray(pixels).convert("RGB").save(folder / f"{index}.jpg")
    return photo_set(folder)


def test_photos_without_detail(tmp_path: Path, photo_set: BuildSet) -> None:
    with pytest.raises(NoOverlapError, match="0 features"):
        reconstruct(noise_photos(tmp_path / "in", photo_set, blank=True), work_dir=tmp_path / "w")


def test_photos_without_overlap(tmp_path: Path, photo_set: BuildSet) -> None:
    with pytest.raises(NoOverlapError, match="of 3 pairs") as caught:
        reconstruct(noise_photos(tmp_path / "in", photo_set, blank=False), work_dir=tmp_path / "w")
    assert caught.value.next_step


def test_mask_of_another_size(demo: PhotoSet, tmp_path: Path) -> None:
    Image.new("L", (10, 10)).save(tmp_path / "m.png")
    masked = replace(demo.photos[0], mask_path=tmp_path / "m.png")
    photos = replace(demo, photos=(masked, *demo.photos[1:]))
    with pytest.raises(FormatError, match="mask"):
        reconstruct(photos, SMALL, work_dir=tmp_path / "w")


def test_three_street_photos_with_masks(
    shared_data: FindData, photo_set: BuildSet, tmp_path: Path
) -> None:
    root = shared_data("smoke_berlin")
    photos = photo_set(root / "images")
    masks = {photo.id: root / "masks" / f"{photo.id}.png" for photo in photos.photos}
    masked = replace(photos, photos=tuple(replace(p, mask_path=masks[p.id]) for p in photos.photos))
    (component,) = reconstruct(
        masked, replace(SMALL, max_image_size=800, max_features=3000), work_dir=tmp_path
    ).components
    assert len(component.images) == 3


def synthetic_truth(root: Path) -> dict[str, np.ndarray]:
    cameras = json.loads((root / "truth" / "cameras.json").read_text())["images"]
    return {camera["name"]: np.array(camera["centre_enu"]) for camera in cameras}


@pytest.mark.slow
def test_synthetic_uav(shared_data: FindData, photo_set: BuildSet, tmp_path: Path) -> None:
    root = shared_data("synthetic_uav")
    (component,) = reconstruct(photo_set(root / "images"), work_dir=tmp_path).components
    assert len(component.images) == 24
    errors = center_errors_m(component, synthetic_truth(root))
    assert errors.mean() < 0.01 and errors.max() < 0.02


@pytest.mark.slow
def test_fountain(shared_data: FindData, photo_set: BuildSet, tmp_path: Path) -> None:
    root = shared_data("fountain_p11")
    (component,) = reconstruct(photo_set(root / "images"), work_dir=tmp_path).components
    truth = {
        path.name.removesuffix(".camera"): np.loadtxt(path, skiprows=7, max_rows=1)
        for path in (root / "gt_dense_cameras").glob("*.camera")
    }
    assert len(component.images) == 11
    assert center_errors_m(component, truth).mean() < 0.005


@pytest.mark.slow
def test_indoor(shared_data: FindData, photo_set: BuildSet, tmp_path: Path) -> None:
    root = shared_data("indoor_rgbd_7scenes")
    (component,) = reconstruct(photo_set(root / "images"), work_dir=tmp_path).components
    assert len(component.images) == 40


@pytest.mark.slow
def test_brighton_beach(shared_data: FindData, photo_set: BuildSet, tmp_path: Path) -> None:
    root = shared_data("uav_brighton_beach")
    config = SfmConfig(max_image_size=1000, max_features=4000)
    (component,) = reconstruct(photo_set(root / "images"), config, work_dir=tmp_path).components
    assert len(component.images) == 18


@pytest.mark.slow
def test_two_places_are_two_components(
    shared_data: FindData, photo_set: BuildSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    street = photo_set(shared_data("smoke_berlin") / "images", camera_key="street")
    beach = photo_set(shared_data("uav_brighton_beach") / "images", camera_key="drone")
    both = PhotoSet(tmp_path, (*street.photos, *beach.photos[:8]))
    config = SfmConfig(max_image_size=1000, max_features=4000)
    with caplog.at_level(logging.WARNING):
        components = reconstruct(both, config, work_dir=tmp_path).components
    assert [len(component.images) for component in components] == [8, 3]
    assert [set(component.cameras) for component in components] == [{2}, {1}]
    assert not caplog.records
