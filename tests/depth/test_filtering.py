"""Small islands of depth go, large ones and slopes stay."""

from __future__ import annotations

import numpy as np
import pytest

from voxterra.core.progress import no_progress
from voxterra.core.surface_source import SurfaceSource
from voxterra.depth.config import DepthConfig
from voxterra.depth.source import DepthInputs, DepthTask
from voxterra.depth.sparse import SparseDepth
from voxterra.depth.stereo import filtering
from voxterra.depth.stereo.filtering import remove_speckles
from voxterra.depth.stereo.level import Level
from voxterra.testing import MemoryDepthMaps, look_at


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


class Checked:
    """In place of stereo: says of each column how many photos agree, and look."""

    def check(self, index, chosen, planes, max_error_px, max_relative):
        rows = np.ones((100, 1), np.uint8)
        return rows * AGREE, rows * LOOK, planes[..., 0]


AGREE = np.repeat([0, 1, 2, 1, 2, 1], 100).astype(np.uint8)
LOOK = np.repeat([3, 3, 3, 3, 3, 1], 100).astype(np.uint8)
COST = np.repeat([0.1, 0.5, 0.5, 0.7, 0.7, 0.1], 100).astype(np.float32)


def test_one_agreeing_photo_makes_a_weak_pixel_where_nothing_better_is_known(tmp_path):
    view = look_at("a", (0, 0, 5), (0, 0, 0), width=600, height=100)
    nothing = SparseDepth(np.zeros((0, 2)), np.zeros(0), (0.0, 0.0))
    tasks = tuple(DepthTask(view, (600, 100), others, nothing) for others in ((1, 1, 1), ()))
    level = Level(tmp_path, (view, view))
    planes = np.zeros((100, 600, 3), np.float32)
    planes[..., 0] = 0.2
    level.write(0, planes, np.ones((100, 1), np.float32) * COST)
    inputs = DepthInputs(tasks, MemoryDepthMaps((view, view), [], []), (0,), tmp_path)
    found, strict = (
        filtering._filtered(0, level, inputs, Checked(), DepthConfig(keep_weak=weak))
        for weak in (True, False)
    )
    assert found.support[50, 50::100].tolist() == [0, 2, 1, 0, 0, 1]
    assert strict.support[50, 50::100].tolist() == [0, 0, 1, 0, 0, 1]
    assert np.array_equal(found.depth > 0, found.support > 0)
    measured = found.support == SurfaceSource.MEASURED
    assert np.array_equal(found.depth * measured, strict.depth)
    assert found.confidence[50, 150] == pytest.approx(0.3 * 0.5 * 0.4)


def test_planes_go_when_no_later_photo_is_checked_against_them(tmp_path, monkeypatch):
    views = tuple(look_at(str(i), (i, 0, 5), (i, 0, 0), width=8, height=8) for i in range(5))
    nothing = SparseDepth(np.zeros((0, 2)), np.zeros(0), (0.0, 0.0))
    neighbours = [(1,), (0,), (1, 3), (4,), ()]
    tasks = tuple(DepthTask(v, (8, 8), n, nothing) for v, n in zip(views, neighbours))
    level = Level(tmp_path, views)
    for i in range(5):
        level.write(i, np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.float32))
    inputs = DepthInputs(tasks, MemoryDepthMaps(views, [], []), (0, 1, 2, 3, 4), tmp_path)
    monkeypatch.setattr(filtering, "_filtered", lambda i, *_: i)
    left = {
        i: [j for j in range(5) if level.path(j).exists()]
        for i, _ in filtering.filter_depth_maps(
            level, inputs, DepthConfig(device="cpu"), no_progress
        )
    }
    everything = [0, 1, 2, 3, 4]
    assert left == {0: everything, 1: everything, 2: everything[1:], 3: [3, 4], 4: [4]}
    assert not list(tmp_path.iterdir())
