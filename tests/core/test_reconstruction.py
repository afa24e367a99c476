"""Who sees which points."""

from __future__ import annotations

import numpy as np

from voxterra.core.reconstruction import SparsePoints


def test_points_of_each_image_ascend_and_come_once() -> None:
    rng = np.random.default_rng(0)
    count = rng.integers(0, 6, 300)
    track_image = rng.integers(0, 12, count.sum()).astype(np.int32)  # some twice in one track
    points = SparsePoints(
        np.zeros((300, 3)),
        np.zeros((300, 3), np.uint8),
        np.zeros(300),
        np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
        track_image,
        np.zeros((len(track_image), 2)),
    )
    point = np.repeat(np.arange(300), count)
    for image in range(14):  # the last two see nothing
        assert np.array_equal(points.observed_by(image), np.unique(point[track_image == image]))
