"""Photos to components in the world, where the photos share no view (slow: matching)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import Image

from voxterra.core.gaps import component_gaps
from voxterra.core.geo import GeoFrame
from voxterra.core.photos import PhotoSet
from voxterra.evaluate.frame import evaluate_frame
from voxterra.georef.georeference import georeference
from voxterra.ingest.config import IngestConfig
from voxterra.ingest.ingest import ingest_photos
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.reconstruct import reconstruct

FindData = Callable[[str], Path]
CONFIG = SfmConfig(max_image_size=1024, max_features=3000, threads=2)
WEST, EAST = (1, 2, 3, 4, 13, 18), (9, 10, 11, 12, 15, 16)
# Across the flight lines, which run north-west; and half the width of the strip nobody sees [m].
ACROSS, HALF_GAP_M = np.array([0.9, 0.436]), 3.0


def mask_to_half(camera: pycolmap.Camera, cam_from_world: np.ndarray, side: float) -> np.ndarray:
    """(H, W) uint8, 255 where a photo sees the ground of its own half."""
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    in_cam = camera.cam_from_img(np.column_stack([x.ravel(), y.ravel()]))
    rays = np.column_stack([in_cam, np.ones(len(in_cam))]) @ cam_from_world[:, :3]
    center = -cam_from_world[:, :3].T @ cam_from_world[:, 3]
    down = rays[:, 2] < -0.05
    along = np.where(down, -center[2] / np.where(down, rays[:, 2], -1.0), 0.0)
    ground = center[:2] + along[:, None] * rays[:, :2]
    seen = down & (side * (ground @ ACROSS) > HALF_GAP_M)
    return (255 * seen).astype(np.uint8).reshape(camera.height, camera.width)


@pytest.mark.slow
def test_two_halves_of_a_survey_that_share_no_view(shared_data: FindData, tmp_path: Path) -> None:
    root = shared_data("synthetic_uav")
    truth = json.loads((root / "truth" / "cameras.json").read_text())
    poses = {c["name"]: np.array(c["cam_from_world"]) for c in truth["images"]}
    camera = pycolmap.Camera(
        model="RADIAL", width=truth["width"], height=truth["height"], params=truth["colmap_params"]
    )
    found = ingest_photos(
        root / "images", IngestConfig(meta_csv=root / "meta.csv"), work_dir=tmp_path / "ingest"
    )
    chosen = []
    for photo in found.photos:
        number = int(photo.id[4:8])
        if number in (*WEST, *EAST):
            mask = mask_to_half(camera, poses[photo.id], 1.0 if number in EAST else -1.0)
            path = tmp_path / f"{photo.id}.png"
            Image.fromarray(mask).save(path)
            chosen.append(replace(photo, mask_path=path))
    photos = PhotoSet(root, tuple(chosen))
    registration = reconstruct(photos, CONFIG, work_dir=tmp_path / "sfm")
    numbers = [{int(i.name[4:8]) for i in c.images} for c in registration.components]
    assert sorted(map(sorted, numbers)) == [sorted(WEST), sorted(EAST)]

    placed = georeference(registration.components, photos)
    origin = truth["origin"]
    frame = GeoFrame("geo", origin["lon"], origin["lat"], origin["ellipsoidal_height"])
    offsets = []
    for component, placement in zip(placed.components, placed.placements, strict=True):
        mine = np.array([i.cam_from_world for i in component.images])
        error = evaluate_frame(
            mine, placed.frame, np.array([poses[i.name] for i in component.images]), frame
        )
        offsets.append(np.array(error.offset_m))
        assert placement.position_sigma_horizontal_m and placement.position_sigma_vertical_m
        assert placement.tilt_sigma_deg is not None
        assert np.linalg.norm(error.offset_m[:2]) < 2 * placement.position_sigma_horizontal_m
        assert abs(error.offset_m[2]) < 2 * placement.position_sigma_vertical_m
        assert error.tilt_deg < max(1.0, 3 * placement.tilt_sigma_deg)
    (gap,) = component_gaps(placed)
    centers = [-poses[n][:, :3].T @ poses[n][:, 3] for n in gap.photos]
    true = np.linalg.norm((centers[0] - centers[1])[:2])
    assert gap.sigma_horizontal_m is not None
    assert abs(gap.distance_m - true) < 2 * gap.sigma_horizontal_m
    assert np.linalg.norm((offsets[0] - offsets[1])[:2]) < 2 * gap.sigma_horizontal_m


@pytest.mark.slow
def test_a_beach_and_a_street_far_from_it(shared_data: FindData, tmp_path: Path) -> None:
    beach, street = (
        ingest_photos(shared_data(name) / "images", work_dir=tmp_path / name)
        for name in ("uav_brighton_beach", "smoke_berlin")
    )
    both = PhotoSet(tmp_path, (*street.photos, *beach.photos[:8]))
    registration = reconstruct(both, CONFIG, work_dir=tmp_path / "sfm")
    placed = georeference(registration.components, both)
    assert [len(c.images) for c in placed.components] == [8, 3]
    assert placed.frame.map_crs == "EPSG:32615" and placed.mappable_indices() == [0]
    apart = placed.placements[1].apart
    assert apart is not None and apart.map_crs == "EPSG:32633"
    assert apart.lat == pytest.approx(52.5, abs=0.2)
    assert any("component 2 (3 photos) is" in w for w in placed.all_warnings)
