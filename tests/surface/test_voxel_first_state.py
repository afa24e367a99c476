"""The octree that a training from depth maps starts with: fine where depth maps measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import voxel_training

from voxterra.errors import UsageError
from voxterra.surface.voxels.octree.query import crossing, inside_main, voxel_centers
from voxterra.surface.voxels.scene.scene import Scene
from voxterra.surface.voxels.start.bounds import main_bound
from voxterra.surface.voxels.start.first_state import start
from voxterra.surface.voxels.start.subdivide import measuring_views
from voxterra.surface.voxels.training.targets import make_targets

CONFIG = replace(voxel_training.SMALL, init_pixels=2.0, max_level=7, max_voxels=400_000)


def half_measured(scene: Scene) -> Scene:
    """Without the depths of what lies at x < 0."""
    out = []
    for image in scene.views:
        prior, view = image.prior, image.view
        v, u = np.mgrid[: view.height, : view.width] + 0.5
        world = view.unproject(
            np.column_stack([u.ravel(), v.ravel()]), prior.depth.ravel().astype(np.float64)
        )
        here = (world[:, 0] > 0).reshape(prior.depth.shape)
        out.append(replace(image, prior=replace(prior, depth=np.where(here, prior.depth, 0))))
    return replace(scene, views=tuple(out))


@pytest.fixture(scope="module")
def started():
    scene = half_measured(voxel_training.scene())
    device = torch.device("cpu")
    cube = main_bound(scene, CONFIG)
    targets, _ = make_targets(scene, cube, CONFIG, device)
    return start(scene, cube, targets, CONFIG, device, CONFIG.max_voxels), targets


def test_voxels_are_fine_only_where_a_depth_map_measured(started):
    state, targets = started
    octree = state.voxels.octree
    edge = octree.lo_size[:, 3].numpy()
    surface = (crossing(octree, state.voxels.sdf) & inside_main(octree)).numpy()
    known = (measuring_views(octree, targets) > 0).numpy()
    assert (surface & known).sum() > 300 and (surface & ~known).sum() > 20
    assert np.median(edge[surface & ~known]) >= 2 * np.median(edge[surface & known])


def test_measured_voxels_lie_where_depths_are(started):
    state, targets = started
    octree = state.voxels.octree
    center, found = voxel_centers(octree).numpy(), (measuring_views(octree, targets) > 0).numpy()
    assert found.any() and not found.all()
    assert (center[found, 0] > -0.2).all()
    front = np.abs(voxel_training.SDF(center[found])) < 2 * octree.lo_size[found, 3].numpy() + 0.05
    assert front.mean() > 0.95


def test_without_depth_maps_nothing_counts_as_measured(started):
    state, targets = started
    bare = tuple(replace(target, prior=None) for target in targets)
    assert not measuring_views(state.voxels.octree, bare).any()


@pytest.mark.slow
def test_a_start_from_depth_maps_has_no_more_voxels_than_there_may_be(caplog):
    scene, device = voxel_training.scene(6, (3,)), torch.device("cpu")
    cube = main_bound(scene, CONFIG)
    targets, _ = make_targets(scene, cube, CONFIG, device)
    for most in (20_000, 1000):
        assert "--max_voxels" not in caplog.text
        config = replace(CONFIG, max_voxels=most)
        state = start(scene, cube, targets, config, device, most)
        assert 500 < len(state.voxels) <= most
    assert "The start has 3 levels inside the bound instead of 4." in caplog.text
    with pytest.raises(UsageError, match="more than the 60 there may be"):
        start(scene, cube, targets, replace(CONFIG, max_voxels=60), device, 60)
    with pytest.raises(MemoryError, match="and 60 fit"):
        start(scene, cube, targets, CONFIG, device, 60)
