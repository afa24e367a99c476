"""The learned factor on the sharpness: its gradient, what it finds, and when it is learned."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import voxel_training

torch = pytest.importorskip("torch")

from voxterra.errors import ReconstructionError  # noqa: E402
from voxterra.surface.voxels.model import sharpness  # noqa: E402
from voxterra.surface.voxels.model.render import render_view, to_device  # noqa: E402
from voxterra.surface.voxels.scene.scene import SceneView  # noqa: E402
from voxterra.surface.voxels.train import train  # noqa: E402
from voxterra.surface.voxels.training.state import contents, load_latest, state_of  # noqa: E402
from voxterra.surface.voxels.training.step import make_tables, require_finite, step  # noqa: E402
from voxterra.surface.voxels.training.targets import make_targets  # noqa: E402

CPU = torch.device("cpu")
# Nothing but the photos, and only the sharpness moves.
FROZEN = replace(
    voxel_training.SMALL,
    n_iter=8000,
    geo_lr=0.0,
    sh0_lr=0.0,
    shs_lr=0.0,
    lambda_ge_density=0.0,
    lambda_ls_density=0.0,
    lambda_vg_density=0.0,
    lambda_R_concen=0.0,
    lambda_sparse_depth=0.0,
    lambda_prior_depth=0.0,
    lambda_prior_normal=0.0,
    lambda_normal_dmean=0.0,
    lambda_normal_dmed=0.0,
    lambda_ssim=0.0,
    sharpness_lr=0.02,
    sharpness_from=0,
    black_background=True,
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A state, and a scene of photos of its own model, as sharp as the options say."""
    out, scene = tmp_path_factory.mktemp("model"), voxel_training.scene(6, (2,))
    model = train(scene, replace(FROZEN, n_iter=4, sharpness_lr=0.0), out=out)
    voxels = to_device(model, "cpu")
    shots = []
    for view in scene.views:
        color = render_view(voxels, view.view).color.clamp(0, 1).mul(255).round()
        shots.append(SceneView(view.view, color.byte().numpy(), held_out=view.held_out))
    return load_latest(out / "checkpoints" / "last.pt", CPU), replace(scene, views=tuple(shots))


def again(state, config, log: float):
    state = state_of(copy.deepcopy(contents(state)))
    state.iteration = 0
    state.sharpness = sharpness.create(CPU)
    state.sharpness.log.fill_(log)
    return state, make_tables(state.voxels)


def test_the_gradient_is_that_of_finite_differences(pictures):
    state, scene = pictures
    targets, _ = make_targets(scene, state.voxels.octree.cube, FROZEN, CPU)

    def photo(log: float, lr: float = 0.0):
        config = replace(FROZEN, sharpness_lr=lr)
        at, tables = again(state, config, log)
        value = float(step(at, targets[0], tables, config, ()).terms["photo"])
        return value, float(at.sharpness.m) / (1 - sharpness.BETA1)

    for log in (-0.7, 0.5):
        slope = (photo(log + 0.02)[0] - photo(log - 0.02)[0]) / 0.04
        assert photo(log, 1e-9)[1] == pytest.approx(slope, rel=0.03)


@pytest.mark.parametrize("begin", [-0.7, 0.6])
def test_the_sharpness_of_the_photos_is_found(pictures, begin):
    state, scene = pictures
    targets, _ = make_targets(scene, state.voxels.octree.cube, FROZEN, CPU)
    at, tables = again(state, FROZEN, begin)
    for _ in range(150):
        step(at, targets[at.next_view(len(targets))], tables, FROZEN, ())
    assert abs(float(at.sharpness.log)) < 0.1
    assert torch.equal(at.voxels.sdf, state.voxels.sdf)
    # What is rendered, pruned and saved with is the product.
    ratio = at.voxels.sharpness / state.voxels.sharpness
    assert ratio.tolist() == pytest.approx([float(at.sharpness.log.exp())] * 17, rel=0.03)


@pytest.mark.slow
def test_it_is_learned_late_and_only_if_asked_for(tmp_path):
    scene = voxel_training.scene(6, (2,))
    config = replace(voxel_training.SMALL, max_level=5, max_voxels=8000)
    train(scene, replace(config, n_iter=8), out=tmp_path / "off")
    assert load_latest(tmp_path / "off" / "checkpoints" / "last.pt", CPU).sharpness is None
    model = train(scene, replace(config, sharpness_lr=0.05), out=tmp_path / "on")
    learned = load_latest(tmp_path / "on" / "checkpoints" / "last.pt", CPU)
    assert learned.sharpness.steps == config.n_iter // 4
    value = float(learned.curves["learned factor on the sharpness"][-1][1])
    assert value == pytest.approx(float(learned.sharpness.log.exp())) and value != 1.0
    edge = model.inside_edge * 2.0**model.outside_level
    assert not np.isclose(model.sharpness[0] * edge, config.sharpness, rtol=1e-3)


def test_a_sharpness_out_of_all_proportion_is_told(pictures):
    state, scene = pictures
    targets, _ = make_targets(scene, state.voxels.octree.cube, FROZEN, CPU)
    at, tables = again(state, FROZEN, 0.0)
    objective = step(at, targets[0], tables, FROZEN, ())
    require_finite(at, objective, "0.png")
    for wrong in (11.0, -11.0, float("nan")):
        at.sharpness.log.fill_(wrong)
        with pytest.raises(ReconstructionError, match="sharpness") as caught:
            require_finite(at, objective, "0.png")
        assert "--sharpness_lr" in caught.value.next_step
