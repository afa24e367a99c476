"""Multi-view stereo on a survey with exactly known depth."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest

from voxterra.core.reconstruction import Reconstruction
from voxterra.core.surface_source import SurfaceSource
from voxterra.depth.config import DepthConfig
from voxterra.depth.estimate import estimate_depth
from voxterra.depth.sparse import sparse_depth
from voxterra.depth.stereo import pyramid
from voxterra.depth.stereo.start import planes_from_points
from voxterra.errors import Cancelled, ReconstructionError
from voxterra.io.depth_store import DepthStore

CONFIG = DepthConfig(levels=2, coarse_iterations=4, fill=None)
SMALL = replace(CONFIG, max_size=200)


@pytest.fixture(scope="module")
def store(survey, tmp_path_factory) -> DepthStore:
    out = tmp_path_factory.mktemp("depth")
    return estimate_depth((survey.component,), survey.photos, CONFIG, out_dir=out)


@pytest.fixture(scope="module")
def small(survey, tmp_path_factory) -> DepthStore:
    """Smaller depth maps, for what does not ask how good they are."""
    out = tmp_path_factory.mktemp("small")
    return estimate_depth((survey.component,), survey.photos, SMALL, out_dir=out)


def test_depth_is_right_nearly_everywhere(survey, store):
    right = known = total = 0
    errors = []
    for i, truth in enumerate(survey.truth.depths):
        found = store.load(i)
        depth, have = found.depth, found.support == SurfaceSource.MEASURED
        assert depth.shape == truth.shape
        error = np.abs(depth - truth) / truth
        errors.append(error[have])
        right += (have & (error < 0.005)).sum()
        known += have.sum()
        total += truth.size
    assert known / total > 0.85
    assert right / known > 0.97
    assert np.median(np.concatenate(errors)) < 5e-4


def test_what_only_one_photo_sees_is_left_out(survey, store):
    """The ground beside the box that the box hides from all others has no depth it could have."""
    maps = [store.load(i) for i in range(len(survey.truth.depths))]
    wrong = np.array(
        [np.abs(m.depth - t) > 0.05 * t for m, t in zip(maps, survey.truth.depths, strict=True)]
    )
    support = np.array([m.support for m in maps])
    assert np.mean(wrong & (support == SurfaceSource.MEASURED)) < 0.003
    assert np.mean(wrong & (support == SurfaceSource.WEAK)) < 0.003


def test_normals_face_the_camera_and_the_ground_points_up(survey, store):
    m = store.load(1)
    rows, columns = np.nonzero(m.depth)
    pixels = np.column_stack([columns, rows]) + 0.5
    points = m.view.unproject(pixels, m.depth[rows, columns].astype(float))
    in_world = m.normal[rows, columns] @ m.view.cam_from_world[:, :3]
    to_camera = m.view.center_in_world - points
    assert ((in_world * to_camera).sum(1) > 0).all()
    ground = np.abs(points[:, 2]) < 0.02
    assert ground.mean() > 0.5
    assert np.median(in_world[ground, 2]) > 0.99
    assert np.allclose(np.linalg.norm(in_world, axis=1), 1, atol=0.02)


def test_confidence_is_zero_exactly_where_depth_is_unknown(store):
    m = store.load(0)
    assert ((m.confidence > 0) == (m.depth > 0)).all()
    assert m.confidence.max() <= 1


def test_same_result_on_any_number_of_threads(survey, small, tmp_path):
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        again = estimate_depth((survey.component,), survey.photos, SMALL, out_dir=tmp_path)
    finally:
        numba.set_num_threads(before)
    for i in range(len(small.views)):
        assert np.array_equal(again.load(i).depth, small.load(i).depth)


def test_interrupted_work_is_resumed_and_levels_go_when_they_are_done(
    survey, small, tmp_path, monkeypatch
):
    def estimate(stop_at: Callable[[float, str], bool]) -> DepthStore:
        def progress(fraction: float, message: str = "") -> None:
            if stop_at(fraction, message):
                raise Cancelled("stopped")

        out = tmp_path / "depth"
        asked = (survey.component,), survey.photos, SMALL
        return estimate_depth(*asked, out_dir=out, progress=progress)

    work = tmp_path / "depth" / "work"
    with pytest.raises(Cancelled):
        estimate(lambda fraction, message: fraction > 0.5)
    kept = len(list(work.rglob("*.npz")))
    solved = _count_solved(monkeypatch)
    with pytest.raises(Cancelled):
        estimate(lambda fraction, message: message == "filtering 6/6")
    assert 0 < kept < 12
    assert len(solved) == 2 * 6 - kept
    assert not (work / "level_0").exists()
    assert (work / "level_1").exists()
    result = estimate(lambda fraction, message: False)
    assert len(solved) == 2 * 6 - kept
    for i in (2, 5):
        assert np.array_equal(result.load(i).depth, small.load(i).depth)
    assert not work.exists()


def test_another_question_is_not_answered_with_old_work(survey, small, tmp_path, monkeypatch):
    out = tmp_path / "depth"
    shutil.copytree(small.folder, out)
    solved = _count_solved(monkeypatch)
    same = estimate_depth((survey.component,), survey.photos, SMALL, out_dir=out)
    assert np.array_equal(same.load(0).depth, small.load(0).depth)
    assert not solved
    smaller = replace(CONFIG, max_size=80)
    other = estimate_depth((survey.component,), survey.photos, smaller, out_dir=out)
    assert len(solved) >= 6 and other.load(0).depth.shape == (60, 80)


def _count_solved(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Indices of the views that are solved from now on."""
    solved: list[int] = []
    original = pyramid.solve_view

    def counted(index, *args):
        solved.append(index)
        return original(index, *args)

    monkeypatch.setattr(pyramid, "solve_view", counted)
    return solved


def test_depth_is_better_than_its_start(survey, store):
    """The points are 5 cm off; stereo must not just hand them on."""
    views = list(survey.truth.views)
    for i in (1, 4):
        points = sparse_depth(survey.component, i, views[i])
        start = 1 / planes_from_points(points, views[i], views[i])[..., 0]
        depth, truth = store.load(i).depth, survey.truth.depths[i]
        have = depth > 0
        before = np.median(np.abs(start - truth)[have])
        after = np.median(np.abs(depth - truth)[have])
        assert after < 0.35 * before


def test_masked_pixels_have_no_depth(survey, tmp_path):
    from PIL import Image

    mask = np.full((240, 320), 255, np.uint8)
    mask[:, :160] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    photos = replace(
        survey.photos,
        photos=tuple(replace(p, mask_path=tmp_path / "mask.png") for p in survey.photos.photos),
    )
    out = estimate_depth((survey.component,), photos, SMALL, out_dir=tmp_path / "out")
    depth = out.load(1).depth
    assert not depth[:, :98].any()
    assert depth[:, 104:].any()


def test_photos_that_share_nothing_are_an_error_with_advice(survey, tmp_path: Path):
    c = survey.component
    alone = Reconstruction(c.cameras, c.images[:1], replace(c.points, **_no_tracks(c)))
    with pytest.raises(ReconstructionError, match="No two photos") as caught:
        estimate_depth((alone,), survey.photos, CONFIG, out_dir=tmp_path)
    assert caught.value.next_step


def _no_tracks(component: Reconstruction) -> dict[str, np.ndarray]:
    empty = np.zeros(len(component.points) + 1, np.int64)
    return {
        "track_start": empty,
        "track_image": np.zeros(0, np.int32),
        "track_xy": np.zeros((0, 2)),
    }
