import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from voxterra.core.transforms import rotation_from_vector
from voxterra.georef.attitude import (
    cam_from_enu,
    consensus,
    displayed_from_stored,
    tilt_and_heading,
)

angles = st.floats(-180, 180)


def angle_deg(a, b):
    return np.degrees(np.arccos(np.clip((np.trace(a @ b.T) - 1) / 2, -1, 1)))


def test_a_level_camera_to_the_north_and_a_nadir_camera():
    right, down, forward = cam_from_enu(0, 0, 0)
    assert np.allclose([right, down, forward], [[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    right, down, forward = cam_from_enu(90, -90, 0)
    # Flying east: the top of the photo is east, its right south, the view down.
    assert np.allclose([right, down, forward], [[0, -1, 0], [-1, 0, 0], [0, 0, -1]], atol=1e-12)


@given(angles, st.floats(-90, 90), angles)
def test_every_attitude_is_a_rotation_that_looks_along_yaw_and_pitch(yaw, pitch, roll):
    rotation = cam_from_enu(yaw, pitch, roll)
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.isclose(np.linalg.det(rotation), 1)
    assert np.isclose(rotation[2, 2], np.sin(np.radians(pitch)))


@pytest.mark.parametrize("name", ["synthetic_uav", "synthetic_street"])
def test_true_cameras_from_their_true_angles(shared_data, name):
    truth = json.loads((shared_data(name) / "truth" / "cameras.json").read_text())
    for image in truth["images"]:
        rotation = np.array(image["cam_from_world"])[:, :3]
        assert angle_deg(cam_from_enu(*image["yaw_pitch_roll"]), rotation) < 0.01


def test_a_rolled_camera_stands_upright_when_displayed():
    upright = cam_from_enu(40, -10, 0)
    # Turned clockwise by 90 degrees, its right side down, a camera writes orientation 6.
    for orientation, roll in ((6, 90), (8, -90), (3, 180), (1, 0)):
        rolled = cam_from_enu(40, -10, roll)
        assert angle_deg(displayed_from_stored(orientation) @ rolled, upright) < 1e-5


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_displayed_axes_are_those_of_pillow(orientation):
    stored = np.zeros((9, 9), np.uint8)
    stored[4, 8] = 255  # at the end of +x, seen from the middle
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    shown = np.array(ImageOps.exif_transpose(image))
    y, x = np.argwhere(shown == 255)[0] - 4
    assert np.allclose(displayed_from_stored(orientation)[:, 0], [x / 4, y / 4, 0])


@given(st.floats(-3, 3), st.floats(0, 3), st.floats(-3, 3))
def test_tilt_and_heading_put_a_rotation_together_again(azimuth, tilt, heading):
    swing = rotation_from_vector(tilt * np.array([np.cos(azimuth), np.sin(azimuth), 0]))
    error = swing @ rotation_from_vector(np.array([0, 0, heading]))
    found_tilt, found_heading = tilt_and_heading(error[None])
    assert np.allclose(np.linalg.norm(found_tilt[0]), tilt, atol=1e-6)
    assert np.isclose(found_heading[0], heading, atol=1e-6)


def test_consensus_withstands_a_third_of_wrong_members():
    rng = np.random.default_rng(0)
    truth = rotation_from_vector(np.array([0.5, -1.0, 2.0]))
    members = [rotation_from_vector(rng.normal(0, 0.02, 3)) @ truth for _ in range(30)]
    members[:10] = [rotation_from_vector(np.array([0, 0, np.pi])) @ m for m in members[:10]]
    agreed = consensus(np.array(members))
    assert angle_deg(agreed.world_from_model, truth) < 2
    assert agreed.tilt_share == 1.0 and agreed.heading_share == pytest.approx(2 / 3)
