"""The start as a measurement that holds a surface while it trains."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import voxel_training

from voxterra.surface.voxels.octree.query import crossing, inside_main
from voxterra.surface.voxels.start.bounds import main_bound
from voxterra.surface.voxels.start.first_state import start
from voxterra.surface.voxels.train import train
from voxterra.surface.voxels.training.adapt import adapt, clear
from voxterra.surface.voxels.training.anchor import SCALE, Anchor, pull
from voxterra.surface.voxels.training.state import contents, state_of
from voxterra.surface.voxels.training.step import make_tables
from voxterra.surface.voxels.training.targets import make_targets

CPU = torch.device("cpu")
CONFIG = replace(voxel_training.SMALL, lambda_start=1.0)


@pytest.fixture(scope="module")
def scene():
    return voxel_training.scene()


def started(scene, config=CONFIG):
    cube = main_bound(scene, config)
    targets, _ = make_targets(scene, cube, config, CPU)
    return start(scene, cube, targets, config, CPU, config.max_voxels), targets


@pytest.fixture(scope="module")
def first(scene):
    state, targets = started(scene)
    return contents(state), targets


@pytest.fixture
def begun(first):
    """The start, to do with as one likes, and the targets."""
    return state_of(copy.deepcopy(first[0])), first[1]


def test_the_gradient_is_that_of_the_value():
    generator = torch.Generator().manual_seed(1)
    sdf, held, trust, edge = (
        torch.rand(20, generator=generator, dtype=torch.float64) for _ in range(4)
    )
    edge, grad = edge + 0.1, torch.zeros_like(sdf)
    anchor = Anchor(held, trust)
    pull(anchor, sdf, edge, grad, 3.0)
    for i in range(20):
        values = []
        for step in (1e-6, -1e-6):
            moved = sdf.clone()
            moved[i] += step
            values.append(float(pull(anchor, moved, edge, torch.zeros_like(sdf), 3.0)))
        assert float(grad[i]) == pytest.approx(3.0 * (values[0] - values[1]) / 2e-6, abs=1e-8)


def test_what_photos_insist_on_moving_is_let_go():
    edge, zero = torch.ones(3), torch.zeros(3)
    grads = []
    for moved in (SCALE / 4, SCALE, 8 * SCALE):
        grad = torch.zeros(3)
        pull(Anchor(zero, torch.ones(3)), torch.full((3,), moved), edge, grad, 1.0)
        grads.append(float(grad[0]))
    assert grads[0] < grads[1] and grads[2] < 0.3 * grads[1]


def test_trust_is_the_share_of_views_that_measured(scene, begun):
    state, _ = begun
    octree = state.voxels.octree
    surface = crossing(octree, state.voxels.sdf) & inside_main(octree)
    trust = state.anchor.trust[octree.corner_index.long()][surface].amax(1)
    assert float(trust.median()) > 0.5 and float(state.anchor.trust.max()) <= 1.0
    assert float((state.anchor.trust == 0).float().mean()) > 0.05  # air, and what is far below
    bare = tuple(replace(view, prior=None) if i % 2 else view for i, view in enumerate(scene.views))
    half, _ = started(replace(scene, views=bare))
    assert float(half.anchor.trust.mean()) < 0.8 * float(state.anchor.trust.mean())


def test_without_depth_maps_nothing_is_held(scene):
    few = replace(scene, views=scene.views[:3], points=None)
    assert started(voxel_training.without_priors(few))[0].anchor is None
    assert started(few, replace(CONFIG, lambda_start=0.0))[0].anchor is None


def test_a_split_keeps_the_anchor_where_it_was(begun):
    state, targets = begun
    state.iteration, state.start_level = 1000, 8
    fine = [t.view.resized(8 * t.view.width, 8 * t.view.height) for t in targets]
    config = replace(CONFIG, max_level=8, n_iter=8000)
    done = adapt(state, [t.kernel for t in targets], fine, config, 10**6)
    assert done.split > 100
    torch.testing.assert_close(state.anchor.sdf, state.voxels.sdf)
    assert float(state.anchor.trust.max()) > 0.5


def test_a_false_surface_in_free_space_is_not_held(begun):
    state, targets = begun
    kernels = [t.kernel for t in targets]
    surface = crossing(state.voxels.octree, state.voxels.sdf)
    air = torch.ones(len(state.voxels.sdf), dtype=torch.bool)
    air[state.voxels.octree.corner_index.long()[surface].flatten()] = False
    air &= (state.voxels.sdf > 0) & (state.anchor.trust > 0)
    assert int(air.sum()) > 0
    state.voxels.sdf[air] *= -1
    state.anchor.sdf.copy_(state.voxels.sdf)
    before = state.anchor.trust.clone()
    clear(state, kernels)
    cleared = before[: len(state.anchor.trust)].sum() - state.anchor.trust.sum()
    assert float(cleared) > 0


def test_a_held_surface_stays_nearer_to_the_start(scene, begun):
    moved = [_moved(scene, weight, begun[0]) for weight in (0.0, 30.0)]
    assert moved[1] < 0.5 * moved[0]


def _moved(scene, weight, state):
    """Mean way of the distances from the start, in edges, weighted by trust."""
    config = replace(CONFIG, lambda_start=weight, n_iter=10, adapt_every=8000, geo_lr=0.05)
    begun = []
    model = train(scene, config, started=lambda v: begun.append(v.sdf.clone()))
    trust, edge = state.anchor.trust, make_tables(state.voxels).corner_edge
    way = (torch.from_numpy(np.array(model.sdf)) - begun[0]).abs() / edge
    return float((way * trust).sum() / trust.sum())
