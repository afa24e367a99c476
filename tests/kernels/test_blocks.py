from __future__ import annotations

import numpy as np

from voxterra.kernels.fusion.blocks import (
    REACH,
    BlockTable,
    accumulate_points,
    pack_array,
    touch_blocks,
    unpack_array,
)


def test_keys_hold_coordinates_up_to_the_reach_and_sort_by_z_y_x():
    most = REACH - 1
    coords = np.array([[most, -REACH, 0], [-REACH, most, most], [0, 0, most], [5, -6, -REACH]])
    keys = pack_array(coords)
    assert (unpack_array(keys) == coords).all()
    assert (np.argsort(keys) == np.lexsort(coords.T)).all()


def test_points_beyond_the_reach_are_left_out_rather_than_wrapped():
    points = np.array([[0.5, 0.5, 0.5], [2.0 * REACH + 0.5, 0.5, 0.5], [0.5, -3.0 * REACH, np.nan]])
    keys, rows = np.full(16, -1, np.int64), np.zeros(16, np.int32)
    sums = np.zeros((8, 5), np.float32)
    ones = np.ones(3, np.float32)
    used, done = accumulate_points(
        keys, rows, sums, 0, 8, 0, points, ones[:, None].copy(), ones, 1.0
    )
    assert (used, done) == (1, 3)
    assert sums[rows[keys != -1][0], 0] == 1.0


def test_depths_beyond_the_reach_touch_no_block():
    table = BlockTable.empty(64)
    depth = np.array([[5.0, 2.0 * REACH + 5.0]], np.float32)
    rays = np.array([[0.0, 0, 0], [0, 0, 0], [0, 0, 1]])
    table.used, row = touch_blocks(
        table.keys, table.stats, 0, 64, 0, 0, depth, np.array([0.1, 0.0]), np.zeros(3), rays, 1.0, 1
    )
    assert row == 1
    found = unpack_array(table.keys[table.keys != -1])
    assert set(found[:, 2].tolist()) <= {4, 5} and table.used == len(found)
