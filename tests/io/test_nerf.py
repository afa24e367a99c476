"""transforms.json of Nerfstudio."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from scipy.spatial.transform import Rotation

from voxterra.core.camera import Camera
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.errors import FormatError
from voxterra.io.nerf import read_transforms, write_transforms

CAMERAS = {
    1: Camera("SIMPLE_PINHOLE", 640, 480, (501.1, 320.25, 239.75)),
    2: Camera("PINHOLE", 640, 480, (501.1, 502.3, 320.25, 239.75)),
    3: Camera("SIMPLE_RADIAL", 640, 480, (501.1, 320.25, 239.75, 0.01)),
    4: Camera("RADIAL", 640, 480, (501.1, 320.25, 239.75, 0.01, -0.02)),
    5: Camera("OPENCV", 640, 480, (501.1, 502.3, 320.2, 239.7, 0.01, -0.02, 1e-3, 1 / 3)),
    6: Camera("OPENCV_FISHEYE", 640, 480, (501.1, 502.3, 320.2, 239.7, 0.1, -0.2, 0.3, 0.4)),
}


def reconstruction_of(cameras: dict[int, Camera], names: list[str]) -> Reconstruction:
    rng = np.random.default_rng(0)
    ids = sorted(cameras)
    images = tuple(
        Image(
            name,
            ids[i % len(ids)],
            np.hstack(
                [Rotation.random(rng=rng).as_matrix(), rng.uniform(-1e3, 1e3, (3, 1))],
            ),
        )
        for i, name in enumerate(sorted(names))
    )
    points = SparsePoints(
        np.empty((0, 3)),
        np.empty((0, 3), np.uint8),
        np.empty(0),
        np.zeros(1, np.int64),
        np.empty(0, np.int32),
        np.empty((0, 2)),
    )
    return Reconstruction(cameras, images, points)


@pytest.mark.parametrize("cameras", [CAMERAS, *({k: v} for k, v in CAMERAS.items())])
@pytest.mark.parametrize("image_folder", ["images", "", "photos/all"])
def test_round_trip(tmp_path: Path, cameras: dict[int, Camera], image_folder: str) -> None:
    names = [f"{i}.jpg" for i in range(7)] + ["images/ä b.jpg", "sub/x.png"]
    before = reconstruction_of(cameras, names)
    write_transforms(before, tmp_path / "transforms.json", image_folder=image_folder)
    after = read_transforms(tmp_path / "transforms.json", image_folder=image_folder)
    for a, b in zip(before.images, after.images, strict=True):
        assert a.name == b.name
        assert before.camera_of(a) == after.camera_of(b)
        np.testing.assert_allclose(a.cam_from_world, b.cam_from_world, atol=1e-9)


def test_axes_are_opengl(tmp_path: Path) -> None:
    """A camera at (1, 2, 3) that looks along +y with z up."""
    rotation = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # rows: right, down, forward
    pose = np.hstack([rotation, -rotation @ np.array([[1.0], [2], [3]])])
    model = Reconstruction({2: CAMERAS[2]}, (Image("a.jpg", 2, pose),), no_points())
    write_transforms(model, tmp_path / "t.json")
    matrix = json.loads((tmp_path / "t.json").read_text())["frames"][0]["transform_matrix"]
    expected = [[1, 0, 0, 1], [0, 0, -1, 2], [0, 1, 0, 3], [0, 0, 0, 1]]  # right, up, back
    np.testing.assert_allclose(matrix, expected, atol=1e-12)


def no_points() -> SparsePoints:
    return reconstruction_of(CAMERAS, []).points


def test_applied_transform_is_undone(tmp_path: Path) -> None:
    before = reconstruction_of({2: CAMERAS[2]}, ["a.jpg", "b.jpg"])
    write_transforms(before, tmp_path / "t.json")
    data = json.loads((tmp_path / "t.json").read_text())
    applied = np.array([[0, 1, 0, 5.0], [1, 0, 0, 6.0], [0, 0, -1, 7.0]])
    for frame in data["frames"]:
        full = np.vstack([applied, [0, 0, 0, 1]]) @ np.array(frame["transform_matrix"])
        frame["transform_matrix"] = full.tolist()
    data["applied_transform"] = applied.tolist()
    (tmp_path / "t.json").write_text(json.dumps(data))
    after = read_transforms(tmp_path / "t.json")
    for a, b in zip(before.images, after.images, strict=True):
        np.testing.assert_allclose(a.cam_from_world, b.cam_from_world, atol=1e-9)


def test_fisheye_with_fewer_terms_becomes_the_equal_opencv_fisheye(tmp_path: Path) -> None:
    camera = Camera("RADIAL_FISHEYE", 640, 480, (500.0, 320.0, 240.0, 0.1, -0.05))
    write_transforms(reconstruction_of({1: camera}, ["a.jpg"]), tmp_path / "t.json")
    after = read_transforms(tmp_path / "t.json")
    assert after.cameras[1].model == "OPENCV_FISHEYE"
    assert after.cameras[1].params == (500.0, 500.0, 320.0, 240.0, 0.1, -0.05, 0.0, 0.0)


def test_model_that_nerfstudio_cannot_express(tmp_path: Path) -> None:
    camera = Camera("FOV", 640, 480, (500.0, 500.0, 320.0, 240.0, 0.9))
    with pytest.raises(FormatError, match="cannot express the camera model FOV") as caught:
        write_transforms(reconstruction_of({1: camera}, ["a.jpg"]), tmp_path / "t.json")
    assert caught.value.next_step and "COLMAP" in caught.value.next_step
    assert list(tmp_path.iterdir()) == []


def test_nerf_authors_file_without_sizes(tmp_path: Path) -> None:
    """`camera_angle_x`, no ending in the name, size from the photo."""
    (tmp_path / "train").mkdir()
    PillowImage.new("RGB", (80, 60)).save(tmp_path / "train" / "r_0.png")
    frame = {"file_path": "./train/r_0", "transform_matrix": np.eye(4).tolist()}
    data = {"camera_angle_x": 2 * np.arctan(0.5), "frames": [frame]}
    (tmp_path / "t.json").write_text(json.dumps(data))
    back = read_transforms(tmp_path / "t.json")
    assert back.images[0].name == "train/r_0"
    assert (back.cameras[1].model, back.cameras[1].width) == ("PINHOLE", 80)
    np.testing.assert_allclose(back.cameras[1].params, (80.0, 80.0, 40.0, 30.0))


GOOD_FRAME = {"file_path": "a.jpg", "transform_matrix": np.eye(4).tolist()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": None}, "no list of frames"),
        ({"frames": [1]}, "cannot be used"),
        ({"frames": [{"file_path": "a.jpg"}]}, "'transform_matrix' is missing"),
        ({"frames": [{**GOOD_FRAME, "transform_matrix": [[1, 2], [3]]}]}, "cannot be used"),
        ({"frames": [{**GOOD_FRAME, "transform_matrix": np.zeros((4, 4)).tolist()}]}, "singular"),
        ({"frames": [GOOD_FRAME, GOOD_FRAME]}, "two frames"),
        ({"fl_x": "wide"}, "wide"),
        ({"fl_x": None}, "'fl_x' is missing"),
        ({"fl_x": float("nan")}, "finite"),
        ({"camera_model": "EQUIRECTANGULAR"}, "fl_x of an EQUIRECTANGULAR photo is 60, not 32"),
        ({"camera_model": "EQUIRECTANGULAR", "fl_x": None, "k1": 0.5}, "has no k1"),
        ({"camera_model": "ORTHOPHOTO"}, "ORTHOPHOTO is not one of"),
        ({"camera_model": "PINHOLE", "k1": 0.1}, "has no k1"),
        ({"w": None}, "no size"),
        ({"applied_transform": "none"}, "cannot be used"),
    ],
)
def test_unusable_files(tmp_path: Path, change: dict[str, object], message: str) -> None:
    data = {"w": 64, "h": 48, "fl_x": 60.0, "frames": [GOOD_FRAME]}
    (tmp_path / "t.json").write_text(json.dumps(data))
    read_transforms(tmp_path / "t.json")
    (tmp_path / "t.json").write_text(json.dumps({**data, **change}))
    with pytest.raises(FormatError, match=message):
        read_transforms(tmp_path / "t.json")


def test_not_json(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(b"\xff\xfe{]")
    with pytest.raises(FormatError):
        read_transforms(tmp_path / "t.json")
