"""Surface scores of surfaces whose distance from the truth is known."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from voxterra.core.mesh import TriMesh
from voxterra.core.transforms import Similarity
from voxterra.errors import InputError
from voxterra.evaluate.surface import sample_surface, score_surface
from voxterra.io.truth.surface import TruthSurface, read_truth_surface


def plane(size=10.0, z=0.0, cells=4, left=0.0):
    x = np.linspace(0, size, cells + 1)
    xx, yy = np.meshgrid(x + left, x)
    vertices = np.column_stack([xx.ravel(), yy.ravel(), np.full(xx.size, z)]).astype(np.float32)
    i = np.arange(xx.size, dtype=np.int32).reshape(xx.shape)
    a, b, c, d = (p.ravel() for p in (i[:-1, :-1], i[:-1, 1:], i[1:, :-1], i[1:, 1:]))
    faces = np.vstack([np.column_stack([a, b, c]), np.column_stack([b, d, c])])
    return TriMesh(vertices, faces.astype(np.int32))


def all_scored(mesh):
    return TruthSurface(mesh, np.ones(len(mesh.faces), bool))


def test_samples_are_spread_by_area():
    small, big = plane(1.0), plane(3.0, left=10.0)
    vertices = np.vstack([small.vertices, big.vertices])
    faces = np.vstack([small.faces, big.faces + len(small.vertices)])
    points, face = sample_surface(vertices, faces, 5000)
    assert (face >= len(small.faces)).mean() == pytest.approx(0.9, abs=0.002)
    on_big = points[face >= len(small.faces)]
    np.testing.assert_allclose(on_big.mean(axis=0), [11.5, 1.5, 0], atol=0.05)


def test_a_surface_scored_against_itself_is_perfect():
    figures = score_surface(plane(cells=7), all_scored(plane()), samples=5000).to_dict()
    assert figures["chamfer"] < 1e-6
    assert all(t["f_score"] == 1.0 for t in figures["thresholds"])


def test_a_shift_of_15_cm_is_15_cm():
    score = score_surface(plane(z=0.15), all_scored(plane()), samples=5000)
    figures = score.to_dict()
    assert figures["chamfer"] == pytest.approx(0.15, abs=1e-3)
    assert score.f_score(0.1) == 0.0 and score.f_score(0.2) == 1.0


def test_half_a_surface_has_half_the_recall_and_full_precision():
    truth = plane(cells=10)
    keep = (truth.vertices[truth.faces][:, :, 0] <= 5.0).all(axis=1)
    half = TriMesh(truth.vertices, truth.faces[keep])
    score = score_surface(half, all_scored(truth), samples=20000)
    assert score.precision(0.05) == 1.0
    assert score.recall(0.05) == pytest.approx(0.505, abs=0.005)
    assert score.f_score(0.05) == pytest.approx(2 * 0.505 / 1.505, abs=0.005)


def test_what_lies_nearest_to_unscored_truth_is_left_out():
    seen, context = plane(), plane(left=10.0)
    both = TriMesh(
        np.vstack([seen.vertices, context.vertices]),
        np.vstack([seen.faces, context.faces + np.int32(len(seen.vertices))]),
    )
    scored = np.arange(len(both.faces)) < len(seen.faces)
    wrong_in_context = TriMesh(
        np.vstack([seen.vertices, context.vertices + np.float32([0, 0, 3])]), both.faces
    )
    score = score_surface(wrong_in_context, TruthSurface(both, scored), samples=20000)
    assert score.precision(0.05) == 1.0 and score.recall(0.05) == 1.0
    assert score.left_out == pytest.approx(0.5, abs=0.01)


def test_a_floater_over_the_scored_area_costs_precision():
    floater = plane(5.0, z=2.0)
    mesh = TriMesh(
        np.vstack([plane().vertices, floater.vertices]),
        np.vstack([plane().faces, floater.faces + np.int32(len(plane().vertices))]),
    )
    score = score_surface(mesh, all_scored(plane()), samples=20000)
    assert score.precision(0.5) == pytest.approx(0.8, abs=0.005)
    assert score.recall(0.05) == 1.0


def test_alignment_on_the_surface_finds_a_small_similarity():
    shape = trimesh.creation.torus(3.0, 1.0, major_sections=64, minor_sections=32)
    box = trimesh.creation.box((2.0, 4.0, 6.0)).subdivide().subdivide()
    box.apply_translation([3.0, 2.0, 1.0])
    both = trimesh.util.concatenate([shape, box])
    truth = TriMesh(both.vertices.astype(np.float32), both.faces.astype(np.int32))
    turn = Rotation.from_rotvec([0.02, -0.03, 0.02]).as_matrix()
    disturbed = Similarity(1.02, turn, np.array([0.05, -0.04, 0.06]))
    moved = TriMesh(disturbed.apply(truth.vertices).astype(np.float32), truth.faces)
    before = score_surface(moved, all_scored(truth), samples=5000)
    after = score_surface(moved, all_scored(truth), align="surface", samples=5000)
    assert np.median(before.to_truth) > 0.02
    assert after.to_dict()["accuracy_mean"] < 1e-4
    assert after.truth_from_world.scale == pytest.approx(1 / 1.02, rel=1e-4)


def test_what_is_not_scored_takes_no_part_in_the_alignment():
    shape = trimesh.creation.torus(3.0, 1.0, major_sections=64, minor_sections=32)
    context = trimesh.creation.box((2.0, 4.0, 6.0)).subdivide().subdivide()
    context.apply_translation([9.0, 2.0, 1.0])
    both = trimesh.util.concatenate([shape, context])
    truth = TriMesh(both.vertices.astype(np.float32), both.faces.astype(np.int32))
    scored = np.arange(len(both.faces)) < len(shape.faces)
    moved = both.vertices + np.array([0.03, -0.02, 0.04])
    moved[len(shape.vertices) :] += [-0.05, 0.05, 0.05]  # it lies otherwise in the result
    score = score_surface(
        TriMesh(moved.astype(np.float32), truth.faces),
        TruthSurface(truth, scored),
        align="surface",
        samples=5000,
    )
    assert score.to_dict()["accuracy_mean"] < 1e-4


def test_empty_and_far_away_meshes_are_said():
    with pytest.raises(InputError, match="no faces"):
        score_surface(TriMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)), None)
    truth = all_scored(plane())
    unscored = TruthSurface(truth.mesh, np.arange(len(truth.mesh.faces)) == 0)
    far = plane(1.0, left=9.0)
    with pytest.raises(InputError, match="alignment"):
        score_surface(far, unscored, samples=500)


def test_synthetic_truth_against_itself(shared_data):
    truth = read_truth_surface(shared_data("synthetic_uav"))
    assert 0.15 < truth.scored.mean() < 0.5 and not truth.scored[-36415:].any()
    score = score_surface(truth.mesh, truth, samples=20000)
    assert score.f_score(0.05) == 1.0
    assert 0.1 < score.left_out < 0.999


def test_faces_of_some_labels_only(tmp_path: Path) -> None:
    truth = tmp_path / "mesh.ply"
    head = (
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\n"
        "property float z\nelement face 3\nproperty list uchar int vertex_indices\n"
    )
    corners = "0 0 0\n1 0 0\n0 1 0\n"
    labelled = head + "property uchar label\nproperty uchar views\nend_header\n" + corners
    truth.write_text(labelled + "3 0 1 2 1 5\n3 0 1 2 0 5\n3 0 1 2 1 2\n")
    assert read_truth_surface(truth).scored.tolist() == [True, True, False]
    assert read_truth_surface(truth, labels=(1,)).scored.tolist() == [True, False, False]
    assert read_truth_surface(truth, labels=(0, 1), min_views=2).scored.all()
    with pytest.raises(InputError, match="No face"):
        read_truth_surface(truth, labels=(7,))
    truth.write_text(head + "end_header\n" + corners + "3 0 1 2\n3 0 1 2\n3 0 1 2\n")
    with pytest.raises(InputError, match="no labels"):
        read_truth_surface(truth, labels=(1,))
