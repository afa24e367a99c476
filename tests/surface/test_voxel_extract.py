"""Meshes of the leaves themselves: closed across levels, where the distance is zero, coloured."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from voxel_models import around_surface, box, model_of, octants, sphere, torus, tree

from voxterra.core.mesh import TriMesh
from voxterra.core.voxels import corner_keys, decode_corners
from voxterra.errors import ReconstructionError, UsageError
from voxterra.io.voxels import read_voxels, write_voxels
from voxterra.mesh.topology import edge_keys
from voxterra.surface.voxels.mesh.extract import everywhere, extract_mesh
from voxterra.surface.voxels.model.normals import normals_at

SHAPES = {
    # distance, volume, area
    "sphere": (sphere(0.7), 4 / 3 * np.pi * 0.7**3, 4 * np.pi * 0.7**2),
    "box": (box((0.61, 0.47, 0.53)), 8 * 0.61 * 0.47 * 0.53,
            8 * (0.61 * 0.47 + 0.47 * 0.53 + 0.53 * 0.61)),
    "torus": (torus(0.6, 0.25), 2 * np.pi**2 * 0.6 * 0.25**2, 4 * np.pi**2 * 0.6 * 0.25),
}  # fmt: skip


def _mixed(distance, coarse=4, fine=7):
    path, level = tree(around_surface(distance, octants(coarse, fine)), edge=4.0)
    return model_of(distance, path, level)


def _edge_counts(mesh: TriMesh) -> set[int]:
    """How many faces the edges have; {2} is a closed mesh without branches."""
    _, count = np.unique(edge_keys(mesh.faces, len(mesh.vertices)), return_counts=True)
    return set(count.tolist())


def _same_direction_twice(mesh: TriMesh) -> int:
    half = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    return len(half) - len(np.unique(half, axis=0))


def _volume(mesh: TriMesh) -> float:
    a, b, c = mesh.vertices[mesh.faces].astype(np.float64).transpose(1, 0, 2)
    return float((a * np.cross(b, c)).sum() / 6)


def _area(mesh: TriMesh) -> float:
    a, b, c = mesh.vertices[mesh.faces].astype(np.float64).transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


@pytest.mark.parametrize("shape", SHAPES)
def test_closed_across_four_levels(shape):
    distance, volume, area = SHAPES[shape]
    model = _mixed(distance, 5, 8)
    assert len(np.unique(model.level[model.level >= 5])) == 4
    mesh = extract_mesh(model)
    assert _edge_counts(mesh) == {2}
    assert _same_direction_twice(mesh) == 0
    genus = 1 if shape == "torus" else 0
    assert len(mesh.vertices) - len(mesh.faces) // 2 == 2 - 2 * genus
    # Positive volume: faces are counter-clockwise seen from outside. The coarsest voxels are 0.125.
    assert _volume(mesh) == pytest.approx(volume, rel=0.02)
    assert _area(mesh) == pytest.approx(area, rel=0.05 if shape == "box" else 0.01)


@pytest.mark.parametrize("shape", SHAPES)
def test_vertices_lie_on_the_surface(shape):
    distance, *_ = SHAPES[shape]
    fine = extract_mesh(_mixed(distance, 7, 7))
    error = np.abs(distance(fine.vertices.astype(np.float64)))
    # Second order in the voxel's edge h = 1/32: kappa h^2 / 8; at the box's edges the distance
    # is no trilinear function, and they are cut by a fraction of a voxel.
    assert error.max() < (0.3 / 32 if shape == "box" else 1.0 / 32**2)
    assert error.mean() < 0.2 / 32**2
    assert _edge_counts(fine) == {2}


def test_noise_on_random_levels_is_closed_too():
    # Every ambiguous face, long loops, and neighbours up to 7 levels apart.
    rng = np.random.default_rng(3)
    path, level = tree(
        lambda at, edge: rng.integers(0, 7, len(at)) * (rng.random(len(at)) < 0.6) + 2,
        edge=4.0, base=2,
    )  # fmt: skip
    model = model_of(sphere(0.5), path, level)
    corner = decode_corners(corner_keys(path, level)) * (4.0 / (1 << 16)) - 2.0
    sdf = rng.normal(size=len(corner)).astype(np.float32)
    sdf[np.abs(corner).max(1) >= 1.0] = 1.0  # free space at the bound
    mesh = extract_mesh(replace(model, sdf=sdf))
    assert level.max() - level.min() >= 5 and len(mesh.faces) > 10_000
    assert _edge_counts(mesh) == {2}
    assert _same_direction_twice(mesh) == 0


def test_a_coarse_voxel_with_one_fine_neighbour():
    # The zero runs through the fine voxels and only grazes the coarse one: its own corners agree.
    distance = sphere(0.26)
    path, level = tree(
        lambda at, edge: np.where((at > 0).all(1) & (np.abs(at) < 0.5).all(1), 6, 3), edge=4.0
    )
    mesh = extract_mesh(model_of(distance, path, level))
    assert _edge_counts(mesh) == {2}


def test_levels_do_not_move_the_surface_of_a_plane():
    # A plane is trilinear: whatever the levels, the mesh is the plane.
    normal = np.array([0.36, 0.48, 0.8])
    path, level = tree(around_surface(lambda x: x @ normal - 0.1, octants(3, 6)), edge=4.0)
    mesh = extract_mesh(model_of(lambda x: x @ normal - 0.1, path, level))
    # The clamp that keeps vertices off corners moves them by up to 0.01 of the coarsest edge.
    assert np.abs(mesh.vertices @ normal - 0.1).max() < 0.01 * 0.5
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    facing = np.cross(b - a, c - a) @ normal
    assert (facing > -1e-7).all()


def test_colors_are_those_of_the_voxels_around():
    model = _mixed(sphere(0.7), 6, 6)
    mesh = extract_mesh(model)
    assert mesh.colors is not None and mesh.colors.dtype == np.uint8
    expected = 255 * (0.5 + 0.25 * mesh.vertices)
    assert np.abs(mesh.colors - expected).max() < 255 * 0.25 * 1.1 / 16


def test_pruned_voxels_leave_a_hole_and_nothing_worse():
    model = _mixed(sphere(0.7))
    whole = extract_mesh(model)
    keep = ~((model.lower[:, 2] > 0.5) & (model.level > 4))
    path, level = model.path[keep], model.level[keep]
    sdf = model.sdf[np.isin(corner_keys(model.path, model.level), corner_keys(path, level))]
    part = replace(model, path=path, level=level, sdf=sdf, sh0=model.sh0[keep],
                   shs=model.shs[keep])  # fmt: skip
    mesh = extract_mesh(part)
    assert 0 < len(mesh.faces) < len(whole.faces)
    assert _edge_counts(mesh) == {1, 2}
    assert _same_direction_twice(mesh) == 0


def test_far_field_is_no_part_of_the_mesh():
    # A shell of radius 1.85 lies outside of the main bound, whose corners are at 1.73.
    def distance(x):
        return np.minimum(sphere(0.5)(x), 1.85 - np.linalg.norm(x, axis=-1))

    path, level = tree(around_surface(distance, octants(4, 6)), edge=4.0)
    model = model_of(distance, path, level)
    mesh = extract_mesh(model)
    assert np.linalg.norm(mesh.vertices, axis=1).max() < 0.6
    assert _edge_counts(mesh) == {2}
    whole = extract_mesh(model, bounds=everywhere(model))
    outer = len(whole.faces) - len(mesh.faces)
    assert outer > 0 and np.linalg.norm(whole.vertices, axis=1).max() > 1.8


def test_clipped_to_bounds():
    model = _mixed(sphere(0.7), 5, 6)
    bounds = (-0.31, -2.0, -2.0, 0.33, 2.0, 0.2)
    mesh = extract_mesh(model, bounds=bounds)
    assert mesh.vertices.min(0)[0] == pytest.approx(-0.31, abs=1e-6)
    assert mesh.vertices.max(0)[[0, 2]] == pytest.approx([0.33, 0.2], abs=1e-6)
    # Open only at the cuts, where exactly one face has the edge.
    keys, count = np.unique(edge_keys(mesh.faces, len(mesh.vertices)), return_counts=True)
    a, b = keys[count == 1] // len(mesh.vertices), keys[count == 1] % len(mesh.vertices)
    ends = np.stack([mesh.vertices[a], mesh.vertices[b]], 1)
    cuts = [(0, -0.31), (0, 0.33), (2, 0.2)]
    on_cut = [(np.abs(ends[:, :, axis] - at) < 1e-6).all(1) for axis, at in cuts]
    assert np.any(on_cut, axis=0).all() and set(count.tolist()) == {1, 2}
    # A zone of a sphere has the area 2 pi r h; here cut twice more, by planes across.
    whole = extract_mesh(model, bounds=(-2, -2, -2, 2, 2, 0.2))
    assert _area(whole) == pytest.approx(2 * np.pi * 0.7 * 0.9, rel=0.01)


@pytest.mark.parametrize("outside_level", [0, 1, 2])
def test_eight_voxels_make_an_octahedron(outside_level):
    path, level = tree(lambda at, edge: np.zeros(len(at), int), edge=4.0, base=1)
    model = model_of(
        sphere(0.5), path, level, inside_edge=4.0 / 2**outside_level, outside_level=outside_level
    )
    mesh = extract_mesh(model, bounds=(-2, -2, -2, 2, 2, 2))
    assert len(mesh.vertices) == 6 and len(mesh.faces) == 8 and _edge_counts(mesh) == {2}
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 0.5, atol=1e-6)
    np.testing.assert_allclose(normals_at(model, mesh.vertices), mesh.vertices / 0.5, atol=1e-5)


def test_same_model_same_mesh():
    model = _mixed(torus(0.6, 0.25))
    one, two = extract_mesh(model), extract_mesh(model)
    assert (one.vertices == two.vertices).all() and (one.faces == two.faces).all()


def test_a_model_away_from_the_origin():
    distance, center = sphere(0.7), (500.0, -300.0, 40.0)
    path, level = tree(
        around_surface(lambda x: distance(x - center), octants(6, 6)), edge=4.0, center=center
    )
    mesh = extract_mesh(model_of(lambda x: distance(x - center), path, level, center=center))
    assert np.abs(distance(mesh.vertices.astype(np.float64) - center)).max() < 2e-3
    assert _edge_counts(mesh) == {2}


def test_memory_goes_with_the_voxels():
    model = _mixed(sphere(0.9), 7, 8)
    extract_mesh(model)
    tracemalloc.start()
    try:
        extract_mesh(model)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The keys of 8 corners a voxel while they are sorted, and what its piece of the mesh needs:
    # 5 M voxels stay below 2 GB.
    assert model.n_voxels > 40_000 and peak / model.n_voxels < 400


def test_a_quantised_model_has_nearly_the_same_surface(tmp_path):
    distance = torus(0.6, 0.25)
    model = _mixed(distance, 6, 7)
    write_voxels(model, tmp_path / "q.npz", quantized=True)
    exact, coarse = extract_mesh(model), extract_mesh(read_voxels(tmp_path / "q.npz"))
    # No corner changes its side: the same vertices, moved along their edges.
    assert len(exact.faces) == len(coarse.faces) and _edge_counts(coarse) == {2}
    moved = np.linalg.norm(exact.vertices - coarse.vertices, axis=1) * 32  # in voxels
    assert moved.mean() < 0.01 and np.quantile(moved, 0.99) < 0.04


def test_no_surface_is_an_error_with_a_next_step():
    model = _mixed(sphere(0.7), 4, 4)
    with pytest.raises(ReconstructionError, match="no surface") as error:
        extract_mesh(replace(model, sdf=np.abs(model.sdf) + 1))
    assert error.value.next_step
    with pytest.raises(ReconstructionError):
        extract_mesh(model, bounds=(-0.1, -0.1, -0.1, 0.1, 0.1, 0.1))
    with pytest.raises(UsageError, match="no box"):
        extract_mesh(model, bounds=(0.0, 0.0, 0.0, 0.0, 1.0, 1.0))


@pytest.mark.parametrize("shape", ["sphere", "torus"])
def test_normals_follow_the_distance(shape):
    distance, *_ = SHAPES[shape]
    model = _mixed(distance, 6, 7)
    vertices = extract_mesh(model).vertices.astype(np.float64)
    normals = normals_at(model, vertices)
    step = 1e-4 * np.eye(3)
    true = np.stack([distance(vertices + s) - distance(vertices - s) for s in step], 1) / 2e-4
    angle = np.degrees(np.arccos(np.clip((normals * true).sum(1), -1, 1)))
    assert angle.max() < 8 and angle.mean() < 1.5
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert (normals_at(model, np.array([[9.0, 0, 0]])) == 0).all()
