"""The octree: Morton paths, shared corners, their lists, and the front-to-back orders."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from voxterra.surface.voxels.octree import (  # noqa: E402
    LATTICE,
    MAX_LEVEL,
    Cube,
    make_octree,
    uniform,
)

CUBE = Cube((0.3, -0.7, 1.9), 1.5, 2)


def mixed(seed=0, base=2, rounds=3):
    """Leaves of several levels, some missing; plain Python, apart from the code under test."""
    rng = np.random.default_rng(seed)
    leaves = [(a, b, c, base) for a, b, c in itertools.product(range(2**base), repeat=3)]
    for _ in range(rounds):
        chosen = rng.random(len(leaves))
        leaves = [
            leaf
            for (x, y, z, level), p in zip(leaves, chosen)
            for leaf in (
                [(x, y, z, level)]
                if p < 0.7
                else []
                if p < 0.75
                else [
                    (2 * x + i, 2 * y + j, 2 * z + k, level + 1)
                    for i, j, k in itertools.product((0, 1), repeat=3)
                ]
            )
        ]
    rng.shuffle(leaves)
    cells = np.array(leaves)
    paths = []
    for x, y, z, level in leaves:
        path = 0
        for bit in range(level - 1, -1, -1):
            path = path << 3 | (x >> bit & 1) << 2 | (y >> bit & 1) << 1 | (z >> bit & 1)
        paths.append(path << 3 * (MAX_LEVEL - level))
    octree = make_octree(CUBE, torch.tensor(paths), torch.tensor(cells[:, 3]))
    order = np.argsort(paths)
    scale = 2 ** (MAX_LEVEL - cells[order, 3])
    return octree, cells[order, :3] * scale[:, None], scale


def test_leaves_lie_where_their_paths_say():
    octree, lower, scale = mixed()
    assert torch.all(octree.path[1:] > octree.path[:-1])
    world = np.array(CUBE.center) - CUBE.edge / 2 + lower * CUBE.unit
    np.testing.assert_array_equal(octree.lo_size[:, :3].numpy(), world.astype(np.float32))
    np.testing.assert_allclose(octree.lo_size[:, 3].numpy(), scale * CUBE.unit, rtol=1e-7)


def test_corners_are_shared_and_listed():
    octree, lower, scale = mixed(1)
    steps = np.array(list(itertools.product((0, 1), repeat=3)))
    corners = lower[:, None] + steps[None] * scale[:, None, None]
    keys = (corners[..., 0] << 34) | (corners[..., 1] << 17) | corners[..., 2]
    expected, index = np.unique(keys, return_inverse=True)
    np.testing.assert_array_equal(octree.corner_key.numpy(), expected)
    np.testing.assert_array_equal(octree.corner_index.numpy(), index.reshape(-1, 8))
    start, slot = octree.corner_start.numpy(), octree.corner_slot.numpy()
    assert start[0] == 0 and start[-1] == 8 * octree.count and len(start) == len(expected) + 1
    flat = octree.corner_index.flatten().numpy()
    np.testing.assert_array_equal(flat[slot], np.repeat(np.arange(len(expected)), np.diff(start)))
    np.testing.assert_array_equal(slot, np.argsort(flat, kind="stable"))


@pytest.mark.parametrize("octant", range(8))
def test_rank_order_is_front_to_back(octant):
    octree, lower, scale = mixed(2)
    order = octree.rank_order[octant].numpy()
    np.testing.assert_array_equal(np.sort(order), np.arange(octree.count))
    rank = np.empty_like(order)
    rank[order] = np.arange(octree.count)
    rng = np.random.default_rng(octant)
    sign = np.array([-1.0 if octant >> bit & 1 else 1.0 for bit in (2, 1, 0)])
    high = lower + scale[:, None]
    crossed = 0
    for _ in range(60):
        direction = sign * rng.uniform(0.05, 1, 3)
        origin = rng.uniform(0, LATTICE, 3) - direction * 3 * LATTICE
        a, b = (lower - origin) / direction, (high - origin) / direction
        t0, t1 = np.minimum(a, b).max(1), np.maximum(a, b).min(1)
        hit = np.nonzero(t1 > t0 + 1e-6)[0]
        along = hit[np.argsort(t0[hit])]
        assert np.all(np.diff(rank[along]) > 0)
        crossed += len(hit)
    assert crossed > 200


def test_uniform_has_the_corners_of_a_grid():
    octree = uniform(CUBE, 3)
    assert (octree.count, octree.corner_count) == (512, 729)
    assert uniform(CUBE, 0).corner_count == 8


def test_leaves_that_are_none_are_refused():
    step = 1 << 3 * (MAX_LEVEL - 1)
    for path, level in [([], []), ([1], [1]), ([0], [17]), ([0, step], [0, 1]), ([0, 0], [1, 1])]:
        with pytest.raises(ValueError):
            make_octree(CUBE, torch.tensor(path, dtype=torch.int64), torch.tensor(level))
    with pytest.raises(ValueError):
        Cube((0, 0, 0), -1.0, 0)
