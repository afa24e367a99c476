from __future__ import annotations

import time

import numba
import numpy as np
import pytest

from voxterra.kernels.raster.zbuffer import rasterize_depth, rasterize_height

K = np.array([[80.0, 0, 40.3], [0, 90.0, 29.6], [0, 0, 1]])
W, H = 81, 60


def rays() -> np.ndarray:
    u, v = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
    return np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], -1)


def test_tilted_plane_has_exact_perspective_depth():
    normal, offset = np.array([0.3, -0.2, 1.0]), 4.0  # n . x = offset
    xy = np.array([[-20, -20], [20, -20], [20, 20], [-20, 20]], float) * 0.3
    z = (offset - xy @ normal[:2]) / normal[2]
    depth, face = rasterize_depth(
        np.column_stack([xy, z]), np.array([[0, 1, 2], [0, 2, 3]]), K, W, H
    )
    truth = offset / (rays() @ normal)
    assert (face >= 0).all()  # no crack along the shared diagonal
    assert set(np.unique(face)) == {0, 1}
    np.testing.assert_allclose(depth, truth, rtol=1e-6)


def test_box_shows_its_near_face_and_hides_the_far_one():
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (4, 6)], float)
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    faces = np.array([[q[0], q[i], q[i + 1]] for q in quads for i in (1, 2)])
    depth, face = rasterize_depth(corners, faces, K, W, H)
    inside = (np.abs(rays()[..., :2] * 4) < 1).all(-1)
    assert np.array_equal(face >= 0, inside)
    np.testing.assert_allclose(depth[inside], 4.0, rtol=1e-6)
    assert np.isin(face[inside], [8, 9]).all()
    assert (depth[~inside] == 0).all()


def random_soup(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    centre = rng.uniform([-6, -5, -3], [6, 5, 12], (count, 1, 3))
    return (centre + rng.normal(0, 1.0, (count, 3, 3))).reshape(-1, 3), np.arange(
        3 * count
    ).reshape(-1, 3)


def test_agrees_with_ray_casting_on_a_random_mesh_also_through_the_near_plane():
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("embreex")
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    vertices, faces = random_soup(np.random.default_rng(0), 400)
    near = 0.25
    depth, face = rasterize_depth(vertices, faces, K, W, H, near=near)
    direction = rays().reshape(-1, 3)
    caster = RayMeshIntersector(trimesh.Trimesh(vertices, faces, process=False))
    hit = caster.intersects_first(direction * near, direction)
    agree = hit == face.ravel()
    assert agree.mean() > 0.995  # the rest are silhouettes that pass exactly through a ray
    both = agree & (hit >= 0)
    a, b, c = vertices[faces[hit[both]]].swapaxes(0, 1)
    normal = np.cross(b - a, c - a)
    truth = (normal * a).sum(-1) / (normal * direction[both]).sum(-1)
    assert np.median(np.abs(depth.ravel()[both] / truth - 1)) < 1e-6
    assert np.quantile(np.abs(depth.ravel()[both] / truth - 1), 0.99) < 1e-4
    assert (depth[face >= 0] >= near * (1 - 1e-6)).all()


def test_faces_behind_the_camera_and_broken_vertices_draw_nothing():
    vertices = np.array([[-1, -1, -2], [1, -1, -2], [0, 1, -2], [np.nan, 0, 3]], np.float32)
    depth, face = rasterize_depth(vertices, np.array([[0, 1, 2], [0, 1, 3]]), K, W, H)
    assert (face == -1).all() and (depth == 0).all()
    empty = np.zeros((0, 3), np.float32)
    assert (rasterize_depth(empty, np.zeros((0, 3), np.int32), K, W, H)[1] == -1).all()


def test_result_does_not_depend_on_the_number_of_threads():
    vertices, faces = random_soup(np.random.default_rng(1), 300)
    faces = np.concatenate([faces, faces])  # every face twice: the lower index must win
    results, threads = [], numba.get_num_threads()
    for count in (1, threads):
        numba.set_num_threads(count)
        results.append(rasterize_depth(vertices, faces, K, W, H))
    assert np.array_equal(results[0][1], results[1][1])
    assert results[0][1].max() < 300


def test_height_raster_keeps_the_highest_surface():
    xy = np.array([[1, 1], [9, 1], [9, 7], [1, 7], [3, 3], [6, 3], [6, 6], [3, 6]], float)
    z = np.concatenate([0.5 * xy[:4, 0] - 20, np.full(4, 3.0)])
    faces = np.array([[4, 5, 6], [4, 6, 7], [0, 1, 2], [0, 2, 3]])
    top, face = rasterize_height(xy, z, faces, 10, 8)
    column, row = np.meshgrid(np.arange(10) + 0.5, np.arange(8) + 0.5)
    ground = (column > 1) & (column < 9) & (row > 1) & (row < 7)
    roof = (column > 3) & (column < 6) & (row > 3) & (row < 6)
    truth = np.where(roof, 3.0, np.where(ground, 0.5 * column - 20, np.nan))
    np.testing.assert_allclose(top, truth, rtol=1e-6)
    assert np.isin(face[roof], [0, 1]).all() and (face[~ground] == -1).all()


def test_a_million_triangles_draw_in_a_second():
    n = 708
    x, y = np.meshgrid(np.linspace(-3, 3, n), np.linspace(-2.3, 2.3, n))
    vertices = np.stack([x, y, 5 + 0.1 * np.sin(9 * x)], -1).reshape(-1, 3).astype(np.float32)
    i = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate(
        [np.stack([i, i + 1, i + n], 1), np.stack([i + 1, i + n + 1, i + n], 1)]
    ).astype(np.int32)
    camera = np.array([[800.0, 0, 512], [0, 800, 384], [0, 0, 1]])
    rasterize_depth(vertices[:3], faces[:1] * 0 + [0, 1, 2], camera, 8, 8)
    start = time.perf_counter()
    _, face = rasterize_depth(vertices, faces, camera, 1024, 768)
    assert time.perf_counter() - start < 3.0  # 0.2 s on 2 idle cores
    assert len(faces) > 990_000 and (face[100:-100, 100:-100] >= 0).all()
