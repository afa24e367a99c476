"""Tanks and Temples' ground truth, read from files in the benchmark's own formats."""

import json

import numpy as np
import pytest
from benchmark_files import write_log, write_tanks
from matplotlib.path import Path as Outline
from scipy.spatial.transform import Rotation

from voxterra.errors import FormatError, InputError
from voxterra.io.truth.tanks_and_temples import (
    CropVolume,
    read_crop_volume,
    read_tanks_truth,
    read_trajectory,
    read_transform,
)

# An L: not convex.
CORNERS = np.array([[0, 0], [4, 0], [4, 1], [1.5, 1], [1.5, 3], [0, 3]], float)


@pytest.mark.parametrize(("axis", "across"), [("X", (1, 2)), ("Y", (0, 2)), ("Z", (0, 1))])
def test_the_crop_volume_is_the_swept_polygon(axis, across):
    along = "XYZ".index(axis)
    polygon = np.zeros((len(CORNERS), 3))
    polygon[:, across] = CORNERS
    volume = CropVolume(polygon, axis, -1.0, 2.0)
    points = np.random.default_rng(0).uniform(-2, 5, (4000, 3))
    expected = Outline(CORNERS).contains_points(points[:, across])
    expected &= (points[:, along] >= -1) & (points[:, along] <= 2)
    np.testing.assert_array_equal(volume.contains(points), expected)
    assert 50 < expected.sum() < 2000
    low, high = volume.box()
    assert (points[expected] >= low).all() and (points[expected] <= high).all()


def cameras(count=5):
    out = np.tile(np.eye(4), (count, 1, 1))
    out[:, :3, :3] = Rotation.random(count, random_state=1).as_matrix()
    out[:, :3, 3] = np.random.default_rng(1).normal(size=(count, 3))
    return out


def test_a_scene_is_read(tmp_path):
    matrix = np.eye(4)
    matrix[:3, :3] = 2.5 * Rotation.from_rotvec([0.3, 0.2, 0.1]).as_matrix()
    matrix[:3, 3] = 1, 2, 3
    points = np.random.default_rng(2).normal(size=(40, 3))
    polygon = np.column_stack([CORNERS[:, 0], np.zeros(6), CORNERS[:, 1]])
    write_tanks(tmp_path, "Barn", points, polygon, "Y", (-1, 2), matrix, cameras())
    truth = read_tanks_truth(tmp_path, "Barn")
    np.testing.assert_allclose(truth.points, points, atol=1e-6)
    np.testing.assert_allclose(truth.truth_from_published.matrix(), matrix, atol=1e-9)
    assert truth.truth_from_published.scale == pytest.approx(2.5)
    np.testing.assert_allclose(truth.volume.polygon, polygon)
    assert (truth.volume.axis, truth.volume.low, truth.volume.high) == ("Y", -1.0, 2.0)
    assert truth.published.names == tuple(f"{i:06d}.jpg" for i in range(1, 6))
    np.testing.assert_allclose(truth.published.centers, cameras()[:, :3, 3], atol=1e-8)
    rotation = truth.published.cam_from_world[:, :, :3]
    np.testing.assert_allclose(rotation, cameras()[:, :3, :3].transpose(0, 2, 1), atol=1e-8)
    (tmp_path / "Barn/Barn_COLMAP_SfM.log").unlink()
    assert read_tanks_truth(tmp_path / "Barn", "Barn").published is None


@pytest.mark.parametrize("name", ["Barn.ply", "Barn.json", "Barn_trans.txt"])
def test_a_missing_file_is_said(tmp_path, name):
    write_tanks(tmp_path, "Barn", np.zeros((3, 3)), np.eye(3), "Z", (0, 1), np.eye(4))
    (tmp_path / "Barn" / name).unlink()
    with pytest.raises(InputError, match=name) as error:
        read_tanks_truth(tmp_path, "Barn")
    assert error.value.where == str(tmp_path / "Barn")


def test_damaged_files_are_said(tmp_path):
    file = tmp_path / "a"
    good = {"bounding_polygon": np.eye(3).tolist(), "orthogonal_axis": "Z"}
    good |= {"axis_min": 0, "axis_max": 1}
    file.write_text(json.dumps(good))
    assert read_crop_volume(file).axis == "Z"
    wrong = [{"axis_max": 0}, {"orthogonal_axis": "W"}, {"bounding_polygon": [[0, 0, 0]]}]
    for text in ("", "[1]", *(json.dumps(good | change) for change in wrong)):
        file.write_text(text)
        with pytest.raises(FormatError):
            read_crop_volume(file)
    for matrix in (np.eye(3), np.diag([1.0, 2.0, 1.0, 1.0]), np.diag([1.0, 1.0, -1.0, 1.0])):
        np.savetxt(file, matrix)
        with pytest.raises(FormatError, match="alignment"):
            read_transform(file)
    sheared = cameras()
    sheared[0, 0, 0] += 0.1
    write_log(file, sheared)
    with pytest.raises(FormatError, match="rotation"):
        read_trajectory(file)
    write_log(file, cameras())
    file.write_text(file.read_text()[:-30])
    with pytest.raises(FormatError, match="multiple"):
        read_trajectory(file)
    with pytest.raises(FormatError):
        read_trajectory(tmp_path / "none")
