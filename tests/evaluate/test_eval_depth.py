"""Depth scores of depth maps whose error is known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from voxterra.core.camera import Camera, PinholeView
from voxterra.core.depth import DepthMap
from voxterra.core.mesh import TriMesh
from voxterra.errors import InputError
from voxterra.evaluate.depth import (
    pixels_in_view,
    rays_of_pixels,
    sample_depth,
    score_depth,
    seen_pixels,
)
from voxterra.io.truth.cameras import PosedCameras
from voxterra.io.truth.depth import TruthDepth, read_truth_depth
from voxterra.io.truth.surface import TruthSurface

CAMERA = Camera("RADIAL", 400, 300, (280.0, 203.0, 148.0, -0.06, 0.02))
NORMAL, DISTANCE = np.array([0.2, -0.1, -1.0]), 30.0  # of a plane in camera axes: n . x = -d


def plane_depth(xy):
    return -DISTANCE / (np.asarray(xy) @ NORMAL[:2] + NORMAL[2])


class Maps:
    """One depth map a name: a plane, at half the size of its view, times `factor`."""

    def __init__(self, names, factor=1.0, noise=0.0, hole=0.0):
        K = np.array([[270.0, 0, 210.0], [0, 270.0, 160.0], [0, 0, 1]])
        pose = np.hstack([Rotation.random(random_state=1).as_matrix(), np.ones((3, 1))])
        self.views = tuple(PinholeView(n, K, pose, 420, 320, CAMERA) for n in names)
        self.factor, self.noise, self.hole = factor, noise, hole

    def load(self, index):
        view = self.views[index].resized(210, 160)
        columns, rows = np.meshgrid(np.arange(210) + 0.5, np.arange(160) + 0.5)
        K = view.K
        xy = np.stack([(columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1]], axis=-1)
        rng = np.random.default_rng(index)
        depth = plane_depth(xy) * self.factor * (1 + self.noise * rng.normal(size=columns.shape))
        depth[:, : int(self.hole * 210)] = 0
        depth = depth.astype(np.float32)
        return DepthMap(view, depth, np.zeros((160, 210, 3), np.float32), (depth > 0) * 1.0)


def truth(name="a.jpg", camera=None, step=2):
    rows, cols = np.mgrid[:150, :200]
    pixels = np.stack([cols * step + 0.5, rows * step + 0.5], axis=-1)
    xy = rays_of_pixels(camera or CAMERA, pixels.reshape(-1, 2))
    return TruthDepth(name, plane_depth(xy).reshape(150, 200), pixels, camera)


def test_true_depth_through_a_distorted_camera_has_no_error():
    figures = score_depth(Maps(["a.jpg"]), (truth("a"),), 1.0).to_dict()["pooled"]
    assert figures["completeness"] > 0.99
    assert figures["within_0.5_percent"] == figures["completeness"]
    assert figures["median_relative_error"] < 1e-6


def test_ignoring_the_distortion_would_show():
    t = truth("a")
    view = Maps(["a"]).load(0).view
    pinhole = (t.pixels.reshape(-1, 2) - CAMERA.params[1:3]) / CAMERA.params[0]
    wrong = pinhole * view.K[0, 0] + view.K[:2, 2]
    assert np.abs(pixels_in_view(view, t).reshape(-1, 2) - wrong).max() > 1.5


def test_a_known_scale_error_comes_back_and_is_removed_by_the_scale():
    maps = Maps(["a.jpg", "b.jpg"], factor=1.015)
    truths = (truth("a"), truth("b"), truth("c"))
    score = score_depth(maps, truths, 1.0, align="none").to_dict()
    assert score["pooled"]["median_bias"] == pytest.approx(0.015, abs=1e-5)
    assert score["pooled"]["within_1_percent"] == 0.0 and score["pooled"]["within_2_percent"] > 0.99
    assert score["photos_without_depth_map"] == ["c"]
    fitted = score_depth(maps, truths, None, align="scale").to_dict()
    assert fitted["scale"] == pytest.approx(1 / 1.015, rel=1e-5)
    assert fitted["pooled"]["median_relative_error"] < 1e-6


def test_noise_and_holes_come_back():
    maps = Maps(["a.jpg"], noise=0.003, hole=0.25)
    figures = score_depth(maps, (truth("a"),), 1.0).to_dict()["pooled"]
    hole = (pixels_in_view(maps.load(0).view, truth())[..., 0] < 0.25 * 210).mean()
    assert figures["completeness"] == pytest.approx(1 - hole, abs=0.01)
    # Interpolating four noisy pixels at a random place keeps 2/3 of the deviation, squared: 4/9.
    assert figures["nmad"] == pytest.approx(0.003 * 2 / 3, rel=0.1)


def test_only_the_seen_pixels_count_in_the_seen_figures():
    seen = np.zeros((150, 200), bool)
    seen[:, 150:] = True
    score = score_depth(Maps(["a"], hole=0.25), (truth("a"),), 1.0, seen={"a": seen}).to_dict()
    assert score["pooled_seen"]["pixels"] == seen.sum()
    assert score["pooled_seen"]["completeness"] > 0.99 > score["pooled"]["completeness"]


def test_a_photo_that_no_true_camera_names_is_told():
    corners = np.array([[-9, -9, 5], [9, -9, 5], [0, 9, 5]], np.float32)
    mesh = TriMesh(corners, np.array([[0, 1, 2]], np.int32))
    surface = TruthSurface(mesh, np.ones(1, bool))
    cameras = PosedCameras(("other.jpg",), np.eye(3, 4)[None], (None,))
    own = Camera("PINHOLE", 400, 300, (350.0, 350.0, 200.0, 150.0))
    for camera in (None, own):
        with pytest.raises(InputError, match="no camera for this photo"):
            seen_pixels((truth("a", camera),), cameras, surface)


def test_a_depth_camera_with_its_own_intrinsics():
    kinect = Camera("PINHOLE", 400, 300, (350.0, 350.0, 200.0, 150.0))
    t = truth("frame-000010.depth.png", kinect)
    figures = score_depth(Maps(["frame-000010.color.jpg"]), (t,), 1.0).to_dict()["pooled"]
    assert figures["median_relative_error"] < 1e-6 and figures["completeness"] > 0.99


def test_sampling_does_not_mix_surfaces_and_leaves_holes():
    depth = np.full((4, 6), 10.0, np.float32)
    depth[:, 3:] = 20.0
    depth[2, 1] = 0.0
    at = np.array([[2.9, 1.0], [3.1, 1.0], [1.5, 2.5], [-0.1, 1.0], [6.1, 1.0], [0.2, 0.2]])
    np.testing.assert_allclose(sample_depth(depth, at), [10, 20, 0, 0, 0, 10])


def test_no_photo_in_common_is_said():
    with pytest.raises(InputError, match="a true depth"):
        score_depth(Maps(["a"]), (truth("b"),), 1.0)


def test_depth_of_the_sets_beside_the_checkout(shared_data):
    truths = read_truth_depth(shared_data("synthetic_uav"))
    assert [t.name for t in truths] == ["DJI_0001", "DJI_0013", "DJI_0024"]
    assert truths[0].depth_m.min() == pytest.approx(43.35, abs=0.01)
    np.testing.assert_allclose(truths[0].pixels[1, 2], [4.5, 2.5])
    kinect = read_truth_depth(shared_data("indoor_rgbd_7scenes"))
    assert len(kinect) == 40 and kinect[0].camera.params[0] == 585.0
    assert 0.4 <= kinect[0].depth_m[kinect[0].depth_m > 0].min() <= kinect[0].depth_m.max() <= 4.0
