"""Small islands of depth go, large ones and slopes stay."""

from __future__ import annotations

import numpy as np

from voxterra.depth.stereo.filtering import remove_speckles


def test_islands_go_and_slopes_stay():
    depth = np.tile(np.linspace(10, 30, 200, dtype=np.float32), (100, 1))  # 0.5 % a pixel
    depth[40:44, 50:54] = 12.0  # 16 px at another depth
    depth[60:80, 100:130] = 5.0  # 600 px at another depth
    before = depth.copy()
    remove_speckles(depth, 0.01)
    assert (depth[40:44, 50:54] == 0).all()
    assert (depth[60:80, 100:130] == 5.0).all()
    rest = np.ones(depth.shape, bool)
    rest[40:44, 50:54] = False
    assert np.array_equal(depth[rest], before[rest])


def test_nothing_known_stays_nothing_known():
    depth = np.zeros((20, 20), np.float32)
    remove_speckles(depth, 0.01)
    assert not depth.any()
