"""Panoramas in COLMAP folders: six views each, with their points, masks and place in the split."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import Image as PilImage
from scipy.ndimage import maximum_filter

from voxterra.core.camera import Camera, PinholeView
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.errors import FormatError, InputError, TooFewPhotosError, UsageError
from voxterra.imaging.panorama import FACES
from voxterra.io.colmap.model import write_colmap
from voxterra.io.nerf import write_transforms
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.scene.load import load_scene
from voxterra.surface.voxels.scene.scene import SceneView
from voxterra.surface.voxels.start.bounds import main_bound

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


def write_model(folder: Path, camera: Camera, images: list[Image], at: np.ndarray = EIGHT) -> None:
    """A model of images that share a camera."""
    model = Reconstruction({1: camera}, tuple(images), points(images, at))
    write_colmap(model, folder / "sparse" / "0")


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


def test_points_are_given_by_where_the_panorama_stands(tmp_path):
    positions = np.random.default_rng(3).uniform(-1, 1, (300, 3)) * HALF
    scene = load_scene(scene_folder(tmp_path, 3, positions=positions))
    assert scene.points is not None
    for index, view in enumerate(scene.views):
        pixels, depth = view.view.project(positions)
        inside = (depth > 0) & ((pixels > 0) & (pixels < SIDE)).all(axis=1)
        assert scene.points.seen_by(index).tolist() == np.flatnonzero(inside).tolist()


def test_panoramas_without_points(tmp_path):
    source = scene_folder(tmp_path, 2, positions=np.empty((0, 3)))
    assert load_scene(source).points is None


@pytest.mark.parametrize("transparent", [False, True], ids=["masks", "alpha"])
def test_what_a_panoramas_mask_hides_is_ignored(tmp_path, transparent):
    source = scene_folder(tmp_path, 2)
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[2 * HEIGHT // 3 :] = 0  # what is more than 30 degrees below: the tripod
    (source / "masks").mkdir()
    for name in ("0.png", "1.png"):
        if transparent:
            pixels = np.array(PilImage.open(source / "images" / name))
            PilImage.fromarray(np.dstack([pixels, mask])).save(source / "images" / name)
        else:
            PilImage.fromarray(mask).save(source / "masks" / name)
    if transparent:
        (source / "masks").rmdir()
    scene = load_scene(source)
    assert not scene.warnings
    # Of the faces that look down nothing is left, and so they are.
    assert len(scene.views) == 10 and not any("_down" in v.view.name for v in scene.views)
    assert scene.points is not None and len(scene.points.view_start) == 11
    for index, view in enumerate(scene.views):
        pixels, depth = view.view.project(scene.points.positions)
        inside = (depth > 0) & ((pixels > 0) & (pixels < SIDE)).all(axis=1)
        assert scene.points.seen_by(index).tolist() == np.flatnonzero(inside).tolist()
        assert view.mask is None
        if view.view.name.endswith("_up.png"):
            assert view.ignored is None
            continue
        assert view.ignored is not None and view.ignored.shape == (SIDE, SIDE)
        assert not view.ignored[: SIDE // 2].any() and view.ignored[-1].all()
    objects = load_scene(source, VoxelConfig(mask_mode="object"))
    kept = {view.view.name: view for view in scene.views}
    assert len(objects.views) == 12 and not objects.warnings
    for view in objects.views:
        other = kept.get(view.view.name)
        if other is None:
            assert view.mask is not None and not view.mask.any()
            continue
        assert view.ignored is None and view.mask is not None
        ignored = np.zeros((SIDE, SIDE), bool) if other.ignored is None else other.ignored
        assert (ignored == maximum_filter(view.mask < 128, size=5)).all()  # with a fringe of 2


def test_photos_may_have_masks_that_are_ignored_too(tmp_path):
    source = scene_folder(tmp_path, 1, pinholes=3)
    (source / "masks").mkdir()
    mask = np.full((PINHOLE.height, PINHOLE.width), 255, np.uint8)
    mask[:, :20] = 0
    PilImage.fromarray(mask).save(source / "masks" / "p1.png")
    auto = {view.view.name: view for view in load_scene(source).views}
    assert auto["p1.png"].mask is not None and auto["p1.png"].ignored is None
    views = load_scene(source, VoxelConfig(mask_mode="ignore")).views
    view = {view.view.name: view for view in views}["p1.png"]
    assert view.mask is None and view.ignored is not None
    # With a fringe, into which resampling may have mixed what is ignored.
    assert view.ignored[:, :22].all() and not view.ignored[:, 22:].any()


def test_a_panorama_that_is_masked_as_a_whole_is_told(tmp_path):
    source = scene_folder(tmp_path, 3)
    (source / "masks").mkdir()
    for name in ("0.png", "2.png"):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        PilImage.fromarray(mask).save(source / "masks" / name)
    with pytest.raises(TooFewPhotosError, match="one view"):  # it leaves one of three
        load_scene(source)
    PilImage.fromarray(255 - mask).save(source / "masks" / "2.png")
    scene = load_scene(source)
    assert scene.warnings == ("the mask of 0.png is all black: the photo is left out",)
    assert {view.cut_from for view in scene.views} == {"1.png", "2.png"}


def test_no_colour_of_what_is_ignored_is_left_at_its_border(tmp_path):
    source = scene_folder(tmp_path, 2)
    (source / "masks").mkdir()
    below = np.zeros((HEIGHT, WIDTH), bool)
    below[70:, 33:171] = True
    for name in ("0.png", "1.png"):
        pixels = np.array(PilImage.open(source / "images" / name))
        pixels[below] = (255, 0, 255)
        PilImage.fromarray(pixels).save(source / "images" / name)
        mask = np.where(below, 0, 255).astype(np.uint8)
        PilImage.fromarray(mask).save(source / "masks" / name)
    for config in (VoxelConfig(), VoxelConfig(res_downscale=2)):
        for view in load_scene(source, config).views:
            error = color_error(view).max(axis=2)
            counted = error if view.ignored is None else error[~view.ignored]
            assert np.percentile(counted, 99) <= 6 and counted.max() < 40


def test_a_photo_that_is_ignored_as_a_whole_is_told(tmp_path):
    source = scene_folder(tmp_path, 1, pinholes=3)
    (source / "masks").mkdir()
    mask = np.zeros((PINHOLE.height, PINHOLE.width), np.uint8)
    PilImage.fromarray(mask).save(source / "masks" / "p1.png")
    scene = load_scene(source, VoxelConfig(mask_mode="ignore"))
    assert scene.warnings == ("the mask of p1.png is all black: the photo is left out",)
    assert [v.view.name for v in scene.views if not v.cut_from] == ["p0.png", "p2.png"]
    assert scene.points is not None and scene.points.seen_by(len(scene.views) - 1).size == 8


def test_masks_that_hide_everything_are_an_error(tmp_path):
    source = scene_folder(tmp_path, 2)
    (source / "masks").mkdir()
    for name in ("0.png", "1.png"):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        PilImage.fromarray(mask).save(source / "masks" / name)
    with pytest.raises(InputError, match="all of them is ignored"):
        load_scene(source)


def test_masks_of_other_names_are_not_taken_in_order(tmp_path):
    source = scene_folder(tmp_path, 2)
    (source / "masks").mkdir()
    for name in ("0_mask.png", "1_mask.png"):
        mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
        PilImage.fromarray(mask).save(source / "masks" / name)
    with pytest.raises(InputError, match="belongs to a photo"):
        load_scene(source)


def test_a_panorama_that_is_not_twice_as_wide_as_high_is_told(tmp_path):
    source = scene_folder(tmp_path, 2)
    wide = Camera("EQUIRECTANGULAR", WIDTH, 80, (float(WIDTH), 80.0))
    images = [Image(f"{i}.png", 1, pose(i)) for i in (0, 1)]
    write_model(source, wide, images)
    for image in images:
        pixels = photo_of(wide, image.cam_from_world)
        PilImage.fromarray(pixels).save(source / "images" / image.name)
    (warning,) = load_scene(source).warnings
    assert "2 are not (0.png first: 240 x 80)" in warning


def test_what_is_ignored_is_not_scored(tmp_path):
    torch = pytest.importorskip("torch")
    from voxterra.surface.voxels.evaluate import score_view
    from voxterra.surface.voxels.model.render import Rendered

    view = load_scene(scene_folder(tmp_path, 2)).views[0]
    ignored = np.zeros((SIDE, SIDE), bool)
    ignored[:30] = True
    spoilt = view.rgb.copy()
    spoilt[ignored] = (255, 0, 255)
    plane = torch.ones(SIDE, SIDE)
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.05, view.rgb.shape))
    color = torch.from_numpy(view.rgb).float() / 255 + noise.float()
    seen = Rendered(color, 0 * plane, plane, plane, color)
    one, other = (
        score_view(replace(view, rgb=rgb, ignored=ignored), seen) for rgb in (view.rgb, spoilt)
    )
    assert (one.psnr, one.ssim) == (other.psnr, other.ssim)
    assert score_view(replace(view, rgb=spoilt), seen).ssim < one.ssim - 0.1
    nothing = score_view(replace(view, ignored=np.ones_like(ignored)), seen)
    assert np.isnan(nothing.psnr) and np.isnan(nothing.ssim)


def test_one_panorama_is_one_photo(tmp_path):
    with pytest.raises(TooFewPhotosError, match="one view"):
        load_scene(scene_folder(tmp_path / "one", 1))
    two = scene_folder(tmp_path / "two", 2)
    with pytest.raises(TooFewPhotosError, match="one view"):
        load_scene(two, VoxelConfig(eval=True, test_every=2))


def test_panoramas_at_one_place_are_told(tmp_path):
    source = scene_folder(tmp_path, 2, positions=np.empty((0, 3)))
    center = np.array([0.3, 0.1, 0.2])
    images = [
        Image(f"{i}.png", 1, np.column_stack([pose(i)[:, :3], -pose(i)[:, :3] @ center]))
        for i in (0, 1)
    ]
    write_model(source, PANORAMA, images, np.empty((0, 3)))
    with pytest.raises(UsageError, match="stand at one place"):
        main_bound(load_scene(source), VoxelConfig())


def test_transforms_of_panoramas_for_training_and_testing(tmp_path):
    images = {"train": [Image(f"train/{i}.png", 1, pose(i)) for i in (0, 1)]}
    images["test"] = [Image("test/2.png", 1, pose(2))]
    for part, listed in images.items():
        (tmp_path / part).mkdir()
        file = tmp_path / f"transforms_{part}.json"
        model = Reconstruction({1: PANORAMA}, tuple(listed), points(listed))
        write_transforms(model, file, image_folder="")
        for image in listed:
            pixels = photo_of(PANORAMA, image.cam_from_world)
            PilImage.fromarray(pixels).save(tmp_path / image.name)
    scene = load_scene(tmp_path, VoxelConfig(eval=True))
    assert [view.held_out for view in scene.views] == 12 * [False] + 6 * [True]
    assert scene.held_out[0].view.name == "test/2_front.png"
    assert max(np.percentile(color_error(view), 99) for view in scene.views) <= 4


def test_a_cropped_panorama_is_told(tmp_path):
    source = scene_folder(tmp_path, 2)
    cropped = Camera("EQUIRECTANGULAR", WIDTH, HEIGHT - 20, (float(WIDTH), float(HEIGHT)))
    images = [Image(f"{i}.png", 1, pose(i)) for i in (0, 1)]
    write_model(source, cropped, images)
    for image in images:
        pixels = photo_of(PANORAMA, image.cam_from_world)[: HEIGHT - 20]
        PilImage.fromarray(pixels).save(source / "images" / image.name)
    with pytest.raises(FormatError, match="a part of 240 x 120"):
        load_scene(source)


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
    assert len(scene.warnings) == 1 and "1 of 12 (0_down.png first)" in scene.warnings[0]
    assert "mask them" in scene.warnings[0]


def walls(count: int = 900) -> np.ndarray:
    """(count, 3) points of all six walls."""
    points = np.random.default_rng(0).uniform(-1, 1, (count, 3))
    axis = np.arange(count) % 3
    points[np.arange(count), axis] = np.sign(points[np.arange(count), axis])
    return HALF * points


TRAINING = VoxelConfig(
    device="cpu", eval=True, test_every=4, n_iter=60, bound=(-3.6, -3.6, -4.4, 3.6, 3.6, 4.4),
    init_level=4, max_level=6, max_voxels=40_000, ss=1.0, sh_degree=1, save_every=0,
    view_every=0, res_width=48,
)  # fmt: skip


def depth_to_walls(view: PinholeView) -> np.ndarray:
    """(H, W) depth along the optical axis."""
    y, x = np.mgrid[: view.height, : view.width] + 0.5
    pixels = np.column_stack([x.ravel(), y.ravel()])
    center = view.center_in_world
    rays = view.unproject(pixels, np.ones(len(pixels))) - center
    reach = ((np.sign(rays) * HALF - center) / rays).min(axis=1)
    return reach.reshape(view.height, view.width)


def test_a_room_is_trained_from_panoramas(tmp_path):
    pytest.importorskip("torch")
    from voxterra.surface.voxels.evaluate import evaluate_views, means
    from voxterra.surface.voxels.model.render import render_view, to_device
    from voxterra.surface.voxels.train import train

    scene = load_scene(scene_folder(tmp_path, 5, positions=walls()), TRAINING)
    first = []
    model = train(
        scene,
        TRAINING,
        started=lambda voxels: first.append(means(evaluate_views(voxels, scene))["psnr"]),
    )
    voxels = to_device(model, "cpu")
    assert means(evaluate_views(voxels, scene))["psnr"] > first[0] + 2
    errors = []
    for image in scene.held_out:  # the walls stand where they are, seen from a panorama held out
        depth, reach = render_view(voxels, image.view).depth.numpy(), depth_to_walls(image.view)
        errors.append(np.abs(depth - reach) / reach)
    assert np.median(errors) < 0.025


@pytest.mark.slow
def test_a_masked_tripod_leaves_the_floor_as_it_is(tmp_path, every):
    pytest.importorskip("torch")
    from voxterra.surface.voxels.model.render import render_view, to_device
    from voxterra.surface.voxels.train import train

    clean = load_scene(scene_folder(tmp_path / "clean", 5, positions=walls()), TRAINING)
    source = scene_folder(tmp_path / "tripod", 5, positions=walls())
    (source / "masks").mkdir()
    below = np.zeros((HEIGHT, WIDTH), bool)
    below[13 * HEIGHT // 15 :] = True  # 66 degrees down and more
    for file in (source / "images").iterdir():
        pixels = np.array(PilImage.open(file))
        pixels[below] = (255, 0, 255)
        PilImage.fromarray(pixels).save(file)
        PilImage.fromarray(np.where(below, 0, 255).astype(np.uint8)).save(
            source / "masks" / file.name
        )
    hidden = [view.ignored for view in load_scene(source, TRAINING).held_out]

    def floor(config: VoxelConfig) -> tuple[float, float, float]:
        """Error of colour, relative error of depth, and light that passes, where it is hidden."""
        voxels = to_device(train(load_scene(source, config), config), "cpu")
        colors, depths, lights = [], [], []
        for view, at in zip(clean.held_out, hidden):
            if at is not None:
                seen = render_view(voxels, view.view)
                colors.append(np.abs(255 * seen.color.numpy() - view.rgb)[at].ravel())
                reach = depth_to_walls(view.view)[at]
                depths.append(np.abs(seen.depth.numpy()[at] - reach) / reach)
                lights.append(seen.transmittance.numpy()[at])
        color, depth, light = map(np.concatenate, (colors, depths, lights))
        return float(np.median(color)), float(np.median(depth)), float(light.mean())

    color, depth, light = floor(TRAINING)
    # The other panoramas see it: the floor's own colour, at its own depth, and no hole.
    assert color < 14 and depth < 0.025 and light < 0.01
    if every(2) == 1:  # by night: without being ignored it would be a hole
        _, depth, light = floor(replace(TRAINING, mask_mode="object"))
        assert depth > 0.05 and light > 0.2
