"""Thinned clouds: gaps as asked for, no holes, the same every time."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from voxterra.kernels.mesh.thin import cell_sums, merge_sums, thin_points


@pytest.mark.parametrize("shape", [(3000, 3), (500, 3)])
def test_gaps_are_kept_and_no_hole_is_left(shape):
    points = np.random.default_rng(1).uniform(-5, 5, shape) * (1, 1, 0.05)
    kept = thin_points(points, 0.4)
    tree = cKDTree(points[kept])
    assert tree.query(points[kept], k=2)[0][:, 1].min() >= 0.4
    assert tree.query(points)[0].max() < 0.4
    assert 0 < kept.sum() < len(points)


def test_points_far_enough_apart_all_stay():
    grid = np.stack(np.meshgrid(*[np.arange(6.0)] * 3), axis=-1).reshape(-1, 3)
    assert thin_points(grid, 0.99).all()
    assert thin_points(np.repeat(grid, 3, axis=0), 0.99).sum() == len(grid)


def test_it_repeats_and_knows_nothing_of_no_points():
    points = np.random.default_rng(2).normal(size=(400, 3))
    assert (thin_points(points, 0.5) == thin_points(points, 0.5)).all()
    assert (thin_points(points, 0.5) != thin_points(points, 0.5, seed=1)).any()
    assert thin_points(np.zeros((0, 3)), 1.0).shape == (0,)


def test_sums_of_cells_are_those_of_their_points():
    points = np.random.default_rng(3).uniform(-2, 2, (300, 3))
    keys, sums = cell_sums(points, 1.0)
    assert len(keys) == 64 and sums[:, 3].sum() == 300
    np.testing.assert_allclose(sums[:, :3].sum(axis=0), points.sum(axis=0))
    means = sums[:, :3] / sums[:, 3:]
    first = (points < -1).all(axis=1)
    np.testing.assert_allclose(means[0], points[first].mean(axis=0))
    halves = [cell_sums(part, 1.0) for part in (points[:100], points[100:])]
    again = merge_sums(*map(np.concatenate, zip(*halves)))
    np.testing.assert_array_equal(again[0], keys)
    np.testing.assert_allclose(again[1], sums)
