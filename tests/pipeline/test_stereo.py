"""Depth maps for a training on photos with known cameras."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from box_survey import photos_of_a_box

from voxterra.depth.stereo import pyramid
from voxterra.errors import Cancelled, MissingPartError, NoOverlapError
from voxterra.pipeline.recipe.posed_photos import needs_stereo, with_stereo
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.scene.scene import Scene, SceneView

CONFIG = VoxelConfig(stereo=True)
HELD_OUT = 4


def scene_of(truth, *, turned: bool = False) -> Scene:
    views = list(truth.views)
    if turned:  # cameras that belong to other photos
        views = [replace(views[k], name=view.name) for view, k in zip(views, (4, 2, 5, 0, 1, 3))]
    return Scene(
        tuple(
            SceneView(view, color, held_out=i == HELD_OUT)
            for i, (view, color) in enumerate(zip(views, truth.colors))
        )
    )


@pytest.fixture(scope="module")
def truth():
    return photos_of_a_box()


@pytest.fixture(scope="module")
def made(truth, tmp_path_factory):
    out = tmp_path_factory.mktemp("stereo")
    return with_stereo(scene_of(truth), CONFIG, out), out


def test_depths_are_right_and_held_out_photos_took_no_part(truth, made):
    scene, _ = made
    for i, view in enumerate(scene.views):
        assert view.view == truth.views[i]
        if i == HELD_OUT:
            assert view.prior is None
            continue
        depth, exact = view.prior.depth, truth.depths[i]
        known = depth > 0
        assert known.mean() > 0.7
        assert (np.abs(depth - exact)[known] < 0.01 * exact[known]).mean() > 0.95


def test_points_lie_on_the_surface_and_belong_to_their_views(truth, made):
    points = made[0].points
    assert len(points) > 50
    assert len(points.seen_by(HELD_OUT)) == 0
    for i in (0, 1, 5):
        seen = points.positions[points.seen_by(i)]
        assert len(seen) > 10
        pixel, depth = truth.views[i].project(seen)
        column, row = pixel.astype(int).T
        error = np.abs(truth.depths[i][row, column] - depth)
        assert np.median(error) < 0.02


def test_what_is_ignored_has_no_depth(truth, tmp_path):
    ignored = np.zeros(truth.colors[0].shape[:2], bool)
    ignored[:, : ignored.shape[1] // 3] = True
    scene = scene_of(truth)
    views = (replace(scene.views[0], ignored=ignored), *scene.views[1:])
    found = with_stereo(replace(scene, views=views), CONFIG, tmp_path).views[0].prior
    assert found is not None
    hidden = ignored[:: ignored.shape[0] // found.depth.shape[0]][: found.depth.shape[0]]
    hidden = hidden[:, :: ignored.shape[1] // found.depth.shape[1]][:, : found.depth.shape[1]]
    assert (found.depth[hidden] > 0).mean() < 0.05 and (found.depth[~hidden] > 0).mean() > 0.5


def test_what_was_found_is_used_again(truth, made, monkeypatch):
    scene, out = made

    def stop(*args, **kwargs):
        raise AssertionError("computed again")

    monkeypatch.setattr("voxterra.depth.stereo.pyramid.solve_view", stop)
    again = with_stereo(scene_of(truth), CONFIG, out)
    assert np.array_equal(again.views[0].prior.depth, scene.views[0].prior.depth)


def test_what_was_found_of_other_photos_is_not_used(truth, made, monkeypatch, tmp_path):
    out = tmp_path / "stereo"
    shutil.copytree(made[1], out)
    scene = scene_of(truth)
    darker = [replace(view, rgb=view.rgb // 2) for view in scene.views]

    def stop(*args, **kwargs):
        raise Cancelled("computed again")

    monkeypatch.setattr(pyramid, "solve_view", stop)
    with pytest.raises(Cancelled):
        with_stereo(replace(scene, views=tuple(darker)), CONFIG, out)


def test_a_stop_goes_through(truth, tmp_path):
    def stop(fraction: float, message: str = "") -> None:
        if fraction > 0.01:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        with_stereo(scene_of(truth), CONFIG, tmp_path, progress=stop)


def test_cameras_of_other_photos_are_told(truth, tmp_path):
    with pytest.raises(NoOverlapError, match="of 5 photos") as error:
        with_stereo(scene_of(truth, turned=True), CONFIG, tmp_path)
    assert "Check that the cameras belong to these photos" in str(error.value)


def test_a_machine_without_colmap_says_so(truth, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "voxterra.sfm.known_poses", raising=False)
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(MissingPartError, match="pycolmap"):
        with_stereo(scene_of(truth), CONFIG, tmp_path)


def test_asked_for_and_not_there_already(truth, made):
    bare = scene_of(truth)
    assert needs_stereo(bare, CONFIG)
    assert not needs_stereo(bare, VoxelConfig())
    assert not needs_stereo(made[0], CONFIG)
