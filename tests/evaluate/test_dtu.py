"""DTU's protocol on shapes whose distances are known."""

import numpy as np
import pytest
from benchmark_files import joined, plate, sphere, sphere_points

from voxterra.errors import InputError
from voxterra.evaluate import geometry
from voxterra.evaluate.dtu import score_dtu
from voxterra.evaluate.geometry import Geometry
from voxterra.io.truth.dtu import DtuTruth

EVERYWHERE = np.array([0.0, 0.0, 0.0, 1.0])


def truth_of(points, plane=EVERYWHERE, observed=None, resolution=1.0):
    low = np.array([-30.0, -30.0, -30.0])
    if observed is None:
        observed = np.ones((61, 61, 61), bool)
    high = low + resolution * (np.array(observed.shape) - 1)
    return DtuTruth(points, observed, low, high, resolution, np.asarray(plane, float))


@pytest.mark.parametrize("offset", [1.0, -0.5])
def test_a_sphere_of_another_radius_is_off_by_the_difference(offset):
    truth = truth_of(sphere_points(8.0, 0.1))
    score = score_dtu(Geometry(*sphere(8.0 + offset, subdivisions=5)), truth)
    figures = score.to_dict()
    # Points against points, 0.1 and 0.2 apart: a little more than surface against surface.
    assert figures["accuracy_mm"] == pytest.approx(abs(offset), abs=0.01)
    assert figures["completeness_mm"] == pytest.approx(abs(offset), abs=0.02)
    assert figures["overall_mm"] == pytest.approx(
        (figures["accuracy_mm"] + figures["completeness_mm"]) / 2
    )
    assert figures["result_outliers"] == figures["truth_outliers"] == 0


def test_the_true_surface_is_as_good_as_its_sampling():
    figures = score_dtu(
        Geometry(*sphere(8.0, subdivisions=5)), truth_of(sphere_points(8.0, 0.1))
    ).to_dict()
    assert figures["accuracy_mm"] < 0.06 and figures["completeness_mm"] < 0.12


def test_points_of_the_result_are_0_2_mm_apart_whatever_its_faces():
    """Half of a plate is fine and off by 1, half is coarse and right: each weighs a half."""
    fine, coarse = plate((-10, -10), (0, 10), z=1.0, step=0.25), plate((0, -10), (10, 10), step=5)
    truth = truth_of(plate((-10.0, -10.0), (10.0, 10.0), step=0.1)[0])
    score = score_dtu(Geometry(*joined(fine, coarse)), truth)
    assert score.to_truth.mean() == pytest.approx(0.5, abs=0.05)
    assert (score.to_truth > 0.9).mean() == pytest.approx(0.5, abs=0.01)
    # Disks of 0.1 about points 0.2 apart: a random packing covers up to 0.547 of the plane.
    covered = len(score.to_truth) * np.pi * 0.1**2 / 400.0
    assert 0.42 < covered < 0.55


def test_a_face_larger_than_a_block_is_spread_in_blocks(monkeypatch):
    monkeypatch.setattr(geometry, "_BLOCK_POINTS", 1000)
    corners = np.array([[0.0, 0, 0], [100, 0, 0], [0, 50, 0], [0, 51, 0]])
    mesh = Geometry(corners, np.array([[0, 1, 2], [1, 2, 3]], np.int32))
    blocks = list(geometry.spread(mesh, 1.0))
    assert max(map(len, blocks)) <= 1000 and 2550 <= sum(map(len, blocks)) <= 2552
    points = np.concatenate(blocks)
    assert len(np.unique(points, axis=0)) == len(points)
    np.testing.assert_allclose(points.mean(axis=0), [33.3, 17.0, 0], atol=1.0)


def test_only_the_observed_volume_counts_for_accuracy():
    plane_points = plate((-10.0, -10.0), (10.0, 10.0), step=0.1)[0]
    wrong_on_the_left = joined(plate((-10, -10), (0, 10), z=2.0), plate((0, -10), (10, 10)))
    right = np.zeros((61, 61, 61), bool)
    right[31:] = True  # x from 0.5 on
    everywhere = score_dtu(Geometry(*wrong_on_the_left), truth_of(plane_points)).to_dict()
    restricted = score_dtu(
        Geometry(*wrong_on_the_left), truth_of(plane_points, observed=right)
    ).to_dict()
    assert everywhere["accuracy_mm"] == pytest.approx(1.0, abs=0.06)
    assert restricted["accuracy_mm"] < 0.06
    assert restricted["result_points"] == pytest.approx(everywhere["result_points"] / 2, rel=0.06)
    assert restricted["completeness_mm"] == everywhere["completeness_mm"]


def test_only_the_truth_above_the_plane_counts_for_completeness():
    table = plate((-20.0, -20.0), (20.0, 20.0), z=-5.0, step=0.4)[0]
    thing = plate((-10.0, -10.0), (10.0, 10.0), z=5.0, step=0.4)[0]
    result = Geometry(*plate((-10, -10), (10, 10), z=5.5))
    all_of_it = score_dtu(result, truth_of(np.vstack([table, thing])))
    above = score_dtu(result, truth_of(np.vstack([table, thing]), plane=(0, 0, 1, 0)))
    assert len(all_of_it.to_result) == len(table) + len(thing)
    assert len(above.to_result) == len(thing)
    assert above.to_dict()["completeness_mm"] == pytest.approx(0.5, abs=0.02)
    assert all_of_it.to_dict()["completeness_mm"] > 5
    # The table still is truth for what the result has there.
    assert above.to_dict()["accuracy_mm"] == all_of_it.to_dict()["accuracy_mm"]


def test_outliers_count_in_no_mean_but_are_told():
    points = plate((-10.0, -10.0), (10.0, 10.0), step=0.2)[0]
    floater = plate((-10, -10), (0, 10), z=25.0)
    good = plate((-10, -10), (10, 10), z=1.0)
    figures = score_dtu(Geometry(*joined(good, floater)), truth_of(points)).to_dict()
    assert figures["accuracy_mm"] == pytest.approx(1.0, abs=0.01)
    assert figures["result_outliers"] == pytest.approx(1 / 3, abs=0.01)
    near = score_dtu(Geometry(*joined(good, floater)), truth_of(points), limit_mm=30.0).to_dict()
    assert near["accuracy_mm"] == pytest.approx((2 * 1 + 25) / 3, abs=0.3)
    assert near["result_outliers"] == 0


def test_what_is_missing_costs_completeness_alone():
    points = plate((0.0, 0.0), (20.0, 10.0), step=0.2)[0]
    figures = score_dtu(Geometry(*plate((0, 0), (10, 10))), truth_of(points)).to_dict()
    assert figures["accuracy_mm"] < 0.1
    # Half is there, up to the gaps of its points; over the other half it goes evenly from 0 to 10.
    assert figures["completeness_mm"] == pytest.approx(2.5, abs=0.15)


def test_clouds_are_scored_as_by_hand():
    rng = np.random.default_rng(0)
    truth, result = rng.uniform(-3, 3, (200, 3)), rng.uniform(-3, 3, (150, 3))
    score = score_dtu(Geometry(result, None), truth_of(truth), gap_mm=1e-6)
    between = np.linalg.norm(truth[:, None] - result, axis=2)
    figures = score.to_dict()
    assert figures["accuracy_mm"] == pytest.approx(between.min(axis=0).mean())
    assert figures["completeness_mm"] == pytest.approx(between.min(axis=1).mean())
    assert figures["accuracy_median_mm"] == pytest.approx(np.median(between.min(axis=0)))


def test_nothing_to_score_is_said():
    truth = truth_of(np.zeros((1, 3)))
    far = Geometry(np.full((10, 3), 500.0), None)
    with pytest.raises(InputError, match="observed") as error:
        score_dtu(far, truth)
    assert "--normalised" in error.value.next_step
    below = truth_of(np.zeros((1, 3)), plane=(0, 0, 0, -1))
    with pytest.raises(InputError, match="above its plane"):
        score_dtu(Geometry(np.zeros((1, 3)), None), below)


def test_a_result_without_any_point_near_the_truth_has_no_mean():
    truth = truth_of(np.zeros((1, 3)))
    figures = score_dtu(Geometry(np.full((1, 3), 25.0), None), truth).to_dict()
    assert figures["accuracy_mm"] is None and figures["overall_mm"] is None
    assert figures["result_outliers"] == 1.0
