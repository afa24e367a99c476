from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from voxterra.core.mesh import TriMesh
from voxterra.core.surface_source import SurfaceSource
from voxterra.errors import Cancelled, FormatError, ReconstructionError
from voxterra.surface.fusion import fuse as fuse_module
from voxterra.surface.fusion.config import FusionConfig
from voxterra.surface.fusion.fuse import fuse


def open_edges(mesh: TriMesh) -> int:
    directed = np.stack([mesh.faces, np.roll(mesh.faces, -1, axis=1)], -1).reshape(-1, 2)
    forth = {tuple(e) for e in directed.tolist()}
    assert len(forth) == len(directed), "an edge runs twice in the same direction"
    return sum((b, a) not in forth for a, b in forth)


def volume(mesh: TriMesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(float) for i in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


@pytest.fixture(scope="module")
def ball(scenes):
    return scenes.render(scenes.sphere(1.0), scenes.around(4.0))


def test_a_sphere_is_closed_over_chunk_borders_and_right(ball, monkeypatch):
    whole = fuse(ball, FusionConfig(voxel_size_m=0.05))
    monkeypatch.setattr(fuse_module, "REGION", 3)
    mesh = fuse(ball, FusionConfig(voxel_size_m=0.05))
    assert open_edges(mesh) == 0
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1.0).max() < 0.01
    # Outward faces, hence positive.
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi, rel=0.01)
    # The size of regions changes nothing at all.
    assert np.array_equal(mesh.vertices, whole.vertices)
    assert np.array_equal(mesh.colors, whole.colors)
    assert {tuple(f) for f in mesh.faces.tolist()} == {tuple(f) for f in whole.faces.tolist()}


def test_colors_are_those_of_the_place(ball):
    mesh = fuse(ball, FusionConfig(voxel_size_m=0.05))
    expected = np.clip(128 + 60 * mesh.vertices, 0, 255)
    assert np.abs(mesh.colors - expected).max() < 6


def test_the_same_input_gives_the_same_mesh(ball):
    config = FusionConfig(voxel_size_m=0.08)
    first, second = fuse(ball, config), fuse(ball, config)
    assert np.array_equal(first.vertices, second.vertices)
    assert np.array_equal(first.faces, second.faces)


def test_slanted_and_seen_from_far_a_plane_stays_flat(scenes):
    eyes = np.array([[0.0, -8.0, 3.0], [3.0, -7.0, 3.5], [-3.0, -7.0, 3.0]])
    views = [scenes.look_at(eye, np.zeros(3), 150.0, 160, 120) for eye in eyes]
    maps = scenes.render(scenes.plane(), views, max_depth=30.0)
    mesh = fuse(maps, FusionConfig(voxel_size_m=0.1, max_footprint_voxels=3.0))
    near = np.linalg.norm(mesh.vertices[:, :2], axis=1) < 3
    assert near.sum() > 500
    assert np.abs(mesh.vertices[near, 2]).max() < 0.005


def test_voxel_size_follows_the_pixel_footprint(scenes):
    maps = scenes.render(scenes.plane(), scenes.above(10.0, 2.0))
    mesh = fuse(maps)
    lengths = np.linalg.norm(
        mesh.vertices[mesh.faces[:, 0]] - mesh.vertices[mesh.faces[:, 1]], axis=1
    )
    footprint = 10.0 / 96
    assert 1.0 * footprint < np.median(lengths) < 1.9 * footprint


def test_a_step_is_not_smeared(scenes):
    scene = scenes.union(scenes.plane(), scenes.box((-1.0, -1.0, 0.0), (1.0, 1.0, 2.0)))
    maps = scenes.render(scene, scenes.above(8.0, 1.5, count=4, size=128))
    mesh = fuse(maps, FusionConfig(voxel_size_m=0.08))
    x, y, z = np.abs(mesh.vertices.T)
    on_ground, on_top = z < 0.05, np.abs(z - 2.0) < 0.05
    beside = np.abs(np.maximum(x, y) - 1.0) < 0.17
    assert (on_ground | on_top | beside).all()
    assert on_ground.sum() > 500
    assert on_top.sum() > 300


def with_outliers(scenes, maps, fraction, noise):
    random = np.random.default_rng(0)
    noisy = []
    for depth_map in maps.maps:
        depth = depth_map.depth * (1 + noise * random.standard_normal(depth_map.depth.shape))
        wrong = random.random(depth.shape) < fraction
        depth[wrong] *= random.uniform(0.6, 1.4, wrong.sum())
        noisy.append(replace(depth_map, depth=depth.astype(np.float32)))
    return scenes.SceneMaps(maps.views, noisy, maps.colors)


def test_wrong_and_noisy_depths_leave_the_surface_in_place(scenes):
    scene = scenes.union(scenes.plane(), scenes.box((-1.0, -1.0, 0.0), (1.0, 1.0, 2.0)))
    maps = scenes.render(scene, scenes.above(8.0, 1.2, count=4, size=128))
    mesh = fuse(with_outliers(scenes, maps, 0.05, 0.003), FusionConfig(voxel_size_m=0.1))
    x, y, z = mesh.vertices.T
    ground = (np.maximum(abs(x), abs(y)) > 1.3) & (np.maximum(abs(x), abs(y)) < 2.5)
    height = z[ground]
    assert np.median(height) == pytest.approx(0.0, abs=0.01)
    assert (np.abs(height) < 0.1).mean() > 0.99


def test_what_others_look_through_is_carved(scenes):
    maps = scenes.render(scenes.plane(), scenes.above(8.0, 1.0, size=64))
    depth = maps.maps[4].depth.copy()
    depth[20:40, 20:40] = 5.0
    wrong = [*maps.maps[:4], replace(maps.maps[4], depth=depth), *maps.maps[5:]]
    mesh = fuse(
        scenes.SceneMaps(maps.views, wrong, maps.colors),
        FusionConfig(voxel_size_m=0.15, min_views=1),
    )
    assert np.abs(mesh.vertices[:, 2]).max() < 0.1


def test_what_no_measured_pixel_shows_or_one_photo_alone_is_weak(scenes):
    maps = scenes.render(scenes.plane(), scenes.above(8.0, 1.0, count=2))
    shown = []
    for index, depth_map in enumerate(maps.maps):
        h, w = depth_map.depth.shape
        x = depth_map.view.unproject(
            np.stack(np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5), -1).reshape(-1, 2),
            depth_map.depth.ravel().astype(float),
        )[:, 0].reshape(h, w)
        support = np.where(x < -1, SurfaceSource.WEAK, SurfaceSource.MEASURED).astype(np.uint8)
        one = replace(depth_map, support=support)
        shown.append(one.kept((x < 1) | (index == 0)))
    maps = scenes.SceneMaps(maps.views, shown, maps.colors)
    mesh = fuse(maps, FusionConfig(voxel_size_m=0.15))
    x, y, _ = np.abs(mesh.vertices[mesh.faces].mean(1)).T
    assert np.array_equal(np.unique(mesh.face_source), [1, 2])
    assert (mesh.face_source[x < 0.8] == SurfaceSource.MEASURED).all()
    seen_by_all = (x < 3) & (y < 3)  # where fewer than four look, one is enough
    assert (mesh.face_source[(x > 1.2) & seen_by_all] == SurfaceSource.WEAK).all()
    strict = fuse(maps, FusionConfig(voxel_size_m=0.15, keep_weak=False))
    assert strict.face_source is None
    x, y, _ = np.abs(strict.vertices[strict.faces].mean(1)).T
    assert 0.8 < x[(x < 3) & (y < 3)].max() < 1.2


def test_two_photos_are_enough(scenes):
    views = scenes.above(8.0, 1.0)[:2]
    mesh = fuse(scenes.render(scenes.plane(), views), FusionConfig(voxel_size_m=0.15))
    assert len(mesh.faces) > 1000
    assert np.abs(mesh.vertices[:, 2]).max() < 0.01


def test_masked_pixels_are_ignored(scenes):
    maps = scenes.render(scenes.plane(), scenes.above(8.0, 0.5))
    masks = []
    for view in maps.views:
        mask = np.ones((96, 96), bool)
        mask[:, : int(view.project(np.zeros((1, 3)))[0][0, 0])] = False
        masks.append(mask)
    masked = scenes.SceneMaps(maps.views, maps.maps, maps.colors, masks)
    full, half = fuse(maps), fuse(masked)
    assert full.vertices[:, 0].min() < -2
    assert half.vertices[:, 0].min() > -0.5


def test_bounds_limit_the_surface(ball):
    mesh = fuse(ball, FusionConfig(voxel_size_m=0.05, bounds_m=(-2, -2, 0.5, 2, 2, 2)))
    assert 0.0 < mesh.vertices[:, 2].min() < 0.5
    assert mesh.vertices[:, 2].max() > 0.99


def test_the_budget_makes_voxels_coarser_and_says_so(ball, caplog):
    fine = fuse(ball, FusionConfig(voxel_size_m=0.04))
    with caplog.at_level("WARNING"):
        coarse = fuse(ball, FusionConfig(voxel_size_m=0.04, max_voxels=45_000))
    assert "--surface.max-voxels" in caplog.text
    assert len(coarse.faces) < 0.7 * len(fine.faces)
    assert open_edges(coarse) == 0


def test_voxels_too_small_for_the_distance_from_the_origin_are_a_user_error(ball):
    with pytest.raises(ReconstructionError, match="too far"):
        fuse(ball, FusionConfig(voxel_size_m=4e-7))


@pytest.mark.parametrize("size", [1e-5, 1e-3])  # no pixel fits; too few a block
def test_voxels_too_small_for_the_pixels_are_a_user_error(ball, size):
    with pytest.raises(ReconstructionError, match="too small for these depth maps") as error:
        fuse(ball, FusionConfig(voxel_size_m=size))
    assert error.value.where == "--surface.voxel-size-m"
    wanted = float(error.value.next_step.split()[3])
    assert len(fuse(ball, FusionConfig(voxel_size_m=wanted)).faces) > 1000


def test_depths_that_agree_on_nothing_are_not_said_to_be_coarse(ball):
    with pytest.raises(ReconstructionError, match="do not agree") as error:
        fuse(ball, FusionConfig(voxel_size_m=0.05, bounds_m=(5, 5, 5, 6, 6, 6)))
    assert "--surface.bounds-m" in error.value.next_step


def test_no_depth_is_a_user_error(ball, scenes):
    empty = [replace(m, depth=np.zeros_like(m.depth)) for m in ball.maps]
    with pytest.raises(ReconstructionError, match="depth"):
        fuse(scenes.SceneMaps(ball.views, empty, ball.colors))
    with pytest.raises(ReconstructionError):
        fuse(scenes.SceneMaps((), [], []))


def test_it_can_be_cancelled(ball):
    def stop(fraction: float, message: str = "") -> None:
        if fraction > 0.2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        fuse(ball, FusionConfig(voxel_size_m=0.1), progress=stop)


def test_a_stopped_fusion_goes_on_to_the_same_mesh(ball, monkeypatch, tmp_path):
    monkeypatch.setattr(fuse_module, "REGION", 3)
    config = FusionConfig(voxel_size_m=0.05)
    whole = fuse(ball, config)
    meshed = []
    usual = fuse_module._mesh_region

    def counted(*arguments):
        meshed.append(1)
        return usual(*arguments)

    monkeypatch.setattr(fuse_module, "_mesh_region", counted)

    def stop(fraction: float, message: str = "") -> None:
        if len(meshed) == 5:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        fuse(ball, config, work_dir=tmp_path, progress=stop)
    monkeypatch.setattr(fuse_module, "allocate", None)  # not needed again
    mesh = fuse(ball, config, work_dir=tmp_path)
    regions = len(list(tmp_path.glob("region_*.npz")))
    assert regions > 5 and len(meshed) == regions  # each once
    assert np.array_equal(mesh.vertices, whole.vertices)
    assert np.array_equal(mesh.colors, whole.colors)
    assert np.array_equal(mesh.faces, whole.faces)


def test_damaged_work_of_a_stopped_fusion_is_named(ball, tmp_path):
    config = FusionConfig(voxel_size_m=0.1)
    fuse(ball, config, work_dir=tmp_path)
    (tmp_path / "region_000000.npz").write_bytes(b"PK")
    with pytest.raises(FormatError) as caught:
        fuse(ball, config, work_dir=tmp_path)
    assert caught.value.where == str(tmp_path / "region_000000.npz")
