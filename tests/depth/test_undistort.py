"""An undistorted pixel and the original pixel it came from lie on one ray."""

from __future__ import annotations

import numpy as np
import pycolmap
import pytest

from voxterra.core.camera import Camera
from voxterra.core.reconstruction import Image
from voxterra.errors import InputError
from voxterra.imaging.undistort import original_pixels, pinhole_view, undistort

CAMERAS = [
    Camera("SIMPLE_RADIAL", 320, 240, (300.0, 160.0, 120.0, -0.1)),
    Camera("RADIAL", 320, 240, (300.0, 161.0, 119.0, -0.04, 0.012)),
    Camera("OPENCV", 320, 240, (300.0, 310.0, 158.0, 121.0, -0.1, 0.02, 0.001, -0.002)),
    Camera("OPENCV_FISHEYE", 320, 240, (200.0, 200.0, 160.0, 120.0, 0.05, 0.0, 0.0, 0.0)),
    Camera("PINHOLE", 320, 240, (300.0, 300.0, 160.0, 120.0)),
]
POSE = np.hstack([np.eye(3), np.zeros((3, 1))])


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: c.model)
def test_mapping_agrees_with_colmap_and_leaves_no_blank_border(camera):
    view = pinhole_view(Image("a", 1, POSE), camera, 0, 0)
    original = original_pixels(view)
    reference = pycolmap.Camera(
        model=camera.model, width=camera.width, height=camera.height, params=list(camera.params)
    )
    for x, y in [(0, 0), (view.width // 2, view.height // 3), (view.width - 1, view.height - 1)]:
        ray = np.asarray(reference.cam_from_img(original[y, x].astype(float)))[:2]
        back = view.K[:2, :2] @ ray + view.K[:2, 2]
        assert np.allclose(back, [x + 0.5, y + 0.5], atol=0.02)
    assert original.min() > -1.0
    assert (original.reshape(-1, 2).max(0) < [camera.width + 1, camera.height + 1]).all()


@pytest.mark.parametrize("model", sorted(set(pycolmap.CameraModelId.__members__) - {"INVALID"}))
def test_every_perspective_model_of_colmap_can_be_undistorted(model):
    default = pycolmap.Camera.create_from_model_name(1, model, 300.0, 320, 240)
    camera = Camera(model, 320, 240, tuple(default.params))
    if model == "EQUIRECTANGULAR":
        with pytest.raises(InputError, match="pinhole"):
            pinhole_view(Image("a", 1, POSE), camera, 0, 0)
        return
    view = pinhole_view(Image("a", 1, POSE), camera, 0, 0)
    original = original_pixels(view)
    assert original.min() > 0 and (original.reshape(-1, 2).max(0) < [320, 240]).all()


def test_a_straight_line_is_straight_after_undistortion():
    camera = CAMERAS[0]
    view = pinhole_view(Image("a", 1, POSE), camera, 0, 0)
    # The line x/z = 0.2 as the distorted camera sees it, one bright pixel a row.
    reference = pycolmap.Camera(
        model=camera.model, width=320, height=240, params=list(camera.params)
    )
    rows = np.linspace(-0.5, 0.5, 4000)
    rays = np.column_stack([np.full_like(rows, 0.2), rows, np.ones_like(rows)])
    pixels = np.asarray(reference.img_from_cam(rays))
    grid_x = np.arange(320) + 0.5
    x_of_row = np.interp(np.arange(240) + 0.5, pixels[:, 1], pixels[:, 0])
    photo = (255 * np.exp(-(((grid_x - x_of_row[:, None]) / 2) ** 2))).astype(np.uint8)
    flat = undistort(photo, view).astype(float)
    center = (flat * (np.arange(view.width) + 0.5)).sum(1) / flat.sum(1)
    assert np.ptp(center[5:-5]) < 0.15
    assert abs(center.mean() - (0.2 * view.K[0, 0] + view.K[0, 2])) < 0.1


def test_a_larger_photo_of_the_same_camera_is_scaled():
    camera = Camera("PINHOLE", 160, 120, (150.0, 150.0, 80.0, 60.0))
    view = pinhole_view(Image("a", 1, POSE), camera, 0, 0)
    ramp = np.repeat(np.linspace(0, 250, 320)[None], 240, axis=0).astype(np.uint8)
    flat = undistort(ramp, view)
    assert flat.shape == (view.height, view.width)
    assert abs(float(flat[60, 80]) - 125) < 2
