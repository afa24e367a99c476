"""Training with views compared against their neighbours: nearer the surface, and repeatable."""
# ruff: noqa: E402

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from voxterra.surface.voxels import train as training
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.model.render import render_view, to_device
from voxterra.surface.voxels.scene.scene import Scene, scene_from_depth_maps
from voxterra.surface.voxels.training.neighbor_terms import make_companions, neighbor_terms
from voxterra.surface.voxels.training.state import load_state
from voxterra.testing import checker, look_at, photograph, plane_mesh

LIFTED = 0.1
CONFIG = VoxelConfig(
    n_iter=60, ss=1.0, sh_degree=0, outside_level=1, max_level=5, max_voxels=20_000, view_every=0,
    save_every=0, device="cpu", lambda_prior_depth=0.0, lambda_prior_normal=0.0, adapt_until=0,
    bound=(-3.0, -3.0, -3.0, 3.0, 3.0, 3.0), mv_from=3000,
)  # fmt: skip
WITH = replace(CONFIG, lambda_mv_ncc=0.3, lambda_mv_geo=0.05)


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A patterned plane z = 0, and depth maps that place it at `LIFTED`."""
    places = [(-1.5, 0), (0, 0), (1.5, 0), (0, 1.5)]
    views = [
        look_at(f"{i}.jpg", (x, y, 6), (0.2 * x, 0.2 * y, 0), width=96, height=72, focal_px=110.0)
        for i, (x, y) in enumerate(places)
    ]
    mesh = plane_mesh(9.0, 8)
    maps = photograph(mesh, views, lambda points: checker(points, 0.7))
    mesh.vertices[:, 2] += LIFTED
    wrong = photograph(mesh, views, lambda points: checker(points, 0.7))
    return scene_from_depth_maps(replace(wrong, colors=maps.colors), CONFIG)


def error(scene: Scene, model) -> float:
    """Mean distance of the rendered surface from the plane, over the middle of the views."""
    voxels, off = to_device(model, "cpu"), []
    for source in scene.views[:3]:
        view = source.view
        depth = render_view(voxels, view).median_depth.numpy()[12:-12, 16:-16]
        assert (depth > 0).mean() > 0.99
        row, column = np.mgrid[12 : view.height - 12, 16 : view.width - 16].reshape(2, -1)
        pixels = np.column_stack([column, row]) + 0.5
        points = view.unproject(pixels, depth.ravel().astype(float))
        off.append(np.abs(points[depth.ravel() > 0, 2]).mean())
    return float(np.mean(off))


@pytest.fixture(scope="module")
def trained(scene, tmp_path_factory):
    """Model of a training with the terms, its folder, and a checkpoint of its middle."""
    out, kept = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("kept")
    real = training.save_state

    def save(state, path: Path) -> None:
        real(state, path)
        real(state, kept / f"{state.iteration}.pt")

    training.save_state = save
    try:
        model = training.train(scene, replace(WITH, save_every=20), out=out)
    finally:
        training.save_state = real
    return model, out, kept


def test_the_surface_comes_nearer_than_by_colours_alone(scene, trained):
    without = error(scene, training.train(scene, CONFIG))
    found = error(scene, trained[0])
    assert found < 0.6 * without < 0.6 * LIFTED


@pytest.mark.parametrize("at", [20, 40])  # before and after the terms begin
def test_a_stopped_training_goes_on_the_same(scene, trained, at, tmp_path):
    model, _, kept = trained
    (tmp_path / "checkpoints").mkdir()
    (kept / f"{at}.pt").rename(tmp_path / "checkpoints/last.pt")
    again = training.train(scene, WITH, out=tmp_path, resume=True)
    for name in ("sdf", "sh0", "shs", "path"):
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name))


def test_neighbors_are_chosen_when_the_terms_begin_and_a_view_may_have_none(scene, trained):
    state = load_state(trained[1] / "checkpoints/last.pt", torch.device("cpu"))
    cube = state.voxels.octree.cube
    targets, _ = training.make_targets(scene, cube, WITH, torch.device("cpu"))
    assert make_companions(targets, cube, CONFIG) is None
    companions = make_companions(targets, cube, replace(WITH, ss=1.5))
    assert [v.width for v in companions.views] == [t.view.width for t in targets]
    chosen = state.neighbors
    assert chosen.shape == (4, 4) and (chosen[:, 0] >= 0).all()
    assert not (chosen == torch.arange(4)[:, None]).any()
    state.iteration, state.neighbors = 10, None
    assert neighbor_terms(state, targets[0], companions, WITH) == () and state.neighbors is None
    state.iteration = 30
    assert len(neighbor_terms(state, targets[0], companions, WITH)) == 1
    for every, terms in ((4, 0), (3, 1)):
        config = replace(WITH, mv_every=every)
        assert len(neighbor_terms(state, targets[0], companions, config)) == terms
    # The model has moved since: equally good ones may have changed places.
    torch.testing.assert_close(state.neighbors.sort(1).values, chosen.sort(1).values)
    state.neighbors[0] = -1
    assert neighbor_terms(state, targets[0], companions, WITH) == ()
