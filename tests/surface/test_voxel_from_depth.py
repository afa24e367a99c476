"""The first surface from depth maps of shapes whose distance is known everywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from voxel_shapes import (  # noqa: E402, I001
    around,
    cuboid,
    depth_scene,
    ground_and_block,
    photo,
    plate,
    points_in,
    sphere,
)

from voxterra.errors import InputError, TooFewPhotosError  # noqa: E402
from voxterra.surface.voxels.config import VoxelConfig  # noqa: E402
from voxterra.surface.voxels.octree import Cube  # noqa: E402
from voxterra.surface.voxels.scene.scene import Scene  # noqa: E402
from voxterra.surface.voxels.start.first_field import initial_sdf  # noqa: E402
from voxterra.surface.voxels.start import from_depth as init_depth  # noqa: E402

CUBE = Cube((0.0, 0.0, 0.0), 2.6, 5)


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    monkeypatch.setattr(init_depth, "GRID", 64)


def values(field, points):
    return field(torch.from_numpy(np.asarray(points, np.float32))).numpy()


def right_side(field, sdf, points, margin):
    """Share of the points farther than `margin` from the surface that are on the right side."""
    true = sdf(points)
    off = np.abs(true) > margin
    return float((np.sign(values(field, points)) == np.sign(true))[off].mean())


def band_error(field, sdf, points):
    """Errors of the distances within half the measured band."""
    true = sdf(points)
    near = np.abs(true) < 0.5 * field.report.band
    assert near.sum() > 300
    return np.abs(values(field, points) - true)[near]


@pytest.mark.parametrize("sdf, masked", [(sphere, True), (sphere, False), (cuboid, False)])
def test_sides_and_distances_of_a_shape(sdf, masked):
    field = initial_sdf(depth_scene(around(16), sdf, masked=masked), CUBE, VoxelConfig())
    points = points_in(CUBE.center, CUBE.inside_edge)
    assert right_side(field, sdf, points, 0.01) > 0.999
    error = band_error(field, sdf, points)
    assert np.median(error) < 0.004
    assert np.quantile(error, 0.95) < 0.012
    assert field.report.evidence == "depth"
    assert "16 depth maps" in field.report.line()


def test_distances_beyond_the_band_are_never_far_too_large():
    field = initial_sdf(depth_scene(around(16), cuboid), CUBE, VoxelConfig())
    points = points_in(CUBE.center, CUBE.inside_edge)
    true = cuboid(points)
    # Too large a distance would hide the surface from the allocation of voxels.
    assert np.quantile(np.abs(values(field, points)) - np.abs(true), 0.999) < 0.03
    far = true > 0.3
    assert np.median(values(field, points)[far] / true[far]) > 0.8


def test_a_thin_plate_seen_from_both_sides_stays():
    field = initial_sdf(depth_scene(around(16), plate), CUBE, VoxelConfig())
    points = points_in(CUBE.center, CUBE.inside_edge)
    assert right_side(field, plate, points, 0.02) > 0.999
    middle = np.column_stack([points[:500, :2] * 0.6, np.zeros(500)])
    assert (values(field, middle) < 0).all()


def test_what_lies_under_a_surface_is_solid_though_unseen():
    field = initial_sdf(
        depth_scene(around(14, 3.0, lowest=0.4), ground_and_block), CUBE, VoxelConfig()
    )
    points = points_in(CUBE.center, CUBE.inside_edge)
    assert right_side(field, ground_and_block, points, 0.02) > 0.999
    assert field.report.unknown > 0.3
    beyond = np.array([[2.0, 2.0, -1.0], [0.0, -3.0, -1.0], [3.0, 0.0, 1.2]])
    assert np.sign(values(field, beyond)).tolist() == [-1, -1, 1]


def test_a_shadow_behind_a_thing_is_no_wall():
    """One side of the plate is seen; behind it, the space that others see past it is free."""
    views = [v for v in around(30) if v.center_in_world[2] > 0.3]
    field = initial_sdf(depth_scene(views, plate), CUBE, VoxelConfig())
    below = points_in(CUBE.center, CUBE.inside_edge)
    below = below[(below[:, 2] < -0.9)]
    assert (values(field, below) > 0).mean() > 0.9


def test_one_bad_depth_map_is_outvoted():
    scene = depth_scene(around(16), sphere)
    bad = np.full((120, 160), 2.5, np.float32)
    views = (photo(scene.views[0].view, bad), *scene.views[1:])
    field = initial_sdf(replace(scene, views=views), CUBE, VoxelConfig())
    assert right_side(field, sphere, points_in(CUBE.center, CUBE.inside_edge), 0.03) > 0.99


def test_a_far_shell_closes_the_scene_unless_masks_or_a_background_do():
    center = np.array([[0.0, 0.0, 0.0]])
    views = around(8)
    field = initial_sdf(depth_scene(views, sphere), CUBE, VoxelConfig())
    radius = field.report.shell
    assert 4.0 < radius < CUBE.edge / 2
    ray = center + np.array([[0.36, 0.48, 0.8]]) * radius * np.array([[0.9], [0.99], [1.01], [1.2]])
    assert np.sign(values(field, ray)).tolist() == [1, 1, -1, -1]
    assert np.allclose(values(field, ray[1:3]), [0.01 * radius, -0.01 * radius], rtol=0.01)
    for other in (
        initial_sdf(depth_scene(views, sphere, masked=True), CUBE, VoxelConfig()),
        initial_sdf(depth_scene(views, sphere), CUBE, VoxelConfig(white_background=True)),
    ):
        assert other.report.shell == 0
        assert (values(other, ray) > 0).all()


def test_held_out_views_are_no_evidence():
    scene = depth_scene(around(16), sphere)
    wrong = photo(scene.views[0].view, np.full((120, 160), 1.0, np.float32), held_out=True)
    more = replace(scene, views=(*scene.views, *[wrong] * 16))
    points = points_in(CUBE.center, CUBE.inside_edge, 5000)
    a = values(initial_sdf(scene, CUBE, VoxelConfig()), points)
    assert np.array_equal(a, values(initial_sdf(more, CUBE, VoxelConfig()), points))


@pytest.mark.parametrize("value", [np.nan, -1.0, np.inf])
def test_values_that_are_no_depth_name_the_view(value):
    scene = depth_scene(around(3), sphere)
    prior = scene.views[1].prior
    depth = prior.depth.copy()
    depth[3, 4] = value
    views = (scene.views[0], replace(scene.views[1], prior=replace(prior, depth=depth)))
    with pytest.raises(InputError, match="negative depths") as error:
        initial_sdf(replace(scene, views=views), CUBE, VoxelConfig())
    assert "1.png" in error.value.where


def test_one_view_is_too_few():
    scene = depth_scene(around(3), sphere)
    with pytest.raises(TooFewPhotosError):
        initial_sdf(replace(scene, views=scene.views[:1]), CUBE, VoxelConfig())
    held = tuple(replace(v, held_out=True) for v in scene.views[1:])
    with pytest.raises(TooFewPhotosError):
        initial_sdf(replace(scene, views=(scene.views[0], *held)), CUBE, VoxelConfig())


def test_a_bound_that_no_depth_reaches():
    far = Cube((100.0, 0.0, 0.0), 1.0, 5)
    away = [v for v in around(8) if v.center_in_world[0] > 0]
    with pytest.raises(InputError, match="space inside the bound"):
        initial_sdf(depth_scene(away, sphere), far, VoxelConfig())


def test_nothing_known_starts_from_a_sphere(caplog):
    scene = Scene(tuple(photo(view) for view in around(4)), None, None, "bare")
    field = initial_sdf(scene, CUBE, VoxelConfig())
    assert field.report.evidence == "sphere"
    assert "starting from a sphere" in caplog.text
    points = points_in(CUBE.center, CUBE.inside_edge, 1000)
    true = np.linalg.norm(points, axis=1) - 0.25 * CUBE.inside_edge
    assert np.allclose(values(field, points), true, atol=1e-5)
    with pytest.raises(InputError, match="depth map"):
        initial_sdf(scene, CUBE, VoxelConfig(init="depth"))


def test_progress_rises_to_the_end():
    fractions = []
    initial_sdf(
        depth_scene(around(3), sphere), CUBE, VoxelConfig(), lambda f, m="": fractions.append(f)
    )
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
