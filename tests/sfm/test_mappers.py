"""Mapping without photos: a synthetic world's keypoints and matches in a database."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from synthetic_model import centers, synthetic

from voxterra.adjust.colmap_calls import quiet_colmap
from voxterra.adjust.lenses import refine
from voxterra.core.progress import no_progress
from voxterra.core.transforms import fit_similarity
from voxterra.errors import Cancelled
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.database import pair_counts, write_position_priors
from voxterra.sfm.mapping.attempts import Attempt
from voxterra.sfm.mapping.mappers import map_photos, select_models

CONFIG = SfmConfig(threads=2)


def mapped(
    path: Path,
    photos: int,
    config: SfmConfig = CONFIG,
    priors: bool = False,
    attempt: Attempt = Attempt(),
) -> list[pycolmap.Reconstruction]:
    with quiet_colmap():
        return map_photos(
            path,
            path.parent,
            photos,
            config,
            use_position_priors=priors,
            attempt=attempt,
            progress=no_progress,
        )


def cut(path: Path, groups: list[set[int]]) -> None:
    """Remove all matches between image groups."""
    group_of = {i: g for g, members in enumerate(groups) for i in members}
    with closing(pycolmap.Database.open(path)) as database:
        for a, b in (pair_counts(path).pairs + 1).tolist():
            if group_of[a] != group_of[b]:
                database.delete_two_view_geometry(a, b)
                database.delete_matches(a, b)


@pytest.mark.parametrize("mapper", ["incremental", "global"])
def test_centres_match_the_truth(tmp_path: Path, mapper: str) -> None:
    truth = centers(synthetic(tmp_path / "a.db"))
    config = SfmConfig(threads=2, mapper=mapper)  # type: ignore[arg-type]
    (model,) = mapped(tmp_path / "a.db", 10, config)
    found = centers(model)
    assert found.keys() == truth.keys()
    a, b = np.array([found[i] for i in truth]), np.array([truth[i] for i in truth])
    size = np.linalg.norm(b - b.mean(0), axis=1).mean()
    errors = np.linalg.norm(fit_similarity(a, b).apply(a) - b, axis=1)
    assert errors.mean() < 2e-3 * size


def test_every_component_is_kept_and_crumbs_are_not(tmp_path: Path) -> None:
    synthetic(tmp_path / "a.db", photos=12)
    groups = [{1, 2, 3, 4, 5, 6}, {7, 8, 9, 10}, {11, 12}]
    cut(tmp_path / "a.db", groups)
    models = mapped(tmp_path / "a.db", 12)
    assert [set(m.reg_image_ids()) for m in models] == groups[:2]


def test_two_photos_are_enough_when_there_are_no_more(tmp_path: Path) -> None:
    synthetic(tmp_path / "a.db", photos=2)
    assert mapped(tmp_path / "a.db", 2) == []  # 42 matches at the usual thresholds
    (model,) = mapped(tmp_path / "a.db", 2, attempt=Attempt(start="weak"))
    assert model.num_reg_images() == 2


def test_no_matches_no_model(tmp_path: Path) -> None:
    synthetic(tmp_path / "a.db", photos=3)
    cut(tmp_path / "a.db", [{1}, {2}, {3}])
    assert mapped(tmp_path / "a.db", 3) == []


def test_contained_models_are_dropped(tmp_path: Path) -> None:
    whole = synthetic(tmp_path / "a.db")
    smaller = pycolmap.Reconstruction(whole)
    for image_id in sorted(smaller.reg_image_ids())[:4]:
        smaller.deregister_frame(smaller.image(image_id).frame_id)
    assert select_models([smaller, whole], 3) == [whole]
    assert select_models([smaller], 3) == [smaller]
    assert select_models([smaller], 7) == []


def test_position_priors_make_the_model_metric(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    truth = centers(synthetic(path))
    rng = np.random.default_rng(0)
    exact = 10.0 * np.array([truth[i] for i in sorted(truth)])
    positions = exact + rng.normal(0, 0.02, exact.shape)
    positions[3] = np.nan
    write_position_priors(path, positions, np.full_like(positions, 0.02))
    (model,) = mapped(path, 10, priors=True)
    found = centers(model)
    errors = np.linalg.norm(np.array([found[i] for i in sorted(truth)]) - exact, axis=1)
    assert errors.max() < 0.06


def test_optical_centre_is_found_where_it_is_determined(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    truth = synthetic(path, photos=12)
    (camera,) = truth.cameras.values()
    with closing(pycolmap.Database.open(path)) as database:
        (start,) = database.read_all_cameras()
        start.principal_point_x += 6.0  # the true one is at the middle
        database.update_camera(start)
    (model,) = mapped(path, 12)
    (before,) = model.cameras.values()
    with quiet_colmap():
        (after,) = refine(model, CONFIG.adjust, progress=no_progress).cameras.values()
        kept = refine(model, SfmConfig(refine_principal_point="never").adjust, progress=no_progress)
    assert before.principal_point_x == camera.principal_point_x + 6.0
    assert abs(after.principal_point_x - camera.principal_point_x) < 0.5
    assert kept is model


def test_cancelling_stops_the_mapper(tmp_path: Path) -> None:
    synthetic(tmp_path / "a.db", photos=12)

    def cancel(fraction: float, message: str = "") -> None:
        raise Cancelled("stopped")

    with quiet_colmap(), pytest.raises(Cancelled):
        map_photos(
            tmp_path / "a.db",
            tmp_path,
            12,
            CONFIG,
            use_position_priors=False,
            progress=cancel,
        )
