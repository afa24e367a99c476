"""The octree's numbering, and what makes a model valid."""

import numpy as np
import pytest

from voxterra.core.voxels import (
    LATTICE,
    MAX_LEVEL,
    VoxelModel,
    cell_size,
    corners,
    decode_corners,
    decode_paths,
    encode_corners,
    encode_paths,
    why_no_octree,
)


def _children(path: int, level: int) -> list[tuple[int, int]]:
    return [(path | c << 3 * (MAX_LEVEL - level - 1), level + 1) for c in range(8)]


def _model(leaves: list[tuple[int, int]]) -> VoxelModel:
    leaves = sorted(leaves)
    path = np.array([p for p, _ in leaves], np.int64)
    level = np.array([lv for _, lv in leaves], np.int8)
    keys, _ = corners(path, level)
    n = len(path)
    return VoxelModel(
        np.array([1.0, 2.0, 3.0]), 4.0, 1, path, level, np.zeros(len(keys), np.float32),
        np.zeros((n, 3), np.float32), np.zeros((n, 3, 3), np.float32),
        np.ones(17, np.float32), np.zeros(3, np.float32),
    )  # fmt: skip


def test_paths_are_interleaved_coordinates():
    lattice = np.random.default_rng(0).integers(0, LATTICE, (1000, 3))
    lattice = np.concatenate([lattice, [[0, 0, 0], [LATTICE - 1] * 3]])
    path = encode_paths(lattice)
    assert (decode_paths(path) == lattice).all()
    # By hand: level 1 is the upper half of x, level 2 the upper half of y, level 16 that of z.
    by_hand = 4 << 45 | 2 << 42 | 1
    assert encode_paths(np.array([[1 << 15, 1 << 14, 1]]))[0] == by_hand


def test_path_order_is_front_to_back_for_the_first_octant():
    # A ray with positive direction meets the cells of one level in ascending path.
    lattice = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 1, 1], [1, 1, 2], [2, 2, 2]])
    assert (np.diff(encode_paths(lattice)) > 0).all()


def test_corner_keys_round_trip_and_sort_by_x():
    lattice = np.random.default_rng(1).integers(0, LATTICE + 1, (500, 3))
    key = encode_corners(lattice)
    assert (decode_corners(key) == lattice).all()
    ordered = decode_corners(np.sort(key))
    assert (np.lexsort(ordered.T[::-1]) == np.arange(len(key))).all()


def test_corners_of_two_levels_are_shared():
    first, *others = _children(0, 0)
    model = _model(others + _children(*first))
    keys, index = corners(model.path, model.level)
    assert len(keys) == len(np.unique(keys)) == 27 + 19  # 3^3 coarse; 3^3 fine, 8 of them shared
    lattice = decode_corners(keys)
    low = decode_paths(model.path)
    assert (lattice[index[:, 0]] == low).all()
    assert (lattice[index[:, 4]] == low + cell_size(model.level)[:, None] * [1, 0, 0]).all()
    assert (lattice[index[:, 1]] == low + cell_size(model.level)[:, None] * [0, 0, 1]).all()


def test_world_positions():
    model = _model(_children(0, 0))
    np.testing.assert_allclose(model.cube.main_bounds, [[-1, 0, 1], [3, 4, 5]])
    np.testing.assert_allclose(model.cube.bounds, [[-3, -2, -1], [5, 6, 7]])
    np.testing.assert_allclose(model.lower[0], [-3, -2, -1])
    np.testing.assert_allclose(model.lower[4], [1, -2, -1])  # child 4 is the upper half of x
    np.testing.assert_allclose(model.edge, 4.0)
    assert model.sh_degree == 1 and model.n_voxels == 8 and model.n_corners == 27
    assert model.why_invalid() is None


@pytest.mark.parametrize(
    ("path", "level", "reason"),
    [
        ([0, 0], [1, 1], "overlap"),
        ([0, 1 << 42], [1, 2], "overlap"),  # a parent and its child
        ([1 << 45, 0], [1, 1], "order"),
        ([1], [1], "bits"),
        ([0], [17], "levels"),
        ([1 << 48], [0], "bits"),
        ([-8], [15], "bits"),
    ],
)
def test_what_is_no_octree(path, level, reason):
    why = why_no_octree(np.array(path, np.int64), np.array(level, np.int8))
    assert why is not None and reason in why


def test_why_invalid_names_the_field():
    from dataclasses import replace

    model = _model(_children(0, 0))
    assert "sdf" in str(replace(model, sdf=np.full(27, np.nan, np.float32)).why_invalid())
    assert "26" in str(replace(model, sdf=np.zeros(26, np.float32)).why_invalid())
    assert "sh0" in str(replace(model, sh0=np.zeros((7, 3), np.float32)).why_invalid())
    assert "degree" in str(replace(model, shs=np.zeros((8, 4, 3), np.float32)).why_invalid())
    assert "extent" in str(replace(model, inside_edge=0.0).why_invalid())
