"""Judgement of shape: of a synthetic world whose truth is known, and then spoilt in one way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from voxterra.adjust.colmap_calls import quiet_colmap
from voxterra.sfm.features.database import pair_counts
from voxterra.sfm.mapping.plausibility import (
    Plausibility,
    connected_sets,
    gps_misfit_m,
    judge,
    lens_doubts,
)

COUNT = 8


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pycolmap.Reconstruction]:
    """Database and true model of eight photos of 300 points."""
    path = tmp_path_factory.mktemp("shape") / "a.db"
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 1, COUNT, 300
    pycolmap.set_random_seed(0)
    with closing(pycolmap.Database.open(path)) as database:
        return path, pycolmap.synthesize_dataset(options, database)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with quiet_colmap():
        yield


def judged(
    path: Path, model: pycolmap.Reconstruction, focal_px: float | None = None
) -> Plausibility:
    positions = np.full((COUNT, 3), np.nan)
    known = {} if focal_px is None else {1: focal_px}
    return judge([model], path, known_focal_px=known, positions_m=positions, gps_sigma_m=3.0)


def test_the_truth_is_beyond_doubt(world: tuple[Path, pycolmap.Reconstruction]) -> None:
    path, truth = world
    found = judged(path, truth, truth.camera(1).mean_focal_length() * 1.1)
    assert found.complete and found.registered == found.connected == COUNT
    assert found.doubts == frozenset() and found.misplaced == ()


def test_a_photo_put_elsewhere_is_found(world: tuple[Path, pycolmap.Reconstruction]) -> None:
    path, truth = world
    model = pycolmap.Reconstruction(truth)
    frame = model.image(3).frame
    frame.rig_from_world = pycolmap.Rigid3d(
        frame.rig_from_world.rotation, frame.rig_from_world.translation + np.array([0.6, 0.3, 0.0])
    )
    found = judged(path, model)
    assert found.misplaced == (2,) and found.doubts == {"misplaced"}
    assert found.registered == COUNT - 1


def test_a_focal_length_that_left_the_metadata(
    world: tuple[Path, pycolmap.Reconstruction],
) -> None:
    path, truth = world
    assert judged(path, truth, truth.camera(1).mean_focal_length() * 1.3).doubts == {"focal"}
    assert judged(path, truth, truth.camera(1).mean_focal_length() / 1.3).doubts == {"focal"}


def test_few_registered_photos_are_not_complete(
    world: tuple[Path, pycolmap.Reconstruction],
) -> None:
    path, truth = world
    model = pycolmap.Reconstruction(truth)
    for image_id in (1, 2):
        model.deregister_frame(model.image(image_id).frame_id)
    assert not judged(path, model).complete
    nothing = judge(
        [], path, known_focal_px={}, positions_m=np.full((COUNT, 3), np.nan), gps_sigma_m=3.0
    )
    assert not nothing.complete and nothing.registered == 0


def test_connected_sets(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 1, 9, 200
    with closing(pycolmap.Database.open(path)) as database:
        pycolmap.synthesize_dataset(options, database)
        group = {1: 0, 2: 0, 3: 0, 4: 1, 5: 1, 6: 1, 7: 1, 8: 2, 9: 2}
        for a, b in (pair_counts(path).pairs + 1).tolist():
            if group[a] != group[b]:
                database.delete_two_view_geometry(a, b)
    assert sorted(map(sorted, connected_sets(path))) == [[1, 2, 3], [4, 5, 6, 7]]


def test_gps_that_a_stretched_model_cannot_fit(
    world: tuple[Path, pycolmap.Reconstruction],
) -> None:
    _, truth = world
    centers = np.array([truth.image(i).projection_center() for i in range(1, COUNT + 1)])
    positions = 40.0 * centers
    fit = gps_misfit_m(truth, positions, 3.0)
    assert fit is not None and fit < 1e-6
    one_off = positions.copy()
    one_off[0] += [900.0, 0.0, 0.0]  # a bad fix is not the model's fault
    assert gps_misfit_m(truth, one_off, 3.0) == pytest.approx(0.0, abs=1e-6)
    stretched = gps_misfit_m(truth, positions * [4.0, 1.0, 1.0], 3.0)
    assert stretched is not None and stretched > 12.0
    rough = positions + np.outer(np.tile([20.0, -20.0], COUNT)[:COUNT], [0.0, 0.0, 1.0])
    by_height = gps_misfit_m(truth, rough, 3.0)  # which GPS knows far worse
    assert by_height is not None and by_height < 12.0
    assert gps_misfit_m(truth, positions / 100, 3.0) is None  # all within the noise
    positions[4:] = np.nan
    assert gps_misfit_m(truth, positions, 3.0) is None


@pytest.mark.parametrize(
    ("model", "params", "doubt"),
    [
        ("RADIAL", (900.0, 500.0, 400.0, 0.05, -0.02), ""),
        ("RADIAL", (900.0, 500.0, 400.0, -0.2, 0.05), ""),  # an action camera
        ("RADIAL", (441.0, 512.0, 384.0, 1.11, -1.08), "distortion"),  # folds back
        ("SIMPLE_RADIAL", (700.0, 500.0, 400.0, 0.9), "distortion"),
        ("SIMPLE_RADIAL", (60.0, 500.0, 400.0, 0.0), "angle of view"),
        ("PINHOLE", (9000.0, 9000.0, 500.0, 400.0), "angle of view"),
        ("OPENCV_FISHEYE", (300.0, 300.0, 500.0, 400.0, 0.3, -0.2, 0.0, 0.0), ""),
    ],
)
def test_lenses(model: str, params: tuple[float, ...], doubt: str) -> None:
    camera = pycolmap.Camera(model=model, width=1000, height=800, params=params)
    found = lens_doubts(camera)
    assert bool(found) == bool(doubt) and all(doubt in text for text in found)
