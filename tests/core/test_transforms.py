import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxterra.core.transforms import (
    Similarity,
    camera_center,
    fit_similarity,
    rotation_from_vector,
)

numbers = st.floats(-100, 100, allow_nan=False)
vectors = st.tuples(numbers, numbers, numbers).map(np.array)
rotations = (
    st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3))
    .map(np.array)
    .map(rotation_from_vector)
)
similarities = st.builds(Similarity, st.floats(0.01, 100), rotations, vectors)


@given(rotations)
def test_a_rotation_keeps_lengths_and_handedness(rotation):
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.isclose(np.linalg.det(rotation), 1.0)


def test_rotation_from_vector_agrees_with_scipy():
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(0)
    for vector in [*rng.normal(0, 2, (50, 3)), np.zeros(3), np.array([1e-9, 0, 0])]:
        expected = Rotation.from_rotvec(vector).as_matrix()
        assert np.allclose(rotation_from_vector(vector), expected, atol=1e-14)


@given(similarities, similarities, similarities, vectors)
def test_composition_is_associative_and_means_one_after_the_other(a, b, c, x):
    left, right = a.compose(b).compose(c), a.compose(b.compose(c))
    size = 1 + np.abs(left.apply(x)).max()
    assert np.allclose(left.apply(x), right.apply(x), atol=1e-9 * size)
    assert np.allclose(a.compose(b).apply(x), a.apply(b.apply(x)), atol=1e-9 * size)


@given(similarities, vectors)
def test_the_inverse_undoes_and_the_matrix_says_the_same(a, x):
    assert np.allclose(a.inverse().apply(a.apply(x)), x, atol=1e-7)
    assert np.allclose(a.compose(a.inverse()).matrix(), np.eye(4), atol=1e-7)
    homogeneous = a.matrix() @ np.append(x, 1.0)
    assert np.allclose(homogeneous[:3], a.apply(x), rtol=1e-12, atol=1e-9)


@given(similarities, rotations, vectors, vectors)
def test_a_moved_camera_sees_the_moved_point_where_it_saw_the_point(s, rotation, center, x):
    cam_from_world = np.hstack([rotation, (-rotation @ center)[:, None]])
    moved = s.apply_to_cam_from_source(cam_from_world)
    before = cam_from_world[:, :3] @ x + cam_from_world[:, 3]
    after = moved[:, :3] @ s.apply(x) + moved[:, 3]
    assert np.allclose(after, s.scale * before, atol=1e-7 * (1 + np.abs(after).max()) * 100)
    assert np.allclose(camera_center(moved), s.apply(center), atol=1e-6)


@given(similarities, st.integers(0, 2**32 - 1))
def test_fit_finds_the_similarity_that_made_the_points(s, seed):
    source = np.random.default_rng(seed).normal(0, 10, (8, 3))
    found = fit_similarity(source, s.apply(source))
    assert np.isclose(found.scale, s.scale, rtol=1e-9)
    assert np.allclose(found.rotation, s.rotation, atol=1e-8)


def test_fit_never_mirrors_and_honours_weights():
    rng = np.random.default_rng(1)
    source = rng.normal(0, 1, (20, 3))
    mirrored = source * [1, 1, -1]
    assert np.isclose(np.linalg.det(fit_similarity(source, mirrored).rotation), 1.0)
    target = source.copy()
    target[0] += 100
    weights = np.ones(20)
    weights[0] = 0
    assert np.allclose(fit_similarity(source, target, weights).matrix(), np.eye(4), atol=1e-9)
    assert fit_similarity(source, 3 * source, with_scale=False).scale == 1.0


@pytest.mark.parametrize("points", [np.zeros((2, 3)), np.ones((5, 3))])
def test_fit_refuses_what_cannot_be_fitted(points):
    with pytest.raises(ValueError):
        fit_similarity(points, points)
