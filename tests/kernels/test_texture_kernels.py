from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from voxterra.kernels.raster.texture_atlas import dilate, pack_skyline
from voxterra.kernels.raster.texture_labels import best_beliefs, send_messages, sweep


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=60),
    st.integers(40, 100),
)
@settings(max_examples=80, deadline=None)
def test_packed_rectangles_do_not_overlap(sizes, width):
    size = np.array(sorted(sizes, key=lambda s: -s[1]), np.int64)
    place, height = pack_skyline(size, width)
    taken = np.zeros((height, width), int)
    for (column, row), (w, h) in zip(place, size):
        assert column >= 0 and column + w <= width and row >= 0 and row + h <= height
        taken[row : row + h, column : column + w] += 1
    assert taken.max() == 1


def test_packing_wastes_little():
    size = np.random.default_rng(0).integers(8, 60, (2000, 2))
    size = np.ascontiguousarray(size[np.argsort(-size[:, 1])])
    _, height = pack_skyline(size, 1500)
    assert size.prod(1).sum() / (1500 * height) > 0.9


def test_dilation_grows_by_its_steps_with_the_neighbours_colour():
    image, covered = np.zeros((21, 21, 3), np.uint8), np.zeros((21, 21), np.uint8)
    image[10, 10], covered[10, 10] = (200, 100, 50), 1
    dilate(image, covered, 3)
    expected = np.zeros((21, 21), bool)
    expected[7:14, 7:14] = True
    assert np.array_equal(covered > 0, expected)
    assert (image[expected] == (200, 100, 50)).all() and (image[~expected] == 0).all()


def test_labels_on_a_chain_reach_the_least_energy():
    """Belief propagation is exact on a chain; brute force over all labellings says the same."""
    rng, count = np.random.default_rng(3), 8
    view = np.tile(np.arange(2, dtype=np.int32), (count, 1))
    neighbour = np.full((count, 3), -1, np.int32)
    side = np.zeros((count, 3), np.int32)
    neighbour[1:, 0], side[1:, 0] = np.arange(count - 1), 1
    neighbour[:-1, 1], side[:-1, 1] = np.arange(1, count), 0
    seam = np.full((count, 3), 0.7, np.float32)
    for _ in range(5):
        cost = rng.uniform(0, 2, (count, 2)).astype(np.float32)
        messages = np.zeros((count, 3, 2), np.float32)
        sent = messages.copy()
        for _ in range(60):
            send_messages(view, cost, neighbour, side, seam, messages, sent)
            messages, sent = sent, messages
        labels = best_beliefs(view, cost, messages)
        every = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        energy = cost[np.arange(count), every].sum(1) + 0.7 * (np.diff(every, axis=1) != 0).sum(1)
        assert np.array_equal(labels, every[energy.argmin()])
        assert sweep(view, cost, neighbour, seam, labels) == 0
