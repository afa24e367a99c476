"""Panoramas in COLMAP folders: six views each, with their points, masks and place in the split."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import Image as PilImage

from voxterra.core.camera import Camera
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.errors import FormatError
from voxterra.io.colmap import write_colmap
from voxterra.io.panorama import FACES
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.load import load_scene
from voxterra.surface.voxels.scene import SceneView

WIDTH, HEIGHT, SIDE = 240, 120, 76
PANORAMA = Camera("EQUIRECTANGULAR", WIDTH, HEIGHT, (float(WIDTH), float(HEIGHT)))
PINHOLE = Camera("PINHOLE", 64, 48, (60.0, 60.0, 32.0, 24.0))
HALF = np.array([3.0, 2.0, 4.0])
"""Half edges of the room that the photos show, in world axes."""


def pose(index: int) -> np.ndarray:
    turn = np.radians(40.0 * index)
    rotation = np.array(
        [[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]]
    )
    center = np.array([0.3 * index - 0.8, 0.1 * index, 0.2])
    return np.column_stack([rotation, -rotation @ center])


def color_at(points: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 of a point on the walls."""
    return np.rint(255 * (0.5 + 0.4 * np.sin(1.3 * points + [0.0, 1.0, 2.0]))).astype(np.uint8)


def room_color(rays: np.ndarray, cam_from_world: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 of what (..., 3) rays in camera axes meet of the room around the camera."""
    center = -cam_from_world[:, :3].T @ cam_from_world[:, 3]
    along = rays @ cam_from_world[:, :3]
    with np.errstate(divide="ignore"):
        reach = ((np.sign(along) * HALF - center) / along).min(axis=-1, keepdims=True)
    return color_at(center + reach * along)


def photo_of(camera: Camera, cam_from_world: np.ndarray, factor: int = 1) -> np.ndarray:
    model = pycolmap.Camera(
        model=camera.model, width=camera.width, height=camera.height, params=list(camera.params)
    )
    v, u = (np.mgrid[: camera.height // factor, : camera.width // factor] + 0.5) * factor
    rays = np.asarray(model.cam_ray_from_img(np.column_stack([u.ravel(), v.ravel()])))
    return room_color(rays.reshape(*u.shape, 3), cam_from_world)


EIGHT = HALF * np.array(np.meshgrid([-1, 1], [-0.7, 0.7], [-0.45, 0.45])).reshape(3, -1).T
"""Points on two of the walls."""


def points(images: list[Image], positions: np.ndarray = EIGHT) -> SparsePoints:
    """Points of the walls, each seen by all images."""
    n, count = len(images), len(positions)
    return SparsePoints(
        positions, color_at(positions), np.full(count, 0.5), n * np.arange(count + 1),
        np.tile(np.arange(n), count).astype(np.int32), np.full((count * n, 2), 10.0),
    )  # fmt: skip


def scene_folder(
    folder: Path, n: int = 4, *, pinholes: int = 0, factor: int = 1, positions: np.ndarray = EIGHT
) -> Path:
    """`n` panoramas, and photos of a pinhole camera, all of the room."""
    images = [Image(f"{i}.png", 1, pose(i)) for i in range(n)]
    images += [Image(f"p{i}.png", 2, pose(i)) for i in range(pinholes)]
    cameras = {1: PANORAMA, 2: PINHOLE} if pinholes else {1: PANORAMA}
    write_colmap(
        Reconstruction(cameras, tuple(images), points(images, positions)), folder / "sparse" / "0"
    )
    (folder / "images").mkdir()
    for image in images:
        pixels = photo_of(cameras[image.camera_id], image.cam_from_world, factor)
        PilImage.fromarray(pixels).save(folder / "images" / image.name)
    return folder


def color_error(view: SceneView) -> np.ndarray:
    """Difference between a loaded image and what its own camera sees of the room."""
    v = view.view
    assert view.rgb.shape == (v.height, v.width, 3) and view.rgb.dtype == np.uint8
    y, x = np.mgrid[: v.height, : v.width] + 0.5
    rays = np.stack(
        [(x - v.K[0, 2]) / v.K[0, 0], (y - v.K[1, 2]) / v.K[1, 1], np.ones(x.shape)], -1
    )
    return np.abs(view.rgb.astype(int) - room_color(rays, v.cam_from_world))


def test_a_panorama_becomes_six_views(tmp_path):
    scene = load_scene(scene_folder(tmp_path, 2))
    names = [f"{i}_{face.name}.png" for i in (0, 1) for face in FACES]
    assert [view.view.name for view in scene.views] == names
    for view in scene.views:
        assert (view.view.width, view.view.height) == (SIDE, SIDE)
        assert view.mask is None and not view.held_out and not scene.warnings
        # Colours bend where walls meet, and interpolation rounds it off.
        error = color_error(view)
        assert np.percentile(error, 99) <= 4 and error.max() < 40
    small = load_scene(tmp_path, VoxelConfig(res_width=38))
    assert {view.view.width for view in small.views} == {38}
    assert max(np.percentile(color_error(view), 98) for view in small.views) <= 6


def test_a_panorama_smaller_than_its_camera(tmp_path):
    scene = load_scene(scene_folder(tmp_path, 2, factor=2))
    assert {view.view.width for view in scene.views} == {SIDE // 2}
    assert max(np.percentile(color_error(view), 98) for view in scene.views) <= 6


def test_points_go_to_the_face_that_shows_them(tmp_path):
    scene = load_scene(scene_folder(tmp_path, 3, pinholes=2))
    assert len(scene.views) == 3 * 6 + 2 and scene.points is not None
    for index, view in enumerate(scene.views):
        seen = scene.points.seen_by(index)
        if not view.cut_from:
            assert seen.tolist() == list(range(8))
            continue
        pixels, depth = view.view.project(scene.points.positions)
        inside = (depth > 0) & ((pixels > 0) & (pixels < SIDE)).all(axis=1)
        assert seen.tolist() == np.flatnonzero(inside).tolist()
    for first in (0, 6, 12):  # each panorama has all of its points once
        mine = [scene.points.seen_by(first + face) for face in range(6)]
        assert sorted(np.concatenate(mine)) == list(range(8))


def test_the_faces_of_a_panorama_are_held_out_together(tmp_path):
    scene = load_scene(scene_folder(tmp_path, 5, pinholes=1), VoxelConfig(eval=True, test_every=2))
    held_out = {view.cut_from or view.view.name: view.held_out for view in scene.views}
    assert held_out == {
        "0.png": True, "1.png": False, "2.png": True, "3.png": False, "4.png": True,
        "p0.png": False,
    }  # fmt: skip
    assert len(scene.held_out) == 18


def test_masks_of_panoramas(tmp_path):
    source = scene_folder(tmp_path, 2)
    (source / "masks").mkdir()
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[2 * HEIGHT // 3 :] = 0  # what is more than 30 degrees below: the tripod
    for name in ("0.png", "1.png"):
        PilImage.fromarray(mask).save(source / "masks" / name)
    scene = load_scene(source)
    assert not scene.warnings
    for view in scene.views:
        assert view.mask is not None and view.mask.shape == (SIDE, SIDE)
        if view.view.name.endswith("_down.png"):
            assert not view.mask.any()
        elif view.view.name.endswith("_up.png"):
            assert (view.mask == 255).all()
        else:
            assert (view.mask[: SIDE // 2] == 255).all() and not view.mask[-1].any()


def test_a_photo_with_the_name_of_a_face(tmp_path):
    source = scene_folder(tmp_path, 1, pinholes=1)
    model = source / "sparse" / "0"
    images = [Image("0.png", 1, pose(0)), Image("0_front.png", 2, pose(0))]
    write_colmap(Reconstruction({1: PANORAMA, 2: PINHOLE}, tuple(images), points(images)), model)
    (source / "images" / "p0.png").rename(source / "images" / "0_front.png")
    with pytest.raises(FormatError, match=r"0_front\.png"):
        load_scene(source)


def test_a_black_face_is_told(tmp_path, caplog):
    source = scene_folder(tmp_path, 2)
    pixels = np.array(PilImage.open(source / "images" / "0.png"))
    pixels[HEIGHT // 2 :] = 0
    PilImage.fromarray(pixels).save(source / "images" / "0.png")
    with caplog.at_level(logging.WARNING):
        scene = load_scene(source)
    assert len(scene.warnings) == 1 and "0_down.png is black" in scene.warnings[0]
    assert "mask it" in scene.warnings[0]


def test_a_room_is_trained_from_panoramas(tmp_path):
    pytest.importorskip("torch")
    from voxterra.surface.voxels.evaluate import evaluate_views, means
    from voxterra.surface.voxels.render import render_view, to_device
    from voxterra.surface.voxels.train import train

    rng = np.random.default_rng(0)
    walls = rng.uniform(-1, 1, (900, 3))
    axis = np.arange(900) % 3
    walls[np.arange(900), axis] = np.sign(walls[np.arange(900), axis])
    config = VoxelConfig(
        device="cpu", eval=True, test_every=4, n_iter=60, bound=(-3.6, -3.6, -4.4, 3.6, 3.6, 4.4),
        init_level=4, max_level=6, max_voxels=40_000, ss=1.0, sh_degree=1, save_every=0,
        view_every=0, res_width=48,
    )  # fmt: skip
    scene = load_scene(scene_folder(tmp_path, 5, positions=HALF * walls), config)
    first = []
    model = train(
        scene,
        config,
        started=lambda voxels: first.append(means(evaluate_views(voxels, scene))["psnr"]),
    )
    voxels = to_device(model, "cpu")
    assert means(evaluate_views(voxels, scene))["psnr"] > first[0] + 2
    errors = []
    for image in scene.held_out:  # the walls stand where they are, seen from a panorama held out
        view = image.view
        y, x = np.mgrid[: view.height, : view.width] + 0.5
        rays = view.unproject(np.column_stack([x.ravel(), y.ravel()]), np.ones(x.size))
        rays -= view.center_in_world
        reach = ((np.sign(rays) * HALF - view.center_in_world) / rays).min(axis=1)
        depth = render_view(voxels, view).depth.numpy().ravel()
        errors.append(np.abs(depth - reach) / reach)
    assert np.median(np.concatenate(errors)) < 0.025
