"""Footprints on level ground."""

import numpy as np

from voxterra.core.footprint import footprint
from voxterra.testing import look_at


def test_footprint_of_a_tilted_photo_and_of_one_at_the_horizon() -> None:
    ground = np.column_stack([np.random.default_rng(0).uniform(-50, 50, (500, 2)), np.zeros(500)])
    corners = footprint(look_at("a", (0, -10, 30), (0, 0, 0)), ground)
    assert corners is not None
    np.testing.assert_allclose(corners[:, 2], 0, atol=1e-9)
    assert corners[0, 1] > 10 and corners[3, 1] < -10  # the picture's top looks farther north
    assert corners[0, 0] < corners[1, 0]
    assert footprint(look_at("b", (0, -40, 2), (0, 40, 2)), ground) is None
