import numpy as np
import pytest

from voxterra.core.transforms import rotation_from_vector
from voxterra.georef.attitude import cam_from_enu
from voxterra.georef.upright import rotation_to_up, up_in_model


def cameras(yaws, pitch, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([cam_from_enu(y, pitch + rng.normal(), rng.normal()) for y in yaws])


LINE = np.column_stack([np.arange(12.0), np.zeros(12), np.zeros(12)])
CASES = {
    "round an object": (cameras(np.arange(0, 360, 30), -15), np.zeros((12, 3))),
    "nadir, two headings": (cameras([10, 100] * 6, -90), LINE),
    "nadir strip, flown ahead": (cameras([90] * 12, -90), LINE),
    "along facades": (cameras([0] * 12, 5), LINE),
    "straight on": (cameras([90] * 12, 0), LINE),
    "looking up in a hall": (cameras(np.arange(0, 360, 30), 40), np.zeros((12, 3))),
}


@pytest.mark.parametrize("case", CASES)
def test_up_of_usual_captures(case):
    cam_from_world, centers = CASES[case]
    world_from_model = rotation_from_vector(np.array([0.4, 2.0, -1.0]))
    noise = np.random.default_rng(1).normal(0, 0.05, centers.shape)
    found = up_in_model(cam_from_world @ world_from_model, (centers + noise) @ world_from_model)
    assert np.isclose(np.linalg.norm(found.up), 1)
    tilt = np.arccos(np.clip((world_from_model @ found.up)[2], -1, 1))
    assert tilt < np.radians(8) and tilt < 2 * found.sigma


def test_rotation_to_up():
    for up in np.random.default_rng(0).normal(0, 1, (20, 3)):
        up = up / np.linalg.norm(up)
        rotation = rotation_to_up(up)
        assert np.allclose(rotation @ up, [0, 0, 1]) and np.isclose(np.linalg.det(rotation), 1)
    facing = rotation_to_up(np.array([0.0, 0, 1]), np.array([1.0, 0, 0]))
    assert np.allclose(facing @ [1, 0, 0], [0, 1, 0])
