"""COLMAP models, checked against pycolmap as the independent reader and writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest

from voxterra.core.camera import Camera
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.errors import FormatError, OutputError
from voxterra.io.colmap.model import from_pycolmap, read_colmap, to_pycolmap_camera, write_colmap
from voxterra.io.colmap.tables import (
    CAMERA_MODELS,
    quaternions_from_rotations,
    rotations_from_quaternions,
)


def synthetic_model() -> pycolmap.Reconstruction:
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 2, 4, 50
    pycolmap.set_random_seed(3)
    return pycolmap.synthesize_dataset(options)


@pytest.fixture(scope="module")
def model() -> pycolmap.Reconstruction:
    return synthetic_model()


@pytest.fixture(scope="module")
def reconstruction(model: pycolmap.Reconstruction) -> Reconstruction:
    return from_pycolmap(model)


def assert_same(a: Reconstruction, b: Reconstruction) -> None:
    assert a.cameras == b.cameras
    assert [(i.name, i.camera_id) for i in a.images] == [(i.name, i.camera_id) for i in b.images]
    for left, right in zip(a.images, b.images, strict=True):
        np.testing.assert_allclose(left.cam_from_world, right.cam_from_world, atol=1e-12)
    for name in ("positions_in_world", "colors", "track_start", "track_image", "track_xy"):
        np.testing.assert_array_equal(getattr(a.points, name), getattr(b.points, name))
    np.testing.assert_array_equal(a.points.errors_px, b.points.errors_px)


def test_what_pycolmap_says_is_what_we_read(
    model: pycolmap.Reconstruction, reconstruction: Reconstruction
) -> None:
    assert len(reconstruction.images) == model.num_reg_images()
    assert len(reconstruction.points) == model.num_points3D() == 50
    for image in reconstruction.images:
        theirs = model.find_image_with_name(image.name)
        assert theirs is not None
        np.testing.assert_allclose(
            image.cam_from_world, theirs.cam_from_world().matrix(), atol=1e-12
        )
        camera = to_pycolmap_camera(reconstruction.camera_of(image))
        np.testing.assert_array_equal(camera.params, theirs.camera.params)
    points = reconstruction.points
    for i, point_id in enumerate(sorted(model.points3D)):
        theirs_xy = sorted(
            tuple(model.images[e.image_id].points2D[e.point2D_idx].xy)
            for e in model.points3D[point_id].track.elements
        )
        ours = points.track_xy[points.track_start[i] : points.track_start[i + 1]]
        assert sorted(map(tuple, ours)) == theirs_xy


@pytest.mark.parametrize("text", [False, True])
def test_round_trip(tmp_path: Path, reconstruction: Reconstruction, text: bool) -> None:
    write_colmap(reconstruction, tmp_path / "model", text=text)
    assert_same(read_colmap(tmp_path / "model"), reconstruction)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("text", [False, True])
def test_pycolmap_opens_what_we_write(
    tmp_path: Path, reconstruction: Reconstruction, text: bool
) -> None:
    write_colmap(reconstruction, tmp_path, text=text)
    theirs = pycolmap.Reconstruction(tmp_path)
    assert theirs.num_reg_images() == len(reconstruction.images)
    assert theirs.compute_num_observations() == len(reconstruction.points.track_xy)
    assert_same(from_pycolmap(theirs), reconstruction)
    theirs.update_point_3d_errors()
    assert theirs.compute_mean_reprojection_error() < 1e-6


def test_writing_replaces_a_model_of_either_kind(
    tmp_path: Path, model: pycolmap.Reconstruction, reconstruction: Reconstruction
) -> None:
    model.write_binary(tmp_path)
    (tmp_path / "other.txt").write_text("stays")
    write_colmap(reconstruction, tmp_path, text=True)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["cameras.txt", "images.txt", "other.txt", "points3D.txt"]


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("model_name", sorted(CAMERA_MODELS))
def test_every_camera_model(tmp_path: Path, model_name: str, text: bool) -> None:
    theirs = pycolmap.Camera.create_from_model_name(7, model_name, 900.0, 640, 480)
    assert pycolmap.CameraModelId.__members__[model_name].value == CAMERA_MODELS[model_name][0]
    camera = Camera(model_name, 640, 480, tuple(np.asarray(theirs.params) + 1 / 3))
    pose = np.hstack([np.eye(3), [[1.0], [2.0], [3.0]]])
    name = "sub folder/häuser 1.jpg"
    write_colmap(
        Reconstruction({7: camera}, (Image(name, 7, pose),), no_points()), tmp_path, text=text
    )
    back = read_colmap(tmp_path)
    assert back.cameras == {7: camera} and back.images[0].name == name
    if model_name != "EQUIRECTANGULAR":  # it has no parameters to set freely
        opened = pycolmap.Reconstruction(tmp_path)
        assert opened.cameras[7].model_name == model_name
        np.testing.assert_array_equal(opened.cameras[7].params, camera.params)


def test_quaternions_at_half_turns() -> None:
    q = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [1e-9, 1, 1, 0.0]])
    rotations = rotations_from_quaternions(q)
    back = rotations_from_quaternions(quaternions_from_rotations(rotations))
    np.testing.assert_allclose(back, rotations, atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("part", ["cameras", "images", "points3D"])
def test_damaged_files_are_format_errors(
    tmp_path: Path, reconstruction: Reconstruction, part: str, text: bool
) -> None:
    """Cut off or with bytes changed: a FormatError, or a model, never anything else."""
    write_colmap(reconstruction, tmp_path, text=text)
    path = tmp_path / f"{part}{'.txt' if text else '.bin'}"
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    refused = 0
    for trial in range(60):
        if trial % 2:
            data = bytearray(whole[: rng.integers(0, len(whole))])
        else:
            data = bytearray(whole)
            for at in rng.integers(0, min(len(whole), 400), 3):
                data[at] = rng.integers(0, 256)
        path.write_bytes(bytes(data))
        try:
            read_colmap(tmp_path)
        except FormatError as error:
            refused += 1
            assert error.where
    assert refused >= (20 if not text else 10)


def test_missing_model(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no COLMAP model"):
        read_colmap(tmp_path)


def test_track_into_an_unknown_image(tmp_path: Path, reconstruction: Reconstruction) -> None:
    write_colmap(reconstruction, tmp_path, text=True)
    (tmp_path / "points3D.txt").write_text("1 0 0 0 1 2 3 0.5 99 0\n")
    with pytest.raises(FormatError, match="image 99"):
        read_colmap(tmp_path)
    (tmp_path / "points3D.txt").write_text("1 0 0 0 1 2 3 0.5 1 99999\n")
    with pytest.raises(FormatError, match="keypoint"):
        read_colmap(tmp_path)
    (tmp_path / "points3D.txt").write_text("1 0 0 0 1 2 3 0.5 1\n")
    with pytest.raises(FormatError, match="Line 1"):
        read_colmap(tmp_path)


def test_unwritable_folder(tmp_path: Path, reconstruction: Reconstruction) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_colmap(reconstruction, tmp_path / "file")


def test_unknown_camera_model(tmp_path: Path) -> None:
    camera = Camera("PINHOLE_CAMERA", 4, 3, (1.0,))
    with pytest.raises(FormatError, match="not a camera model"):
        write_colmap(Reconstruction({1: camera}, (), no_points()), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("1 PINHOL 4 3 1 1 2 1", "'PINHOL' is no camera model of COLMAP's; did you mean 'PINHOLE'"),
        ("1 PINHOLE 4 3 1 2 1", "PINHOLE has 4 parameters, and this line has 3."),
        ("1 PINHOLE 4 3 1 1 2 x", "cannot be read."),  # and nothing of Python's
    ],
)
def test_a_wrong_camera_is_told_with_the_reason(
    tmp_path: Path, reconstruction: Reconstruction, line: str, told: str
) -> None:
    write_colmap(reconstruction, tmp_path, text=True)
    (tmp_path / "cameras.txt").write_text(f"# CAMERA_ID\n{line}\n")
    with pytest.raises(FormatError, match="Line 2 of this COLMAP file") as error:
        read_colmap(tmp_path)
    assert told in error.value.what and line in error.value.where


def no_points() -> SparsePoints:
    return SparsePoints(
        np.empty((0, 3)),
        np.empty((0, 3), np.uint8),
        np.empty(0),
        np.zeros(1, np.int64),
        np.empty(0, np.int32),
        np.empty((0, 2)),
    )
