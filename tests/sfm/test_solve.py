"""Which way of mapping is taken: synthetic worlds, and real walks along a street (slow)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from voxterra.adjust.colmap_calls import quiet_colmap
from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.progress import no_progress
from voxterra.core.registration import Registration
from voxterra.core.transforms import fit_similarity
from voxterra.georef.georeference import georeference
from voxterra.ingest.ingest import ingest_photos
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.cameras import CameraGroup
from voxterra.sfm.features.staging import StagedPhotos
from voxterra.sfm.mapping import candidates as trying_module
from voxterra.sfm.mapping.attempts import Attempt, further_attempts
from voxterra.sfm.reconstruct import reconstruct
from voxterra.sfm.solve import Solved, solve

COUNT = 10
MakePhoto = Callable[..., Photo]
FindData = Callable[[str], Path]


@pytest.fixture()
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[Attempt]:
    """The attempts that `solve` makes, as it makes them."""
    made: list[Attempt] = []
    map_photos = trying_module.map_photos

    def spy(*args: object, **options: object) -> list[pycolmap.Reconstruction]:
        made.append(options["attempt"])  # type: ignore[arg-type]
        return map_photos(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(trying_module, "map_photos", spy)
    return made


def solved(
    folder: Path,
    photo: MakePhoto,
    stated: float | None,
    config: SfmConfig = SfmConfig(threads=2),
    calibrated: bool = False,
) -> tuple[Solved, float]:
    """Result for photos whose metadata states `stated` times the true focal length (or none)."""
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 1, COUNT, 300
    pycolmap.set_random_seed(0)
    path = folder / "a.db"
    with closing(pycolmap.Database.open(path)) as database:
        truth = pycolmap.synthesize_dataset(options, database)
        noise = pycolmap.SyntheticNoiseOptions()
        noise.point2D_stddev = 0.3
        pycolmap.synthesize_noise(noise, truth, database)
    camera = truth.camera(1)
    true = camera.mean_focal_length()
    focal = true * stated if stated else 1.2 * camera.width
    group = CameraGroup(
        camera.model.name, camera.width, camera.height, focal, bool(stated), tuple(range(COUNT))
    )
    if calibrated:
        group = replace(group, params=(focal, *camera.params[1:]))
    photos = tuple(photo(i, focal_px=focal if stated else None) for i in range(COUNT))
    staged = StagedPhotos(folder, folder, tuple(p.id for p in photos), (False,) * COUNT)
    with quiet_colmap():
        found = solve(
            path, photos, staged, (group,), config,
            use_position_priors=False, progress=no_progress,
        )  # fmt: skip
    return found, found.models[0].camera(1).mean_focal_length() / true


def test_what_works_is_done_once(tmp_path: Path, photo: MakePhoto, attempts: list[Attempt]) -> None:
    found, ratio = solved(tmp_path, photo, 1.02)
    assert attempts == [Attempt()]
    assert found.warnings == () and found.focal_refined
    assert ratio == pytest.approx(1.0, abs=0.01)


def test_a_wrong_focal_length_in_the_metadata_is_not_believed(
    tmp_path: Path, photo: MakePhoto, attempts: list[Attempt]
) -> None:
    found, ratio = solved(tmp_path, photo, 1.5)
    assert ratio == pytest.approx(1.0, abs=0.01)
    assert len(attempts) <= 3  # held ones fit so much worse that there is no more to try
    (warning,) = found.warnings
    assert "50 % off" in warning and "cropped" in warning


def test_no_metadata(tmp_path: Path, photo: MakePhoto) -> None:
    found, ratio = solved(tmp_path, photo, None)
    assert ratio == pytest.approx(1.0, abs=0.01) and found.warnings == ()


def test_never_keeps_the_stated_focal_length(tmp_path: Path, photo: MakePhoto) -> None:
    found, ratio = solved(tmp_path, photo, 1.05, SfmConfig(threads=2, refine_focal_length="never"))
    assert ratio == pytest.approx(1.05) and not found.focal_refined


def test_calibrated_cameras_stay_as_they_are(tmp_path: Path, photo: MakePhoto) -> None:
    found, ratio = solved(tmp_path, photo, 1.01, calibrated=True)
    assert ratio == 1.01  # to the last digit
    assert len(found.models) == 1 and found.models[0].num_reg_images() == COUNT


def test_attempts_heed_the_choice_of_focal_lengths() -> None:
    never = further_attempts(SfmConfig(refine_focal_length="never"), focal_known=True)
    assert not any(a.free_focal for a in never)
    always = further_attempts(SfmConfig(refine_focal_length="always"), focal_known=True)
    assert all(a.free_focal for a in always)
    unknown = further_attempts(SfmConfig(), focal_known=False)
    assert len({a.focal_factor for a in unknown}) > 4  # several common lenses are tried


def walk(root: Path, tmp_path: Path, **fields: object) -> tuple[PhotoSet, Registration]:
    photos = ingest_photos(root / "images", work_dir=tmp_path / "ingest")
    photos = replace(photos, photos=tuple(replace(p, **fields) for p in photos.photos))
    return photos, reconstruct(photos, SfmConfig(threads=2), work_dir=tmp_path / "sfm")


@pytest.mark.slow
def test_a_walk_ahead_has_the_right_shape(
    shared_data: FindData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = shared_data("street_lund")
    with caplog.at_level(logging.INFO):
        photos, found = walk(root, tmp_path)
    component = found.components[0]
    assert len(component.images) >= 27
    (camera,) = component.cameras.values()
    assert camera.params[0] == pytest.approx(995.6, rel=0.15)
    placement = georeference(found.components, photos).placements[0]
    assert placement.rmse_horizontal_m is not None and placement.rmse_horizontal_m <= 6.0


@pytest.mark.slow
@pytest.mark.parametrize("stated", [1.0, 1.35, None])
def test_a_walk_along_facades(shared_data: FindData, tmp_path: Path, stated: float | None) -> None:
    """With the metadata's focal length, a wrong one, none."""
    root = shared_data("synthetic_street")
    _, found = walk(root, tmp_path, focal_px=None if stated is None else 739.6 * stated)
    (component,) = found.components
    truth = {
        c["name"]: c["centre_enu"]
        for c in json.loads((root / "truth" / "cameras.json").read_text())["images"]
    }
    assert len(component.images) == 20
    (camera,) = component.cameras.values()
    assert camera.params[0] == pytest.approx(745.68, rel=0.03)
    true = np.array([truth[image.name] for image in component.images])
    centers = component.centers_in_world()
    errors = np.linalg.norm(fit_similarity(centers, true).apply(centers) - true, axis=1)
    assert errors.max() < 0.05
    assert any("in the metadata is" in w for w in found.warnings) == (stated == 1.35)
