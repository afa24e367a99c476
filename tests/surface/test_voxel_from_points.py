"""The first surface from sparse points on shapes whose distance is known everywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from voxel_shapes import (  # noqa: E402, I001
    around,
    cuboid,
    ground_and_block,
    point_scene,
    points_in,
    sphere,
)

from voxterra.errors import InputError  # noqa: E402
from voxterra.surface.voxels.config import VoxelConfig  # noqa: E402
from voxterra.surface.voxels.octree import Cube  # noqa: E402
from voxterra.surface.voxels.scene.scene import ScenePoints  # noqa: E402
from voxterra.surface.voxels.start.first_field import initial_sdf  # noqa: E402
from voxterra.surface.voxels.start import from_depth as init_depth  # noqa: E402

CUBE = Cube((0.0, 0.0, 0.0), 2.6, 5)


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    monkeypatch.setattr(init_depth, "GRID", 64)


def values(field, points):
    return field(torch.from_numpy(np.asarray(points, np.float32))).numpy()


@pytest.mark.parametrize(
    "sdf, lowest, observed",
    [(sphere, -1.0, False), (cuboid, -1.0, True), (ground_and_block, 0.4, True)],
)
def test_sides_of_a_shape(sdf, lowest, observed):
    distance = 3.0 if lowest > 0 else 4.0
    views = around(14, distance, lowest=lowest)
    scene = point_scene(views, sdf, 2500, noise=0.005, observed=observed)
    field = initial_sdf(scene, CUBE, VoxelConfig())
    assert field.report.evidence == "points"
    points = points_in(CUBE.center, CUBE.inside_edge)
    true, got = sdf(points), values(field, points)
    off = np.abs(true) > 0.05
    assert (np.sign(got) == np.sign(true))[off].mean() > 0.99
    near = np.abs(true) < 0.05
    assert np.median(np.abs(got - true)[near]) < 0.02


def test_stray_points_make_no_surface():
    scene = point_scene(around(14), sphere, 2500)
    known = scene.points
    stray = np.random.default_rng(3).uniform(-1.3, 1.3, (20, 3))
    stray = stray[sphere(stray) > 0.3]
    more = ScenePoints(np.concatenate([known.positions, stray]), known.view_start, known.point)
    field = initial_sdf(replace(scene, points=more), CUBE, VoxelConfig())
    assert (values(field, stray) > 0.02).all()
    points = points_in(CUBE.center, CUBE.inside_edge)
    off = np.abs(sphere(points)) > 0.05
    assert (np.sign(values(field, points)) == np.sign(sphere(points)))[off].mean() > 0.995


def test_points_that_are_no_numbers_are_left_out():
    scene = point_scene(around(6), sphere, 1500)
    broken = scene.points.positions.copy()
    broken[::50] = np.nan
    field = initial_sdf(
        replace(scene, points=replace(scene.points, positions=broken)), CUBE, VoxelConfig()
    )
    assert np.isfinite(values(field, points_in(CUBE.center, CUBE.inside_edge, 2000))).all()
    assert field.report.samples <= 1470


def test_too_few_points():
    scene = point_scene(around(6), sphere, 1500)
    few = ScenePoints(np.zeros((0, 3)), np.zeros(7, np.int64), np.zeros(0, np.int64))
    scene = replace(scene, points=few)
    assert initial_sdf(scene, CUBE, VoxelConfig()).report.evidence == "sphere"
    with pytest.raises(InputError, match="0 sparse points") as error:
        initial_sdf(scene, CUBE, VoxelConfig(init="points"))
    assert "--init points" in error.value.where
