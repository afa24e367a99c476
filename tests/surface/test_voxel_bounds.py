"""The main bound in all its modes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from voxel_shapes import (  # noqa: E402
    around,
    cuboid,
    depth_scene,
    ground_and_block,
    mask_scene,
    photo,
    point_scene,
    sphere,
)

from voxterra.errors import UsageError  # noqa: E402
from voxterra.surface.voxels.config import VoxelConfig  # noqa: E402
from voxterra.surface.voxels.scene.scene import Scene  # noqa: E402
from voxterra.surface.voxels.start.bounds import main_bound  # noqa: E402
from voxterra.testing import look_at  # noqa: E402


def bare(views) -> Scene:
    return Scene(tuple(photo(view) for view in views), None, None, "bare")


def holds(cube, low, high) -> bool:
    half = cube.inside_edge / 2
    center = np.array(cube.center)
    return bool((center - half <= low).all() and (center + half >= high).all())


def survey():
    """Nadir views 20 above a plain of 40 x 30."""
    grid = [(x, y) for x in range(-18, 19, 6) for y in range(-13, 14, 6)]
    return [
        look_at(f"{i}.png", (x, y, 20.0), (x, y, 0.0), width=160, height=120, focal_px=150,
                up=(0.0, 1.0, 0.0))
        for i, (x, y) in enumerate(grid)
    ]  # fmt: skip


def test_the_object_seen_in_depth_maps_is_bounded():
    cube = main_bound(depth_scene(around(8), cuboid), VoxelConfig())
    assert holds(cube, (-0.88, -0.58, -0.38), (0.88, 0.58, 0.38))
    assert cube.inside_edge < 2.2
    assert np.allclose(cube.center, 0, atol=0.05)
    assert cube.outside_level == 5


def test_of_a_survey_the_ground_below_the_cameras_is_bounded():
    scene = depth_scene(survey(), lambda p: p[:, 2])
    cube = main_bound(scene, VoxelConfig())
    assert 35 < cube.inside_edge < 60
    assert abs(cube.center[2]) < 0.5


def test_sparse_points_and_their_strays():
    scene = point_scene(around(8), sphere, 1000)
    points = scene.points.positions.copy()
    points[::150] *= 100
    scene = replace(scene, points=replace(scene.points, positions=points))
    for mode in ("default", "pcd"):
        cube = main_bound(scene, VoxelConfig(bound_mode=mode))
        assert holds(cube, [-0.78] * 3, [0.78] * 3)
        assert cube.inside_edge < 2.2


def test_masks_bound_the_object():
    cube = main_bound(mask_scene(around(12), sphere), VoxelConfig())
    assert holds(cube, [-0.8] * 3, [0.8] * 3)
    assert cube.inside_edge < 2.4


def test_background_that_few_photos_show_is_left_out():
    def scene(points):
        return np.minimum(sphere(points), 9.0 - np.linalg.norm(points, axis=1))

    cube = main_bound(depth_scene(around(10), scene), VoxelConfig())
    assert holds(cube, [-0.7] * 3, [0.7] * 3)
    assert cube.inside_edge < 4.0


def test_cameras_alone():
    views = around(12)
    cube = main_bound(bare(views), VoxelConfig())
    assert np.isclose(cube.inside_edge, 8.0, rtol=0.05)
    assert np.allclose(cube.center, 0, atol=0.2)
    views.append(look_at("far", (20.0, 0, 0), (0, 0, 0)))
    centers = np.array([v.center_in_world for v in views])
    away = np.linalg.norm(centers - centers.mean(axis=0), axis=1)
    for mode, radius in (("camera_median", np.median(away)), ("camera_max", away.max())):
        cube = main_bound(bare(views), VoxelConfig(bound_mode=mode))
        assert np.isclose(cube.inside_edge, 2 * radius)
        assert np.allclose(cube.center, centers.mean(axis=0))


def test_cameras_that_look_the_same_way():
    views = [
        look_at(f"{x}{y}", (x, y, 0.0), (x, y, -1.0), width=160, height=120, focal_px=150,
                up=(0.0, 1.0, 0.0))
        for x in (-0.5, 0.0, 0.5) for y in (-0.5, 0.0, 0.5)
    ]  # fmt: skip
    cube = main_bound(bare(views), VoxelConfig())
    assert cube == main_bound(bare(views), VoxelConfig(bound_mode="forward"))
    assert np.allclose(cube.center[:2], 0, atol=1e-9)
    assert cube.center[2] < -2
    wall = depth_scene(views, lambda p: p[:, 2] + 6.0)
    cube = main_bound(wall, VoxelConfig(bound_mode="forward"))
    assert np.isclose(cube.center[2], -6.0, atol=0.05)
    with pytest.raises(UsageError, match="same way"):
        main_bound(bare(around(12)), VoxelConfig(bound_mode="forward"))


def test_a_box_of_the_data_or_of_the_user():
    box = (-1.0, -0.5, -0.2, 1.0, 0.5, 0.6)
    scene = replace(depth_scene(around(6, lowest=0.4), ground_and_block), world_box=box)
    cube = main_bound(scene, VoxelConfig())
    assert np.allclose(cube.center, (0, 0, 0.2)) and np.isclose(cube.inside_edge, 2.0)
    cube = main_bound(scene, VoxelConfig(bound=(0, 0, 0, 0.2, 0.4, 0.1), bound_scale=2.0))
    assert np.allclose(cube.center, (0.1, 0.2, 0.05)) and np.isclose(cube.inside_edge, 0.8)
    cube = main_bound(scene, VoxelConfig(bound_mode="camera_max", outside_level=2))
    assert cube.inside_edge > 6 and cube.outside_level == 2


@pytest.mark.parametrize(
    "config, says, where",
    [
        (VoxelConfig(bound=(0, 0, 0, 1, -1, 1)), "no box", "--bound"),
        (VoxelConfig(bound=(0, 0, 0, 1, np.nan, 1)), "no box", "--bound"),
        (VoxelConfig(bound_scale=0.0), "scale", "--bound_scale"),
        (VoxelConfig(outside_level=16), "levels", "--outside_level"),
        (VoxelConfig(bound=(90, 90, 90, 91, 91, 91)), "in the bound|sees the bound", "--bound"),
        (VoxelConfig(bound=(-0.1, -0.1, -0.1, 0.1, 0.1, 0.1)), "scene is at", "--bound"),
    ],
)
def test_bounds_that_cannot_be(config, says, where):
    scene = depth_scene(around(6), sphere)
    with pytest.raises(UsageError, match=says) as error:
        main_bound(scene, config)
    assert error.value.where == where
    assert error.value.next_step


def test_a_bound_that_no_photo_sees():
    views = [v for v in around(12) if v.center_in_world[2] > 1]
    with pytest.raises(UsageError, match="No photo sees"):
        main_bound(bare(views), VoxelConfig(bound=(-1, -1, 50, 1, 1, 52)))


def test_nothing_to_go_by():
    one_place = [look_at(f"{i}", (0, 0, 0), (np.cos(i), np.sin(i), 0)) for i in range(6)]
    with pytest.raises(UsageError, match="one place"):
        main_bound(bare(one_place), VoxelConfig())
    with pytest.raises(UsageError, match="no sparse points") as error:
        main_bound(bare(around(5)), VoxelConfig(bound_mode="pcd"))
    assert "--stereo" in error.value.next_step
