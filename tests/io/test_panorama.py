"""The faces of a panorama show what COLMAP's camera model says they should."""

from __future__ import annotations

import json

import numpy as np
import pycolmap
import pytest

from voxterra.core.camera import Camera
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.errors import FormatError
from voxterra.imaging.panorama import FACES, cut_faces, face_view, faces_seeing
from voxterra.io.nerf import read_transforms, write_transforms

WIDTH, HEIGHT = 400, 200
TURN = np.array([[0.0, 0.6, 0.8], [1.0, 0.0, 0.0], [0.0, 0.8, -0.6]])
POSE = np.column_stack([TURN, [0.3, -0.2, 0.7]])
IMAGE = Image("walk/pano.jpg", 1, POSE)


def color_of(rays: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 that tells a direction in the photo's axes, to a part of a pixel."""
    unit = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    return np.rint(127.5 + 110 * np.sin(12 * unit)).astype(np.uint8)


def panorama(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    camera = pycolmap.Camera(
        model="EQUIRECTANGULAR", width=width, height=height, params=[width, height]
    )
    v, u = np.mgrid[:height, :width] + 0.5
    rays = np.asarray(camera.cam_ray_from_img(np.column_stack([u.ravel(), v.ravel()])))
    return color_of(rays.reshape(height, width, 3))


@pytest.mark.parametrize("face", FACES, ids=lambda f: f.name)
@pytest.mark.parametrize("width, height", [(WIDTH, HEIGHT), (1001, 500), (900, 300)])
def test_a_face_shows_what_lies_in_its_direction(face, width, height):
    view = face_view(IMAGE, face, width)
    assert view.name == f"walk/pano_{face.name}.jpg"
    assert view.width == view.height == round(width / np.pi)
    v, u = np.mgrid[: view.height, : view.width] + 0.5
    pixels = np.column_stack([u.ravel(), v.ravel()])
    in_world = view.unproject(pixels, np.ones(len(pixels)))
    in_photo = in_world @ POSE[:, :3].T + POSE[:, 3]
    expected = color_of(in_photo).reshape(view.height, view.width, 3)
    shown = list(cut_faces(panorama(width, height), view.width))[FACES.index(face)]
    # All of it: the seam of the panorama runs through the back and both poles.
    off = np.abs(shown.astype(int) - expected)
    # In the middle of a pole, rows beyond it would be those of the other side; they are repeated.
    assert off.max() <= (16 if face.name in ("up", "down") else 6)
    assert (faces_seeing(in_photo) == FACES.index(face)).all()


def test_faces_keep_the_centre_and_cover_every_direction_once():
    views = [face_view(IMAGE, face, WIDTH) for face in FACES]
    for view in views:
        np.testing.assert_allclose(view.center_in_world, -TURN.T @ POSE[:, 3], atol=1e-12)
        assert np.linalg.det(view.cam_from_world[:, :3]) == pytest.approx(1.0)
    points = np.random.default_rng(1).normal(size=(2000, 3)) * 5
    inside = []
    for view in views:
        pixels, depth = view.project(points)
        inside.append((depth > 0) & ((pixels >= 0) & (pixels < view.width)).all(axis=1))
    assert (np.sum(inside, axis=0) == 1).all()
    seen_by = faces_seeing(points @ POSE[:, :3].T + POSE[:, 3])
    assert (np.argmax(inside, axis=0) == seen_by).all()


def test_masks_are_not_mixed():
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[: HEIGHT // 2] = 255
    for face, cut in zip(FACES, cut_faces(mask, 64, is_mask=True)):
        assert set(np.unique(cut)) <= {0, 255}
        if face.name in ("up", "down"):
            assert (cut == (255 if face.name == "up" else 0)).all()
        else:
            assert (cut[:31] == 255).all() and (cut[33:] == 0).all()


def test_transforms_json_holds_panoramas(tmp_path):
    camera = Camera("EQUIRECTANGULAR", WIDTH, HEIGHT, (float(WIDTH), float(HEIGHT)))
    none = SparsePoints(
        np.empty((0, 3)), np.empty((0, 3), np.uint8), np.empty(0), np.zeros(1, np.int64),
        np.empty(0, np.int32), np.empty((0, 2)),
    )  # fmt: skip
    write_transforms(Reconstruction({1: camera}, (IMAGE,), none), tmp_path / "t.json")
    written = json.loads((tmp_path / "t.json").read_text())
    numbers = {key: written[key] for key in ("fl_x", "fl_y", "cx", "cy")}
    # Nerfstudio's: half the width, and the whole height, so that its rays reach all around.
    assert numbers == {"fl_x": WIDTH / 2, "fl_y": HEIGHT, "cx": WIDTH / 2, "cy": HEIGHT / 2}
    back = read_transforms(tmp_path / "t.json")
    assert back.camera_of(back.images[0]) == camera
    np.testing.assert_allclose(back.images[0].cam_from_world, POSE, atol=1e-12)


def test_a_cropped_panorama_is_refused(tmp_path):
    camera = Camera("EQUIRECTANGULAR", 240, 90, (240.0, 120.0))
    none = SparsePoints(
        np.empty((0, 3)), np.empty((0, 3), np.uint8), np.empty(0), np.zeros(1, np.int64),
        np.empty(0, np.int32), np.empty((0, 2)),
    )  # fmt: skip
    with pytest.raises(FormatError, match="240 x 90 pixels, the sphere it is a part of 240 x 120"):
        write_transforms(Reconstruction({1: camera}, (IMAGE,), none), tmp_path / "t.json")
    assert not (tmp_path / "t.json").exists()
