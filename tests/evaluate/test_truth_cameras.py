"""Readers of true cameras, on small files written here and on the sets beside the checkout."""

import json

import numpy as np
import pytest

from voxterra.errors import FormatError, InputError
from voxterra.io.truth.cameras import match_names, read_truth_cameras

CAMERA_FILE = """1379.74 0 760.3
0 1382.08 503.4
0 0 1
0 0 0
0 -1 0
1 0 0
0 0 1
-8.6 -5.5 -0.2
1536 1024
"""


def test_names_match_by_path_then_file_then_stem_then_first_part():
    assert match_names(("images/a/x.jpg",), ("images/a/x.jpg", "b/x.jpg")) == [(0, 0)]
    assert match_names(("DJI_0001.jpg", "DJI_0002.jpg"), ("DJI_0002", "DJI_0001")) == [
        (0, 1),
        (1, 0),
    ]
    ours, theirs = ("frame-000000.color.jpg",), ("frame-000000.pose.txt",)
    assert match_names(ours, theirs) == [(0, 0)]
    assert match_names(("left/x.jpg", "right/x.jpg"), ("x.png",)) == []


def test_strecha_camera_is_camera_to_world_with_integer_pixel_centres(tmp_path):
    (tmp_path / "0000.jpg.camera").write_text(CAMERA_FILE)
    truth = read_truth_cameras(tmp_path)
    np.testing.assert_allclose(truth.centers[0], [-8.6, -5.5, -0.2])
    # The second column of R is the camera's y axis (down) in the world.
    np.testing.assert_allclose(truth.cam_from_world[0][:, :3] @ [-1.0, 0, 0], [0, 1.0, 0])
    assert truth.names == ("0000.jpg",)
    assert truth.cameras[0].params == pytest.approx((1379.74, 1382.08, 760.8, 503.9))


def test_pose_folder_is_camera_to_world(tmp_path):
    pose = np.eye(4)
    pose[:3, :3] = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    pose[:3, 3] = [1.0, 2.0, 3.0]
    np.savetxt(tmp_path / "frame-000010.pose.txt", pose)
    truth = read_truth_cameras(tmp_path)
    np.testing.assert_allclose(truth.centers, [[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(truth.cam_from_world[0][:, :3], pose[:3, :3].T)


def test_damaged_and_unknown_truth_are_said(tmp_path):
    with pytest.raises(InputError, match="no truth"):
        read_truth_cameras(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no kind of camera truth"):
        read_truth_cameras(tmp_path)
    (tmp_path / "a.jpg.camera").write_text("1 2 3")
    with pytest.raises(FormatError, match="26 numbers"):
        read_truth_cameras(tmp_path)
    broken = tmp_path / "cameras.json"
    broken.write_text(json.dumps({"camera_axes": "x right", "model": "RADIAL"}))
    with pytest.raises(FormatError):
        read_truth_cameras(broken)


def test_synthetic_set(shared_data):
    folder = shared_data("synthetic_uav")
    truth = read_truth_cameras(folder)
    data = json.loads((folder / "truth/cameras.json").read_text())
    np.testing.assert_allclose(truth.centers[0], data["images"][0]["centre_enu"], atol=2e-5)
    assert len(truth) == 24 and truth.cameras[0].model == "RADIAL"
    on_map = truth.frame.to_map(truth.centers)
    want = np.array([image["centre_E_N_H"] for image in data["images"]])
    assert np.abs(on_map - want)[:, :2].max() < 1e-4
    # The set was made with one undulation for the whole area.
    assert np.abs(on_map - want)[:, 2].max() < 5e-3


def test_dtu_cameras_look_at_the_unit_sphere(shared_data):
    folder = shared_data("dtu_scan24")
    truth = read_truth_cameras(folder)
    assert len(truth) == 49
    assert truth.cameras[0].params == pytest.approx((2892.3, 2883.2, 823.7, 619.6), abs=0.06)
    with np.load(folder / "cameras_sphere.npz") as data:
        center = data["scale_mat_0"][:3, 3]
        P = data["world_mat_7"][:3]
    in_cam = truth.cam_from_world[7] @ [*center, 1.0]
    assert in_cam[2] > 0
    f = truth.cameras[7].params[0]
    pixel = P @ [*center, 1.0]
    assert in_cam[0] / in_cam[2] * f + 823.2 == pytest.approx(pixel[0] / pixel[2], abs=1.0)


def test_seven_scenes_and_fountain(shared_data):
    rooms = read_truth_cameras(shared_data("indoor_rgbd_7scenes"))
    assert len(rooms) == 40 and rooms.names[0] == "frame-000000.pose.txt"
    fountain = read_truth_cameras(shared_data("fountain_p11"))
    assert len(fountain) == 11
    assert fountain.cameras[0].width == 1536
