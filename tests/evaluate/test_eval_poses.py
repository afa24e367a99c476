"""Pose scores give back the errors that were put in."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from voxterra.core.geo import GeoFrame
from voxterra.core.transforms import Similarity
from voxterra.errors import InputError
from voxterra.evaluate.poses import score_poses
from voxterra.io.truth.cameras import PosedCameras


def cameras(count=12, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(count, 3)) * [40, 30, 5]
    rotations = Rotation.random(count, random_state=seed).as_matrix()
    poses = np.concatenate([rotations, -(rotations @ centers[:, :, None])], axis=2)
    return PosedCameras(tuple(f"IMG_{i:04d}.jpg" for i in range(count)), poses, (None,) * count)


def moved(source, similarity):
    poses = np.array([similarity.apply_to_cam_from_source(p) for p in source.cam_from_world])
    return replace(source, cam_from_world=poses)


def anywhere():
    rotation = Rotation.from_rotvec([0.3, -1.2, 0.7]).as_matrix()
    return Similarity(0.013, rotation, np.array([5.0, -2.0, 9.0]))


def test_a_moved_copy_of_the_truth_has_no_error_after_alignment():
    truth = cameras()
    score = score_poses(moved(truth, anywhere()), truth, "cameras")
    figures = score.to_dict()
    assert figures["registered"] == figures["total"] == 12
    assert figures["center_max"] < 1e-9 and figures["rotation_max_deg"] < 1e-6
    assert figures["scale_truth_from_world"] == pytest.approx(1 / 0.013)


def test_known_offsets_come_back():
    truth = cameras(400, seed=3)
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(400, 3))
    noise *= 0.05 / np.linalg.norm(noise, axis=1, keepdims=True)
    turn = Rotation.from_rotvec(np.radians([0.0, 0.0, 0.5])).as_matrix()
    rotations = turn @ truth.cam_from_world[:, :, :3]
    centers = truth.centers + noise
    poses = np.concatenate([rotations, -(rotations @ centers[:, :, None])], axis=2)
    unaligned = score_poses(replace(truth, cam_from_world=poses), truth, "none")
    np.testing.assert_allclose(unaligned.center_errors, 0.05, rtol=1e-6)
    np.testing.assert_allclose(unaligned.rotation_errors_deg, 0.5, rtol=1e-6)
    aligned = score_poses(moved(replace(truth, cam_from_world=poses), anywhere()), truth, "cameras")
    assert aligned.to_dict()["center_mean"] == pytest.approx(0.05, rel=0.03)
    assert aligned.to_dict()["rotation_mean_deg"] == pytest.approx(0.5, abs=0.02)


def test_photos_that_are_not_registered_count_against_the_result():
    truth = cameras()
    part = PosedCameras(truth.names[:7], truth.cam_from_world[:7], truth.cameras[:7])
    figures = score_poses(part, truth).to_dict()
    assert (figures["registered"], figures["total"]) == (7, 12)


def test_two_worlds_on_earth_are_compared_through_earth():
    truth = replace(cameras(), frame=GeoFrame("geo", 9.9, 51.5, 200.0, "EPSG:32632"))
    other = GeoFrame("geo", 9.901, 51.502, 180.0, "EPSG:32632")
    there = np.linalg.inv(other.ecef_from_world_matrix()) @ truth.frame.ecef_from_world_matrix()
    result = moved(truth, Similarity(1.0, there[:3, :3], there[:3, 3]))
    assert np.linalg.norm(result.centers - truth.centers, axis=1).min() > 100.0
    figures = score_poses(replace(result, frame=other), truth, "none").to_dict()
    assert figures["center_max"] < 1e-6 and figures["rotation_max_deg"] < 1e-6


def test_no_common_photo_and_too_few_are_said():
    truth = cameras()
    with pytest.raises(InputError, match="no photo in common"):
        score_poses(replace(truth, names=tuple(f"other{i}" for i in range(12))), truth)
    two = PosedCameras(truth.names[:2], truth.cam_from_world[:2], (None, None))
    with pytest.raises(InputError, match="needs 3"):
        score_poses(two, truth)
