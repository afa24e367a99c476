"""Closest points on meshes with triangles that have no area."""

import numpy as np

from voxterra.kernels.mesh.closest import build_triangle_tree, closest_on_mesh


def test_triangles_without_area_are_the_points_and_lines_they_are():
    corners = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 5, 0]], np.float64)
    faces = np.array([[3, 3, 3], [0, 1, 2], [1, 0, 0]], np.int32)
    points = np.array([[0.5, 1, 0], [-1, 0, 0], [3, 0, 4], [0, 7, 0], [1.5, 0, 0]])
    distance, face, _ = closest_on_mesh(build_triangle_tree(corners, faces), points)
    assert np.allclose(distance, [1, 1, np.hypot(1, 4), 2, 0])
    assert face[3] == 0
