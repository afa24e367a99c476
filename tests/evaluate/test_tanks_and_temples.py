"""Tanks and Temples' protocol on shapes whose precision and recall are known."""

import numpy as np
import pytest
import trimesh
from benchmark_files import joined, plate
from scipy.spatial.transform import Rotation

from voxterra.core.transforms import Similarity
from voxterra.errors import InputError
from voxterra.evaluate.geometry import Geometry
from voxterra.evaluate.tanks_and_temples import (
    THRESHOLDS,
    published_from_world,
    score_tanks,
)
from voxterra.io.truth.cameras import PosedCameras
from voxterra.io.truth.tanks_and_temples import CropVolume, TanksTruth

TAU = 0.02
Z = TAU / 4  # in the middle of a cell


def volume(low=(-0.5, -0.5), high=(2.5, 1.5), ends=(-1.0, 1.0)):
    (x0, y0), (x1, y1) = low, high
    polygon = np.array([[x0, y0, 0], [x1, y0, 0], [x1, y1, 0], [x0, y1, 0]], float)
    return CropVolume(polygon, "Z", *ends)


def truth_of(points, of=None, transform=None):
    return TanksTruth(points, of or volume(), transform or Similarity.identity(), None)


def plate_points():
    """2 by 1, three points a cell of TAU / 2 in each direction."""
    x, y = (np.arange(0.0, size, TAU / 6) + TAU / 12 for size in (2.0, 1.0))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return np.column_stack([grid, np.full(len(grid), Z)])


def at(part, z):
    return part[0] + (0, 0, z), part[1]


def test_a_partly_missing_shape_with_a_floater():
    # Three quarters are there; a sixth of what is there hangs in the air (0.3 of 1.8).
    there = plate((0, 0), (1.5, 1), z=Z, step=0.1)
    floater = plate((0, 0), (0.3, 1), z=0.3 + Z, step=0.1)
    score = score_tanks(Geometry(*joined(there, floater)), truth_of(plate_points()), TAU)
    unrefined = score_tanks(
        Geometry(*joined(there, floater)), truth_of(plate_points()), TAU, refine=False
    )
    for s in (score, unrefined):
        assert s.precision == pytest.approx(1.5 / 1.8, abs=0.005)
        assert s.recall == pytest.approx((1.5 + TAU) / 2.0, abs=0.006)
        assert s.f1 == pytest.approx(2 * s.precision * s.recall / (s.precision + s.recall))
    assert score.truth_from_world.scale == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize(("offset", "expected"), [(0.8 * TAU, 1.0), (1.2 * TAU, 0.0)])
def test_the_threshold_parts_right_from_wrong(offset, expected):
    moved = Geometry(*at(plate((0, 0), (2, 1), step=0.1), Z + offset))
    score = score_tanks(moved, truth_of(plate_points()), TAU, refine=False)
    assert score.precision == pytest.approx(expected, abs=1e-3)
    assert score.recall == pytest.approx(expected, abs=1e-3)
    assert score.f1 == pytest.approx(expected, abs=1e-3)


def test_both_sides_are_cropped():
    # Wrong beyond x = 1, on both sides; the volume ends there.
    right, wrong = plate((0, 0), (1, 1), step=0.1), plate((1, 0), (2, 1), z=0.5, step=0.1)
    result = Geometry(*joined(right, wrong))
    cropped = truth_of(plate_points(), volume(high=(0.995, 1.5)))
    assert score_tanks(result, cropped, TAU, refine=False).f1 == pytest.approx(1.0, abs=1e-3)
    whole = score_tanks(result, truth_of(plate_points()), TAU, refine=False)
    assert whole.precision == pytest.approx(0.5, abs=0.005)
    low = truth_of(plate_points(), volume(ends=(-1.0, 0.4)))
    assert score_tanks(result, low, TAU, refine=False).precision == pytest.approx(1.0, abs=1e-3)


def test_dense_parts_weigh_no_more_than_others():
    rng = np.random.default_rng(0)
    few = np.column_stack([rng.uniform(0, 1, (40_000, 2)), np.zeros(40_000)])
    many = np.column_stack([1 + rng.uniform(0, 1, (400_000, 2)) * (1, 1), np.full(400_000, 0.3)])
    many[:, 1] -= 1
    cloud = Geometry(np.vstack([few, many]), None)
    score = score_tanks(cloud, truth_of(plate_points()), TAU, refine=False)
    assert score.precision == pytest.approx(0.5, abs=0.01)


def shape():
    ring = trimesh.creation.torus(0.6, 0.2, major_sections=64, minor_sections=32)
    box = trimesh.creation.box((0.5, 0.3, 0.9))
    box.apply_translation([0.7, 0.4, 0.1])
    both = trimesh.util.concatenate([ring, box])
    return np.asarray(both.vertices), np.asarray(both.faces, np.int32)


def test_alignment_is_given_and_refined():
    vertices, faces = shape()
    points = trimesh.Trimesh(vertices, faces).sample(100_000, seed=0)
    around = volume((-2, -2), (2, 2), (-2, 2))
    turn = Rotation.from_rotvec([0.2, -1.0, 0.4]).as_matrix()
    given = Similarity(3.0, turn, np.array([0.3, -0.2, 0.1]))
    disturb = Similarity(
        1.02, Rotation.from_rotvec([0.02, 0.03, -0.02]).as_matrix(), np.array([0.03, -0.02, 0.04])
    )
    around_truth = truth_of(points, around, given)
    exact = Geometry(given.inverse().apply(vertices), faces)
    off = Geometry(given.inverse().apply(disturb.apply(vertices)), faces)
    assert score_tanks(exact, around_truth, TAU, refine=False).f1 > 0.999
    assert score_tanks(off, around_truth, TAU, refine=False).f1 < 0.7
    refined = score_tanks(off, around_truth, TAU)
    assert refined.f1 > 0.999
    expected = given.compose(given.inverse().compose(disturb.inverse()).compose(given))
    np.testing.assert_allclose(
        refined.truth_from_world.apply(off.vertices), expected.apply(off.vertices), atol=TAU / 4
    )
    own_world = Similarity(0.1, Rotation.from_rotvec([1.0, 2.0, 3.0]).as_matrix(), np.ones(3))
    moved = exact.moved(own_world)
    there = score_tanks(moved, around_truth, TAU, own_world.inverse(), refine=False)
    assert there.f1 > 0.999


def posed(names, centers):
    poses = np.tile(np.eye(3, 4), (len(centers), 1, 1))
    poses[:, :, 3] = -np.asarray(centers)
    return PosedCameras(tuple(names), poses, (None,) * len(centers))


def test_cameras_bring_a_result_to_the_published_world():
    rng = np.random.default_rng(4)
    names = [f"{i + 1:06d}.jpg" for i in range(12)]
    world = rng.normal(size=(12, 3))
    expected = Similarity(2.0, Rotation.from_rotvec([1, 0.5, 0]).as_matrix(), np.array([5, 6, 7]))
    published = expected.apply(world)
    published[3] += 40.0  # one camera that went wrong
    shuffled = rng.permutation(12)
    ours = posed([f"images/{names[i]}" for i in shuffled], world[shuffled])
    fit = published_from_world(ours, posed(names, published))
    np.testing.assert_allclose(fit.matrix(), expected.matrix(), atol=1e-9)
    with pytest.raises(InputError, match="Only 0 photos"):
        published_from_world(posed(["a", "b", "c"], world[:3]), posed(names, published))
    with pytest.raises(InputError, match="COLMAP_SfM"):
        published_from_world(ours, None)


def test_nothing_to_score_is_said():
    truth = truth_of(plate_points())
    away = Geometry(*at(plate((0, 0), (2, 1), step=0.5), 5.0))
    with pytest.raises(InputError, match="crop volume") as error:
        score_tanks(away, truth, TAU)
    assert "--cameras" in error.value.next_step
    with pytest.raises(InputError, match="point of the truth"):
        score_tanks(away, truth_of(plate_points() + 100), TAU)


def test_thresholds_are_those_of_the_paper():
    assert THRESHOLDS["Ignatius"] == 0.003
    assert THRESHOLDS["Caterpillar"] == THRESHOLDS["Truck"] == 0.005
    assert THRESHOLDS["Barn"] == THRESHOLDS["Meetingroom"] == 0.01
    assert THRESHOLDS["Courthouse"] == THRESHOLDS["Church"] == 0.025
