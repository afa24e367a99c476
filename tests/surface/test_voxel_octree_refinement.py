"""Queries, splits, transfers and stencils of an octree, on random octrees and linear fields."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from voxterra.core.morton import coordinates_of, lattice_of  # noqa: E402
from voxterra.surface.voxels.octree import (  # noqa: E402
    LATTICE,
    MAX_LEVEL,
    Cube,
    corner_edge,
    corner_positions,
    differences,
    interpolate,
    keep,
    locate,
    make_octree,
    split,
    stencils,
    transfer_corners,
    uniform,
)

CUBE = Cube((0.3, -0.7, 1.9), 1.5, 2)
seeds = settings(max_examples=12, deadline=None)


@pytest.fixture(autouse=True)
def one_thread():
    """Torch's threads wait for each other on a busy machine, for tensors this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_octree(seed, base=2, rounds=3, drop=0.1, cube=CUBE):
    generator = torch.Generator().manual_seed(seed)
    octree = uniform(cube, base)
    for _ in range(rounds):
        octree, _ = split(octree, torch.rand(octree.count, generator=generator) < 0.25)
        octree, _ = keep(octree, torch.rand(octree.count, generator=generator) >= drop)
    return octree, generator


def points_in(octree, generator, per_leaf=3):
    unit = torch.rand((octree.count, per_leaf, 3), generator=generator, dtype=torch.float64)
    lower = torch.stack(lattice_of(octree.path), -1).double()
    edge = 2.0 ** (MAX_LEVEL - octree.level.double())
    place = lower[:, None] + (0.02 + 0.96 * unit) * edge[:, None, None]
    points = place * CUBE.unit + torch.tensor(CUBE.origin, dtype=torch.float64)
    return points.reshape(-1, 3), torch.arange(octree.count).repeat_interleave(per_leaf)


def linear(points):
    return points.double() @ torch.tensor([0.4, -0.7, 0.59], dtype=torch.float64) + 0.21


@seeds
@given(st.integers(0, 2**31))
def test_locate_finds_the_leaf_and_no_other(seed):
    octree, generator = random_octree(seed)
    points, leaf = points_in(octree, generator)
    assert torch.equal(locate(octree, points), leaf)
    assert torch.equal(locate(octree, points.float()), leaf)
    kept = torch.rand(octree.count, generator=generator) < 0.5
    rest, old_of = keep(octree, kept)
    expected = torch.full((octree.count,), -1)
    expected[old_of] = torch.arange(rest.count)
    assert torch.equal(locate(rest, points), expected[leaf])


def test_locate_at_the_borders_of_the_root():
    octree = uniform(CUBE, 2)
    low = torch.tensor(CUBE.origin, dtype=torch.float64)
    points = torch.stack([low, low + CUBE.edge, low - 1e-6, low + CUBE.edge * 1.001, low * np.nan])
    assert locate(octree, points).tolist() == [0, 63, -1, -1, -1]
    assert locate(octree, points[:0]).shape == (0,)


@seeds
@given(st.integers(0, 2**31))
def test_linear_fields_are_interpolated_exactly(seed):
    octree, generator = random_octree(seed)
    sdf = linear(corner_positions(octree))
    points, _ = points_in(octree, generator)
    torch.testing.assert_close(
        interpolate(octree, sdf, points), linear(points), atol=2e-6, rtol=0
    )  # the float32 corner positions' rounding
    both = interpolate(octree, torch.stack([sdf, -2 * sdf], 1).float(), points)
    assert both.dtype == torch.float32
    torch.testing.assert_close(both[:, 1], -2 * both[:, 0])
    assert interpolate(octree, sdf, torch.full((2, 3), 1e3)).isnan().all()


@seeds
@given(st.integers(0, 2**31))
def test_a_split_leaves_the_field_as_it_was(seed):
    octree, generator = random_octree(seed)
    # Random values: with hanging corners, so the field jumps between levels.
    sdf = torch.randn(octree.corner_count, generator=generator, dtype=torch.float64)
    mask = torch.rand(octree.count, generator=generator) < 0.4
    finer, parent = split(octree, mask)
    moved = transfer_corners(octree, sdf, finer)
    assert not moved.isnan().any()
    points, leaf = points_in(octree, generator)
    child = locate(finer, points)
    assert torch.equal(parent[child], leaf)
    # Children that read a corner which hung on their parent follow it instead.
    keys = finer.corner_key[finer.corner_index.long()]
    of_parent = octree.corner_key[octree.corner_index.long()][parent]
    hung = torch.isin(keys, octree.corner_key)
    hung &= ~(keys[:, :, None] == of_parent[:, None]).any(dim=2)
    same = ~(hung & mask[parent][:, None]).any(dim=1)[child]
    assert same.float().mean() > 0.7
    after, before = interpolate(finer, moved, points), interpolate(octree, sdf, points)
    torch.testing.assert_close(after[same], before[same])
    assert finer.count == octree.count + 7 * int(mask.sum())
    assert torch.equal(finer.level, octree.level[parent] + mask[parent].to(torch.int8))
    made = make_octree(CUBE, finer.path.flip(0), finer.level.flip(0))
    assert torch.equal(made.path, finer.path)
    # Corners that existed keep their values to the last bit, and their moments.
    old = torch.isin(finer.corner_key, octree.corner_key)
    assert torch.equal(moved[old], sdf[torch.isin(octree.corner_key, finer.corner_key)])
    both = transfer_corners(octree, torch.stack([sdf, sdf], 1), finer)
    assert torch.equal(both[:, 1], moved)


@seeds
@given(st.integers(0, 2**31))
def test_keeping_the_unsplit_leaves_undoes_a_split(seed):
    octree, generator = random_octree(seed)
    mask = torch.rand(octree.count, generator=generator) < 0.4
    finer, parent = split(octree, mask)
    rest, old_of = keep(finer, ~mask[parent])
    same, _ = keep(octree, ~mask)
    for name in ("path", "level", "corner_key", "corner_index", "lo_size", "rank_order"):
        assert torch.equal(getattr(rest, name), getattr(same, name)), name
    assert torch.equal(octree.path[parent[old_of]], rest.path)


def test_the_finest_level_is_not_split():
    octree = make_octree(CUBE, torch.tensor([0, 1]), torch.tensor([16, 16]))
    same, parent = split(octree, torch.ones(2, dtype=torch.bool))
    assert same.count == 2 and parent.tolist() == [0, 1]
    with pytest.raises(ValueError):
        keep(octree, torch.zeros(2, dtype=torch.bool))


def test_new_corners_where_no_leaf_was():
    octree, _ = keep(uniform(CUBE, 1), torch.arange(8) == 0)
    values = torch.ones(8)
    moved = transfer_corners(octree, values, uniform(CUBE, 1))
    assert int(moved.isnan().sum()) == 27 - 8
    assert transfer_corners(octree, values, uniform(CUBE, 1), missing=9.0).sum() == 8 + 9 * 19


def test_corner_edge_is_that_of_the_smallest_leaf():
    octree, _ = random_octree(5)
    expected = [
        octree.lo_size[octree.corner_slot[a:b] // 8, 3].min().item()
        for a, b in itertools.pairwise(octree.corner_start.tolist())
    ]
    assert corner_edge(octree).tolist() == expected


def brute_stencils(octree, first):
    """{(level, corner): six neighbours} in plain Python."""
    xyz = np.stack([c.numpy() for c in coordinates_of(octree.corner_key)], 1)
    number = {tuple(p): i for i, p in enumerate(xyz.tolist())}
    lower = np.stack([c.numpy() for c in lattice_of(octree.path)], 1)
    low, high = octree.cube.inside
    rows = {}
    for level in range(octree.cube.outside_level + first, int(octree.level.max()) + 1):
        step = 2 ** (MAX_LEVEL - level)
        cells = {tuple(c) for c in (lower[octree.level.numpy() >= level] // step).tolist()}
        points = {
            tuple((a + b) * step for a, b in zip(cell, bits))
            for cell in cells
            for bits in itertools.product((0, 1), repeat=3)
        }
        for p in points:
            if p not in number or min(p) < low or max(p) > high:
                continue
            around = []
            for axis, side in itertools.product(range(3), (-step, step)):
                q = list(p)
                q[axis] += side
                around.append(number.get(tuple(q), -1))
            if any(min(around[2 * i : 2 * i + 2]) >= 0 for i in range(3)):
                rows[level, number[p]] = around
    return rows


@pytest.mark.parametrize("outside", [0, 1])
def test_stencils_are_those_of_a_plain_search(outside, monkeypatch):
    octree, _ = random_octree(3, base=2, rounds=4, cube=Cube((0, 0, 0), 2.0, outside))
    expected = brute_stencils(octree, 1)
    monkeypatch.setattr(differences, "_LOOKED_UP_TOGETHER", 7)
    found = stencils(octree, first_level=1)
    level = torch.log2(octree.cube.edge / found.h).round().int().tolist()
    rows = {(a, r[0]): r[1:] for a, r in zip(level, found.rows.tolist())}
    assert rows == expected and len(rows) == len(found.rows) > 100
    assert len(stencils(uniform(CUBE, 1)).rows) == 0


def test_a_linear_field_has_its_gradient_on_every_level():
    octree, _ = random_octree(4, rounds=4, drop=0.0, cube=Cube((0.1, 0.2, 0.3), 2.0, 0))
    sdf = linear(corner_positions(octree))
    found = stencils(octree, first_level=0)
    whole = (found.rows >= 0).all(1)
    assert 50 < whole.sum() < len(whole) and found.h[whole].unique().numel() >= 3
    values, h = sdf[found.rows[whole].long()], found.h[whole].double()
    gradient = torch.stack(
        [(values[:, 2 * i + 2] - values[:, 2 * i + 1]) / (2 * h) for i in (0, 1, 2)]
    )
    expected = torch.tensor([[0.4], [-0.7], [0.59]], dtype=torch.float64).expand_as(gradient)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_cuda_gives_the_same_octree():
    octree, generator = random_octree(7)
    mask = torch.rand(octree.count, generator=generator) < 0.4
    sdf = torch.randn(octree.corner_count, generator=generator)
    points, _ = points_in(octree, generator)
    results = []
    for device in ("cpu", "cuda"):
        finer, parent = split(octree.to(device), mask.to(device))
        moved = transfer_corners(octree.to(device), sdf.to(device), finer)
        rows = stencils(finer, first_level=0)
        leaf = locate(finer, points.to(device))
        names = ("path", "corner_key", "corner_index", "lo_size", "corner_slot", "rank_order")
        results.append(
            [getattr(finer, name).cpu() for name in names]
            + [t.cpu() for t in (parent, moved, rows.rows, rows.h, leaf, corner_edge(finer))]
        )
    for a, b in zip(*results):
        assert torch.equal(a, b)


def test_lattice_is_not_left_by_large_octrees():
    octree = make_octree(CUBE, torch.tensor([(1 << 48) - 1]), torch.tensor([16]))
    assert [int(c.max()) for c in coordinates_of(octree.corner_key)] == [LATTICE] * 3
