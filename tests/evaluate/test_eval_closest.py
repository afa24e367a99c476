"""Closest points on meshes: against a sphere, against brute force."""

import numpy as np
import trimesh

from voxterra.kernels.mesh.closest import build_triangle_tree, closest_on_mesh


def test_distance_to_a_sphere():
    ball = trimesh.creation.icosphere(subdivisions=5, radius=2.0)
    tree = build_triangle_tree(ball.vertices, ball.faces.astype(np.int32))
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(500, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    radius = rng.uniform(0.2, 6.0, 500)
    distance, face, closest = closest_on_mesh(tree, direction * radius[:, None])
    assert np.abs(distance - np.abs(radius - 2.0)).max() < 2e-3  # the facets' own depth
    assert np.abs(np.linalg.norm(closest, axis=1) - 2.0).max() < 2e-3
    assert (np.einsum("ij,ij->i", ball.face_normals[face], direction) > 0.99).all()


def test_agrees_with_every_triangle_tried_alone():
    rng = np.random.default_rng(1)
    vertices = rng.normal(size=(60, 3)) * [10.0, 10.0, 0.3] + [1e4, 0, 0]
    faces = rng.integers(0, 60, (37, 3)).astype(np.int32)
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2])]
    faces = faces[faces[:, 0] != faces[:, 2]]
    points = rng.normal(size=(200, 3)) * 12.0 + [1e4, 0, 0]
    distance, face, closest = closest_on_mesh(build_triangle_tree(vertices, faces), points)
    alone = np.array(
        [closest_on_mesh(build_triangle_tree(vertices, f[None]), points)[0] for f in faces]
    )
    np.testing.assert_allclose(distance, alone.min(axis=0), atol=1e-9)
    np.testing.assert_allclose(alone[face, np.arange(200)], distance, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(closest - points, axis=1), distance, atol=1e-9)
    triangles = np.repeat(vertices[faces][3][None], 200, axis=0)
    theirs = trimesh.triangles.closest_point(triangles, points)
    np.testing.assert_allclose(np.linalg.norm(theirs - points, axis=1), alone[3], atol=1e-6)


def test_one_triangle_and_points_of_all_its_regions():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    tree = build_triangle_tree(vertices, np.array([[0, 1, 2]], np.int32))
    points = np.array(
        [
            [-1, -1, 0],
            [2, -0.1, 0],
            [-0.1, 3, 0],
            [0.5, -2, 0],
            [-2, 0.5, 0],
            [1, 1, 0],
            [0.2, 0.2, 3],
        ]
    )
    want = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0, 0], [0, 0.5, 0], [0.5, 0.5, 0], [0.2, 0.2, 0]]
    np.testing.assert_allclose(closest_on_mesh(tree, points)[2], want, atol=1e-12)


def test_nothing_is_found_beyond_the_largest_distance():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    tree = build_triangle_tree(vertices, np.array([[0, 1, 2]], np.int32))
    distance, face, closest = closest_on_mesh(tree, np.array([[0.2, 0.2, 0.4], [0, 0, 0.6]]), 0.5)
    np.testing.assert_allclose(distance, [0.4, np.inf])
    assert face.tolist() == [0, -1] and np.isnan(closest[1]).all()
