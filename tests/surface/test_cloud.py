from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from voxterra.errors import ReconstructionError
from voxterra.surface.fusion.cloud import fuse_cloud
from voxterra.surface.fusion.config import FusionConfig


@pytest.fixture(scope="module")
def ball(scenes):
    return scenes.render(scenes.sphere(1.0), scenes.around(4.0))


def test_points_lie_on_the_surface_one_a_voxel(ball):
    cloud = fuse_cloud(ball, FusionConfig(cloud_voxel_size_m=0.05))
    positions = cloud.positions_in_world
    assert np.abs(np.linalg.norm(positions, axis=1) - 1.0).max() < 0.005
    assert ((cloud.normals * positions).sum(1) > 0.99).all()
    assert np.abs(cloud.colors - np.clip(128 + 60 * positions, 0, 255)).max() < 4
    cells = np.floor(positions / 0.05 + 1e-4).astype(int)
    assert len(np.unique(cells, axis=0)) > 0.98 * len(cells)
    # About 4 pi / 0.05**2 * 1.5 voxels are cut by the sphere.
    assert len(cloud) > 5000
    assert cloud.confidence.min() > 0


def test_depths_that_no_other_view_confirms_are_left_out(ball, scenes):
    random = np.random.default_rng(0)
    maps = []
    for depth_map in ball.maps:
        depth = depth_map.depth.copy()
        wrong = random.random(depth.shape) < 0.1
        depth[wrong] *= random.uniform(0.7, 1.3, wrong.sum())
        maps.append(replace(depth_map, depth=depth))
    cloud = fuse_cloud(
        scenes.SceneMaps(ball.views, maps, ball.colors), FusionConfig(cloud_voxel_size_m=0.05)
    )
    off = np.abs(np.linalg.norm(cloud.positions_in_world, axis=1) - 1.0)
    assert (off < 0.05).mean() > 0.99
    assert len(cloud) > 5000


def test_a_growing_table_loses_no_point(scenes):
    maps = scenes.render(scenes.plane(), scenes.above(8.0, 0.313, size=224))
    # Finer than the pixels: more cells than the first table has room for.
    cloud = fuse_cloud(maps, FusionConfig(cloud_voxel_size_m=0.02, max_footprint_voxels=100.0))
    assert len(cloud) > (1 << 17) + 1000
    assert np.abs(cloud.positions_in_world[:, 2]).max() < 1e-3


def test_the_budget_makes_the_cloud_coarser_and_says_so(ball, caplog):
    config = FusionConfig(cloud_voxel_size_m=0.05, max_points=2000)
    with caplog.at_level("WARNING"):
        cloud = fuse_cloud(ball, config)
    assert "--surface.max-points" in caplog.text
    assert 500 < len(cloud) <= 2000
    assert np.abs(np.linalg.norm(cloud.positions_in_world, axis=1) - 1.0).max() < 0.02


def test_voxels_too_small_for_the_distance_from_the_origin_are_a_user_error(ball):
    with pytest.raises(ReconstructionError, match="too far"):
        fuse_cloud(ball, FusionConfig(cloud_voxel_size_m=3e-6))


def test_bounds_limit_the_cloud(ball):
    config = FusionConfig(cloud_voxel_size_m=0.05, bounds_m=(-2, -2, 0.5, 2, 2, 2))
    assert fuse_cloud(ball, config).positions_in_world[:, 2].min() >= 0.5


def test_no_depth_is_a_user_error(ball, scenes):
    empty = [replace(m, depth=np.zeros_like(m.depth)) for m in ball.maps]
    with pytest.raises(ReconstructionError):
        fuse_cloud(scenes.SceneMaps(ball.views, empty, ball.colors))
