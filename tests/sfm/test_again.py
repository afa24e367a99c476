"""Photos that were left out: real wide baselines, what is taken and refused, and stopped runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from voxterra.core.photos import PhotoSet
from voxterra.core.registration import Registration
from voxterra.core.transforms import fit_similarity
from voxterra.errors import Cancelled
from voxterra.sfm import again, matching
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.reconstruct import reconstruct
from voxterra.sfm.rematch import joined

BuildSet = Callable[..., PhotoSet]
FindData = Callable[[str], Path]
CONFIG = SfmConfig(max_image_size=640, threads=1)


def every(photos: PhotoSet, start: int, step: int) -> PhotoSet:
    return replace(photos, photos=photos.photos[start::step])


def errors_m(found: Registration, root: Path) -> np.ndarray:
    """Distances of the largest component's cameras from those of the Kinect."""
    component = found.components[0]
    poses = [image.name.replace("color.jpg", "pose.txt") for image in component.images]
    true = np.array([np.loadtxt(root / "poses" / name)[:3, 3] for name in poses])
    centers = component.centers_in_world()
    return np.linalg.norm(fit_similarity(centers, true).apply(centers) - true, axis=1)


def left_out_before(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Photos that each result of the mapper had left out when it was looked at."""
    counts: list[int] = []
    usual = again.left_out

    def spy(*args):
        found = usual(*args)
        counts.append(len(found))
        return found

    monkeypatch.setattr(again, "left_out", spy)
    return counts


def test_every_eighth_photo_of_a_kitchen(
    shared_data: FindData, photo_set: BuildSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shared_data("indoor_rgbd_7scenes")
    photos = every(photo_set(root / "images", focal_px=520.0), 0, 8)
    counts = left_out_before(monkeypatch)
    found = reconstruct(photos, CONFIG, work_dir=tmp_path)
    assert counts[0] == 2  # as many as the mapper alone leaves out
    assert len(found.components[0].images) == 5 and not found.unregistered
    # All 40 photos come to 0.029 m on average, 0.063 m at most: what the Kinect's poses are worth.
    assert errors_m(found, root).max() < 0.08
    (told,) = [w for w in found.warnings if "came to the others only by" in w]
    assert told.startswith("2 photos (frame-")


def test_a_stopped_retry_goes_on_to_the_same(
    shared_data: FindData, photo_set: BuildSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = every(photo_set(shared_data("indoor_rgbd_7scenes") / "images", focal_px=520.0), 0, 8)
    config = replace(CONFIG, deterministic=True)
    whole = reconstruct(photos, config, work_dir=tmp_path / "whole")
    guided: list[int] = []
    usual = pycolmap.match_image_pairs

    def counted(*args, **options):
        guided.append(options["matching_options"].guided_matching)
        return usual(*args, **options)

    monkeypatch.setattr(matching.pycolmap, "match_image_pairs", counted)

    def stop(fraction: float, message: str = "") -> None:
        if sum(guided) and message.startswith("matched"):
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        reconstruct(photos, config, work_dir=tmp_path / "stopped", progress=stop)
    again_ = reconstruct(photos, config, work_dir=tmp_path / "stopped")
    assert again_.warnings == whole.warnings
    np.testing.assert_array_equal(
        again_.components[0].centers_in_world(), whole.components[0].centers_in_world()
    )


def test_what_speaks_against_it_keeps_the_result_before(
    shared_data: FindData,
    photo_set: BuildSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Newcomers that are moved after mapping contradict their matches."""
    root = shared_data("indoor_rgbd_7scenes")
    photos = every(photo_set(root / "images", focal_px=520.0), 0, 8)
    usual = again.try_attempt

    def spoilt(*args):
        tried = usual(*args)
        for model in tried.models:
            size = np.ptp([i.projection_center() for i in model.images.values()], axis=0).max()
            for image_id in {2, 3} & set(model.reg_image_ids()):
                frame = model.image(image_id).frame
                pose = frame.rig_from_world
                frame.rig_from_world = pycolmap.Rigid3d(
                    pose.rotation, pose.translation + np.array([0.0, 0.5 * size, 0.0])
                )
        return tried

    monkeypatch.setattr(again, "try_attempt", spoilt)
    with caplog.at_level(logging.INFO):
        found = reconstruct(photos, CONFIG, work_dir=tmp_path)
    assert len(found.components[0].images) == 3
    assert any("Not taken, though more photos are in" in r.getMessage() for r in caplog.records)
    assert not any("came to the others" in w for w in found.warnings)


def test_joined_features_keep_their_rows() -> None:
    old = np.array([[10, 10, 2, 0, 0, 2], [50, 20, 3, 0, 0, 3]], np.float32)
    new = np.array([[50.4, 20, 1, 0], [30, 30, 1, 0], [30, 30, 1, 2]], np.float32)
    row, table = joined(old, new, 1.0)
    np.testing.assert_array_equal(table[:2], old)
    assert row.tolist() == [1, 2, 2] and len(table) == 3
    np.testing.assert_array_equal(table[2, :2], [30, 30])


@pytest.mark.slow
@pytest.mark.parametrize(("start", "step", "placed"), [(3, 6, 7), (1, 6, 7), (3, 7, 6), (1, 9, 5)])
def test_more_of_the_kitchen(
    shared_data: FindData, photo_set: BuildSet, tmp_path: Path, start: int, step: int, placed: int
) -> None:
    root = shared_data("indoor_rgbd_7scenes")
    photos = every(photo_set(root / "images", focal_px=520.0), start, step)
    found = reconstruct(photos, CONFIG, work_dir=tmp_path)
    assert len(found.components[0].images) >= placed
    assert errors_m(found, root).max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("step", [5, 6])
def test_a_facade_that_repeats(
    shared_data: FindData, photo_set: BuildSet, tmp_path: Path, step: int
) -> None:
    """Two components and a photo left out before; now one, within 2 % of the cameras' extent."""
    root = shared_data("dtu_scan24")
    photos = every(photo_set(root / "images", focal_px=2890.0), 0, step)
    found = reconstruct(photos, replace(CONFIG, max_image_size=800), work_dir=tmp_path)
    component = found.components[0]
    assert len(component.images) == len(photos)
    matrices = np.load(root / "cameras_sphere.npz")
    true = []
    for image in component.images:
        p = matrices[f"world_mat_{int(Path(image.name).stem)}"][:3]
        true.append(-np.linalg.solve(p[:, :3], p[:, 3]))
    centers = component.centers_in_world()
    off = np.linalg.norm(fit_similarity(centers, np.array(true)).apply(centers) - true, axis=1)
    assert off.max() < 0.02 * np.linalg.norm(np.ptp(true, axis=0))
