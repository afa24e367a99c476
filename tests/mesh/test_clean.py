from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from voxterra.core.mesh import TriMesh
from voxterra.errors import ReconstructionError
from voxterra.mesh.clean import clean_mesh, decimate, fill_holes, remove_islands, smooth
from voxterra.mesh.config import CleanConfig
from voxterra.mesh.topology import boundary_edges, boundary_loops, components, good_faces


def sheet(n: int = 30, z: float = 0.0, offset: float = 0.0) -> TriMesh:
    """An open square of n x n cells of edge 1, facing up."""
    y, x = np.mgrid[0 : n + 1, 0 : n + 1]
    vertices = np.column_stack([x.ravel() + offset, y.ravel(), np.full(x.size, z)])
    a = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    b, c, d = a + 1, a + n + 1, a + n + 2
    faces = np.concatenate([np.column_stack([a, b, d]), np.column_stack([a, d, c])])
    colors = np.clip(vertices * 8, 0, 255).astype(np.uint8)
    return TriMesh(vertices.astype(np.float32), faces.astype(np.int32), colors)


def joined(*meshes: TriMesh) -> TriMesh:
    offsets = np.cumsum([0] + [len(m.vertices) for m in meshes])
    return TriMesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.faces + o for m, o in zip(meshes, offsets, strict=False)]).astype("i4"),
        np.concatenate([m.colors for m in meshes]),
    )


def without_faces_around(mesh: TriMesh, x: float, y: float, radius: float) -> TriMesh:
    center = mesh.vertices[mesh.faces].mean(1)
    keep = np.hypot(center[:, 0] - x, center[:, 1] - y) > radius
    return TriMesh(mesh.vertices, mesh.faces[keep], mesh.colors)


def rims(mesh: TriMesh) -> list[int]:
    edges, _ = boundary_edges(mesh.faces, len(mesh.vertices))
    return sorted(np.diff(boundary_loops(edges)[0]).tolist())


def area_up(mesh: TriMesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    return float(np.cross(b - a, c - a)[:, 2].sum() / 2)


def test_small_holes_close_flat_and_facing_the_same_way_and_the_rim_stays():
    mesh = without_faces_around(sheet(), 15, 15, 2.5)
    assert rims(mesh)[-1] == 120
    assert len(rims(mesh)) == 2
    filled = fill_holes(mesh, 40)
    assert rims(filled) == [120]
    assert area_up(filled) == pytest.approx(900.0)
    assert len(good_faces(filled.vertices, filled.faces)) == len(filled.faces)


def test_large_holes_stay_open():
    mesh = without_faces_around(sheet(), 15, 15, 9)
    assert rims(fill_holes(mesh, 30)) == rims(mesh)


def test_the_rim_of_a_small_sheet_is_not_closed():
    mesh = sheet(8)
    assert rims(mesh) == [32]
    assert rims(fill_holes(mesh, 40)) == [32]


def test_floaters_go_and_the_large_pieces_stay():
    mesh = joined(sheet(30), sheet(3, z=9), sheet(12, offset=50))
    clean = clean_mesh(mesh, CleanConfig(min_component_faces=100))
    assert components(clean.faces, len(clean.vertices)).max() == 1
    assert clean.vertices[:, 2].max() == 0
    assert len(clean.vertices) == 31**2 + 13**2


def test_small_pieces_stay_only_beside_large_ones():
    def after(gap: float, size: int = 4, area: float = 18.0) -> TriMesh:
        return remove_islands(joined(sheet(30), sheet(size, offset=30 + gap)), area)

    assert after(7.5).vertices[:, 0].max() == 41.5  # nearer than twice its width
    assert after(8.5).vertices[:, 0].max() == 30.0
    assert after(19.0, size=5).vertices[:, 0].max() == 54.0  # not small: 25 cells
    assert after(19.0, area=0.0).vertices[:, 0].max() == 53.0
    trees = joined(sheet(30), sheet(4, offset=40), sheet(4, offset=45))
    assert len(remove_islands(trees, 18.0).faces) == 1800  # scraps do not hold each other
    only_small = remove_islands(joined(sheet(3), sheet(2, offset=40)), 100.0)
    assert len(only_small.faces) == 18  # the largest stays


def test_what_is_small_does_not_depend_on_the_size_of_the_survey_nor_on_its_unit():
    config = CleanConfig(min_component_faces=100)
    village, scrap = sheet(40, offset=1000), sheet(25, offset=-500)  # 1600 and 625 cells
    for large in (sheet(50), sheet(300)):
        for unit in (1.0, 1e-3):
            mesh = joined(large, village, scrap)
            mesh = TriMesh(mesh.vertices * np.float32(unit), mesh.faces, mesh.colors)
            clean = clean_mesh(mesh, config)
            assert len(clean.faces) == len(large.faces) + len(village.faces)
            area = 700.0 * unit**2
            kept = clean_mesh(mesh, CleanConfig(max_island_m2=0.0, min_component_m2=area))
            assert len(kept.faces) == len(large.faces) + len(village.faces)
            assert len(clean_mesh(mesh, CleanConfig(max_island_m2=0.0)).faces) == len(mesh.faces)


def test_without_a_budget_all_faces_stay():
    mesh = sheet(40)
    assert len(clean_mesh(mesh, CleanConfig(max_faces=None)).faces) == len(mesh.faces) == 3200
    assert len(clean_mesh(mesh, CleanConfig(max_faces=500)).faces) <= 500


def test_the_largest_piece_stays_however_small():
    clean = clean_mesh(sheet(2), CleanConfig(min_component_faces=100))
    assert len(clean.faces) == 8


def test_bad_faces_go():
    mesh = sheet(4)
    a, b, c = mesh.faces[0]
    fin = np.array([[a, b, 20], [a, a, b], [a, b, c]], np.int32)
    faces = np.concatenate([mesh.faces, fin])
    faces = faces[good_faces(mesh.vertices, faces)]
    directed = np.stack([faces, np.roll(faces, -1, axis=1)], -1).reshape(-1, 2)
    assert len(np.unique(directed, axis=0)) == len(directed)
    assert len(faces) >= len(mesh.faces) - 1


def test_decimation_keeps_budget_place_color_and_rim():
    wave = sheet(60)
    z = np.sin(wave.vertices[:, 0] / 8)
    wave = TriMesh(np.column_stack([wave.vertices[:, :2], z]).astype("f4"), wave.faces, wave.colors)
    small = decimate(wave, 1000)
    assert 900 <= len(small.faces) <= 1000
    assert np.abs(small.vertices[:, 2] - np.sin(small.vertices[:, 0] / 8)).max() < 0.1
    assert np.abs(small.colors[:, 0] - np.clip(small.vertices[:, 0] * 8, 0, 255)).max() < 9
    assert area_up(small) == pytest.approx(area_up(wave), rel=0.01)


def test_decimation_spares_small_pieces_within_their_share():
    small = [sheet(5, z=9.0, offset=100.0 * i) for i in range(1, 5)]  # 50 faces each
    mesh = joined(sheet(), *small)
    spared = decimate(mesh, 900)
    assert np.sort(np.bincount(components(spared.faces, len(spared.vertices))))[:4].tolist() == (
        [50] * 4
    )
    assert 800 < len(spared.faces) <= 900
    assert len(decimate(mesh, 300).faces) <= 300  # only one of them fits into a quarter


def test_marks_stay_with_their_faces_and_closed_holes_are_filled():
    mesh = joined(without_faces_around(sheet(), 15, 15, 2.5), sheet(3, z=50.0, offset=200.0))
    right = mesh.vertices[mesh.faces].mean(1)[:, 0] > 20
    mesh = replace(mesh, face_source=np.where(right, 2, 1).astype(np.uint8))
    config = CleanConfig(min_component_faces=100, smoothing_iterations=1)
    for budget in (None, 900):
        clean = clean_mesh(mesh, replace(config, max_faces=budget))
        x, y, _ = clean.vertices[clean.faces].mean(1).T
        expected = np.where(np.hypot(x - 15, y - 15) < 2.5, 4, np.where(x > 20, 2, 1))
        near = (np.abs(x - 20) < 2) | (np.abs(np.hypot(x - 15, y - 15) - 2.5) < 2)
        assert np.array_equal(clean.face_source[~near], expected[~near])
        assert set(clean.face_source) == {1, 2, 4}


def test_a_hole_between_two_levels_is_closed_on_the_lower_one():
    def cliff(mesh):
        x, y, z = mesh.vertices.T
        z = np.where(x > 15.5, 10.0, z + 0.01 * y)  # a crown or a roof beside the hole
        return replace(mesh, vertices=np.column_stack([x, y, z]).astype(np.float32))

    mesh = cliff(without_faces_around(sheet(), 12, 15, 7))
    closed = clean_mesh(mesh, CleanConfig(min_component_faces=0, closed=True))
    assert rims(mesh)[0] < rims(mesh)[1] == 120 and rims(closed) == [120]
    assert len(good_faces(closed.vertices, closed.faces)) == len(closed.faces)
    assert (closed.face_source == 4).sum() > 20
    x, y, z = closed.vertices[len(mesh.vertices) :].T
    assert len(x) > 10 and np.abs(z - 0.01 * y).max() < 0.2
    open_again = clean_mesh(mesh, CleanConfig(min_component_faces=0, closed=False))
    assert rims(open_again) == rims(mesh)


def test_smoothing_removes_noise_without_shrinking_and_holds_the_rim():
    mesh = sheet(40)
    noise = np.random.default_rng(0).normal(0, 0.2, len(mesh.vertices))
    noisy = TriMesh(
        np.column_stack([mesh.vertices[:, :2], noise]).astype("f4"), mesh.faces, mesh.colors
    )
    result = smooth(noisy, 10)
    x, y = mesh.vertices[:, 0], mesh.vertices[:, 1]
    inner = (x > 2) & (x < 38) & (y > 2) & (y < 38)
    rim = (x == 0) | (x == 40) | (y == 0) | (y == 40)
    assert result.vertices[inner, 2].std() < 0.5 * noise.std()
    assert np.allclose(result.vertices[rim], noisy.vertices[rim], atol=1e-5)


def test_an_empty_mesh_is_a_user_error():
    empty = TriMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    with pytest.raises(ReconstructionError, match="no faces"):
        clean_mesh(empty)


def test_cleaning_twice_changes_nothing():
    mesh = clean_mesh(without_faces_around(sheet(), 15, 15, 2.5))
    again = clean_mesh(mesh)
    assert np.array_equal(mesh.vertices, again.vertices)
    assert len(mesh.faces) == len(again.faces)
