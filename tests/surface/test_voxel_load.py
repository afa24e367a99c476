"""Scenes for the voxels from COLMAP, NeRF, IDR and run folders.

Photos here show the direction of their rays as colour, so that a wrong undistortion, resize or K
moves colours where a test sees it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from voxterra.core.camera import Camera, PinholeView
from voxterra.core.depth import DepthMap
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.errors import (
    FormatError,
    InputError,
    NoPhotosError,
    TooFewPhotosError,
    UsageError,
)
from voxterra.io.colmap.model import to_pycolmap_camera, write_colmap
from voxterra.io.depth_store import (
    color_path,
    depth_path,
    mask_path,
    write_depth,
    write_image,
    write_views,
)
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.scene.load import load_scene
from voxterra.surface.voxels.scene.scene import SceneView

MODELS = {
    "PINHOLE": (90.0, 92.0, 63.0, 49.5),
    "SIMPLE_PINHOLE": (90.0, 64.0, 48.0),
    "SIMPLE_RADIAL": (90.0, 64.0, 48.0, 0.08),
    "OPENCV": (90.0, 91.0, 63.0, 48.0, -0.06, 0.02, 0.001, -0.001),
    "OPENCV_FISHEYE": (90.0, 90.0, 64.0, 48.0, 0.03, -0.01, 0.0, 0.0),
}
WIDTH, HEIGHT = 128, 96


def color_of_rays(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 that tells the direction (x, y, 1)."""
    rgb = np.stack([0.5 + 0.45 * x, 0.5 + 0.45 * y, 0.5 + 0.2 * np.sin(4 * (x + y))], -1)
    return np.rint(255 * rgb.clip(0, 1)).astype(np.uint8)


def photo_of(camera: Camera, factor: int = 1) -> np.ndarray:
    """(H, W, 3) uint8 of a camera, `factor` times smaller than it."""
    xx, yy = np.meshgrid(
        (np.arange(camera.width // factor) + 0.5) * factor,
        (np.arange(camera.height // factor) + 0.5) * factor,
    )
    pixels = np.column_stack([xx.ravel(), yy.ravel()])
    rays = np.asarray(to_pycolmap_camera(camera).cam_from_img(pixels))
    x, y = (rays[:, i].reshape(xx.shape) for i in (0, 1))
    return color_of_rays(x, y)


def pose(index: int) -> np.ndarray:
    return np.hstack([np.eye(3), [[-0.1 * index], [0.0], [0.0]]])


def points(n_images: int) -> SparsePoints:
    """Point 0 seen by all images, point 1 by images 1 and 2 (twice by 2)."""
    track = [*range(n_images), 1, *[min(2, n_images - 1)] * 2]
    return SparsePoints(
        positions_in_world=np.array([[0.1, 0.2, 4.0], [0.3, -0.1, 5.0]]),
        colors=np.array([[1, 2, 3], [4, 5, 6]], np.uint8),
        errors_px=np.array([0.5, 0.5]),
        track_start=np.array([0, n_images, n_images + 3]),
        track_image=np.array(track, np.int32),
        track_xy=np.full((len(track), 2), 10.0),
    )


def colmap_scene(
    folder: Path, model: str = "PINHOLE", n: int = 5, *, images: str = "images", factor: int = 1
) -> Path:
    camera = Camera(model, WIDTH, HEIGHT, MODELS[model])
    listed = tuple(Image(f"{i:03d}.png", 1, pose(i)) for i in range(n))
    write_colmap(Reconstruction({1: camera}, listed, points(n)), folder / "sparse" / "0")
    (folder / images).mkdir(exist_ok=True)
    pixels = photo_of(camera, factor)
    for image in listed:
        PilImage.fromarray(pixels).save(folder / images / image.name)
    return folder


def color_error(view: SceneView) -> np.ndarray:
    """Difference between a loaded image and the colour its own K says it has, off the border."""
    v = view.view
    assert view.rgb.shape == (v.height, v.width, 3) and view.rgb.dtype == np.uint8
    yy, xx = np.mgrid[: v.height, : v.width] + 0.5
    x, y = (xx - v.K[0, 2]) / v.K[0, 0], (yy - v.K[1, 2]) / v.K[1, 1]
    return np.abs(view.rgb.astype(int) - color_of_rays(x, y))[2:-2, 2:-2]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("config", [VoxelConfig(), VoxelConfig(res_downscale=2)], ids="12")
def test_every_camera_model_becomes_a_pinhole_image(tmp_path, model, config):
    scene = load_scene(colmap_scene(tmp_path, model), config)
    assert len(scene.views) == 5 and not scene.warnings
    for view in scene.views:
        assert color_error(view).max() <= 3
        assert view.mask is None and view.prior is None and not view.held_out
    if config.res_downscale:
        whole = load_scene(tmp_path).views[0].view
        assert scene.views[0].view.width == round(whole.width / 2)


def test_photos_smaller_than_their_camera(tmp_path):
    for model in ("PINHOLE", "OPENCV"):
        source = colmap_scene(tmp_path / model, model, images="images_2", factor=2)
        scene = load_scene(source, image_dir_name="images_2")
        assert scene.views[0].view.width <= WIDTH // 2 + 1
        assert max(color_error(view).max() for view in scene.views) <= 3


def test_points_by_view(tmp_path):
    scene = load_scene(colmap_scene(tmp_path))
    assert scene.points is not None and len(scene.points) == 2
    assert [scene.points.seen_by(i).tolist() for i in range(5)] == [[0], [0, 1], [0, 1], [0], [0]]
    assert scene.points.colors is not None and scene.points.colors[1].tolist() == [4, 5, 6]


def test_images_held_out(tmp_path):
    source = colmap_scene(tmp_path, n=6)
    scene = load_scene(source, VoxelConfig(eval=True, test_every=3))
    assert [v.held_out for v in scene.views] == [True, False, False, True, False, False]
    assert len(scene.training) == 4 and [v.view.name for v in scene.held_out] == [
        "000.png",
        "003.png",
    ]
    with pytest.raises(UsageError, match="nothing is left"):
        load_scene(source, VoxelConfig(eval=True, test_every=1))


def test_sizes(tmp_path):
    source = colmap_scene(tmp_path)
    view = load_scene(source, VoxelConfig(res_width=50)).views[0].view
    assert (view.width, view.height) == (50, 38)
    assert view.K[0, 0] == pytest.approx(90.0 * 50 / 128)
    assert view.K[1, 2] == pytest.approx(49.5 * 38 / 96)
    assert load_scene(source, VoxelConfig(res_width=500)).views[0].view.width == WIDTH
    for wrong in (VoxelConfig(res_width=50, res_downscale=2), VoxelConfig(res_downscale=0.5)):
        with pytest.raises(UsageError):
            load_scene(source, wrong)


def test_masks_beside_photos(tmp_path, caplog):
    source = colmap_scene(tmp_path, "OPENCV", n=3)
    (source / "masks").mkdir()
    left = np.zeros((HEIGHT, WIDTH), np.uint8)
    left[:, : WIDTH // 2] = 255
    PilImage.fromarray(left).save(source / "masks" / "000.png.png")
    PilImage.fromarray(left).resize((WIDTH // 2, HEIGHT // 2)).save(source / "masks" / "001.jpg")
    first, second, third = load_scene(source).views
    assert third.mask is None
    assert not caplog.records
    PilImage.fromarray(left).save(source / "masks" / "O02.png")
    assert load_scene(source).views[2].mask is None
    assert "O02.png" in caplog.text and "002.png first" in caplog.text
    (source / "masks" / "O02.png").unlink()
    for view in (first, second):
        assert view.mask is not None and view.mask.shape == view.rgb.shape[:2]
        middle = round(view.view.K[0, 2] + (WIDTH / 2 - 63.0) * view.view.K[0, 0] / 90.0)
        assert view.mask[:, : middle - 2].min() == 255
        assert view.mask[:, middle + 2 :].max() == 0
    PilImage.fromarray(left[:, :40]).save(source / "masks" / "002.png")
    with pytest.raises(FormatError, match="The mask is 40 x 96"):
        load_scene(source)


def test_masks_that_say_nothing(tmp_path):
    source = colmap_scene(tmp_path, n=3)
    (source / "masks").mkdir()
    full, empty = np.full((HEIGHT, WIDTH), 255, np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    for i, mask in enumerate((empty, full, full)):
        PilImage.fromarray(mask).save(source / "masks" / f"{i:03d}.png")
    scene = load_scene(source)
    assert len(scene.warnings) == 1
    assert "mask of 000.png is empty" in scene.warnings[0]
    for i in range(3):
        PilImage.fromarray(empty).save(source / "masks" / f"{i:03d}.png")
    with pytest.raises(InputError, match="all 3 images"):
        load_scene(source)
    for i in range(3):
        (source / "masks" / f"{i:03d}.png").rename(source / "masks" / f"other{i}.png")
    PilImage.fromarray(empty).save(source / "masks" / "another.png")
    with pytest.raises(InputError, match="belongs to a photo"):
        load_scene(source)


def test_transparency_is_the_mask_and_shows_the_background(tmp_path):
    source = colmap_scene(tmp_path, n=3)
    rgba = np.full((HEIGHT, WIDTH, 4), (200, 100, 0, 255), np.uint8)
    rgba[:, :32, 3] = 0
    rgba[:, 32:64, 3] = 128
    for i in range(3):
        PilImage.fromarray(rgba).save(source / "images" / f"{i:03d}.png")
    white = load_scene(source, VoxelConfig(white_background=True)).views[0]
    assert white.mask is not None
    assert white.mask[5, [0, 40, 100]].tolist() == [0, 128, 255]
    assert white.rgb[5, [0, 40, 100]].tolist() == [[255, 255, 255], [227, 177, 127], [200, 100, 0]]
    black = load_scene(source, VoxelConfig(black_background=True)).views[0]
    assert black.rgb[5, [0, 40, 100]].tolist() == [[0, 0, 0], [100, 50, 0], [200, 100, 0]]
    with pytest.raises(UsageError, match="white and black"):
        load_scene(source, VoxelConfig(white_background=True, black_background=True))
    rgba[..., 3] = 255  # a PNG of a viewer that always writes four channels is no mask
    for i in range(3):
        PilImage.fromarray(rgba).save(source / "images" / f"{i:03d}.png")
    assert all(view.mask is None for view in load_scene(source).views)


def test_what_is_wrong_with_photos_is_told(tmp_path):
    with pytest.raises(NoPhotosError, match="no such folder"):
        load_scene(tmp_path / "nowhere")
    with pytest.raises(NoPhotosError, match="no cameras"):
        load_scene(tmp_path)
    source = colmap_scene(tmp_path / "black", n=3)
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    PilImage.fromarray(black).save(source / "images" / "001.png")
    (warning,) = load_scene(source).warnings
    assert "001.png is black" in warning and "trained" in warning
    more = colmap_scene(tmp_path / "more", n=5)
    PilImage.fromarray(black).save(more / "images" / "002.png")
    (warning,) = load_scene(more, VoxelConfig(eval=True, test_every=2)).warnings
    assert "002.png is black" in warning and "scored" in warning
    with pytest.raises(NoPhotosError, match="folder of photos") as caught:
        load_scene(source, image_dir_name="photos")
    assert "images" in str(caught.value.next_step)
    PilImage.fromarray(black[:, :50]).save(source / "images" / "001.png")
    with pytest.raises(FormatError, match="The photo is 50 x 96"):
        load_scene(source)
    (source / "images" / "001.png").write_bytes(b"no photo")
    with pytest.raises(FormatError, match=r"cannot be read"):
        load_scene(source)
    (source / "images" / "001.png").unlink()
    with pytest.raises(InputError, match=r"1 of 3 .* 001\.png"):
        load_scene(source)
    for n, every in ((2, 8), (3, 2)):
        source = colmap_scene(tmp_path / f"few{n}", n=n)
        assert len(load_scene(source).views) == n
        with pytest.raises(TooFewPhotosError, match="one view"):
            load_scene(source, VoxelConfig(eval=True, test_every=every))


def nerf_scene(folder: Path, *, size: tuple[int, int] = (64, 48)) -> Path:
    """Files as the NeRF authors write them: no sizes, no endings, RGBA."""
    folder.mkdir(exist_ok=True)
    camera = Camera("PINHOLE", *size, (70.0, 70.0, size[0] / 2, size[1] / 2))
    rgb = photo_of(camera)
    alpha = np.full((*rgb.shape[:2], 1), 255, np.uint8)
    alpha[:4] = 0
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    for part, numbers in (("train", (0, 2, 10)), ("test", (1,))):
        (folder / part).mkdir()
        frames = []
        for i in numbers:
            world_from_cam = np.eye(4)
            world_from_cam[0, 3] = 0.1 * i
            matrix = (world_from_cam @ flip).tolist()
            frames.append({"file_path": f"./{part}/r_{i}", "transform_matrix": matrix})
            PilImage.fromarray(np.dstack([rgb, alpha])).save(folder / part / f"r_{i}.png")
        angle = 2 * np.arctan(size[0] / 2 / 70.0)
        data = {"camera_angle_x": angle, "frames": frames}
        (folder / f"transforms_{part}.json").write_text(json.dumps(data))
    return folder


def test_nerf_folder(tmp_path):
    source = nerf_scene(tmp_path / "nerf")
    scene = load_scene(source, VoxelConfig(eval=True))
    assert [(v.view.name, v.held_out) for v in scene.views] == [
        ("train/r_0", False),
        ("train/r_10", False),
        ("train/r_2", False),
        ("test/r_1", True),
    ]
    np.testing.assert_allclose(scene.views[1].view.center_in_world, [1.0, 0, 0], atol=1e-12)
    for view in scene.views:
        assert view.mask is not None and view.mask[:4].max() == 0 and view.mask[4:].min() == 255
        assert not view.rgb[:4].any() and color_error(view)[4:].max() <= 1
    everything = load_scene(source)
    assert len(everything.training) == 4


def test_nerfstudio_folder(tmp_path):
    camera = Camera("OPENCV", WIDTH, HEIGHT, MODELS["OPENCV"])
    listed = tuple(Image(f"{i}.png", 1, pose(i)) for i in range(3))
    from voxterra.io.nerf import write_transforms

    write_transforms(Reconstruction({1: camera}, listed, points(3)), tmp_path / "transforms.json")
    for name, factor in (("images", 1), ("images_2", 2)):
        (tmp_path / name).mkdir()
        for image in listed:
            PilImage.fromarray(photo_of(camera, factor)).save(tmp_path / name / image.name)
    (tmp_path / "masks").mkdir()
    PilImage.fromarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8)).save(tmp_path / "masks" / "1.png")
    full = load_scene(tmp_path)
    half = load_scene(tmp_path, image_dir_name="images_2")
    assert max(color_error(v).max() for v in (*full.views, *half.views)) <= 3
    assert half.views[0].view.width * 2 == pytest.approx(full.views[0].view.width, abs=1)
    assert [v.mask is not None for v in full.views] == [False, True, False]
    assert [v.mask is not None for v in half.views] == [False, True, False]
    assert full.points is not None and full.points.colors is not None  # beside transforms.json
    np.testing.assert_allclose(full.points.positions, points(3).positions_in_world)
    assert full.points.colors.tolist() == points(3).colors.tolist()


def test_idr_scene_with_its_sphere(tmp_path):
    camera = Camera("PINHOLE", 64, 48, (70.0, 72.0, 33.0, 24.0))
    K = np.array([[70.0, 0, 32.5], [0, 72.0, 23.5], [0, 0, 1]])  # first pixel centre at (0, 0)
    scale = np.diag([2.0, 2.0, 2.0, 1.0])
    scale[:3, 3] = 1, 2, 3
    arrays = {}
    (tmp_path / "image").mkdir()
    for i in range(3):
        turn = np.linalg.qr(np.random.default_rng(i).normal(size=(3, 3)))[0]
        turn *= np.linalg.det(turn)
        cam_from_world = np.hstack([turn, np.array([[0.1], [0.2], [5.0]])])
        arrays[f"world_mat_{i}"] = np.vstack([-3.0 * K @ cam_from_world, [0, 0, 0, 1]])
        arrays[f"scale_mat_{i}"] = scale
        PilImage.fromarray(photo_of(camera)).save(tmp_path / "image" / f"{i:06d}.png")
        arrays[f"expected_{i}"] = cam_from_world
    np.savez(tmp_path / "cameras_sphere.npz", **arrays)
    scene = load_scene(tmp_path)
    assert scene.world_box == pytest.approx((-1, 0, 1, 3, 4, 5))
    for i, view in enumerate(scene.views):
        np.testing.assert_allclose(view.view.cam_from_world, arrays[f"expected_{i}"], atol=1e-9)
        assert color_error(view).max() <= 1
    (tmp_path / "image" / "000001.png").unlink()
    with pytest.raises(InputError, match="3 cameras, but 2 photos"):
        load_scene(tmp_path)


def run_folder(folder: Path, n: int = 3) -> Path:
    """What the stages georef and depth of a run leave, with depth at half the size."""
    camera = Camera("PINHOLE", WIDTH, HEIGHT, MODELS["PINHOLE"])
    listed = tuple(Image(f"{i}.jpg", 1, pose(i)) for i in range(n))
    write_colmap(
        Reconstruction({1: camera}, listed, points(n)), folder / "stages/georef/component_0"
    )
    K = np.array([[90.0, 0, 63.0], [0, 92.0, 49.5], [0, 0, 1]])
    views = tuple(
        PinholeView(image.name, K, image.cam_from_world, WIDTH, HEIGHT, camera)
        for image in reversed(listed)
    )
    depth = folder / "stages" / "depth"
    write_views(views, depth)
    for i, view in enumerate(views):
        small = view.resized(WIDTH // 2, HEIGHT // 2)
        shape = (small.height, small.width)
        normal = np.zeros((*shape, 3), np.float32)
        normal[..., 2] = -1
        z = np.full(shape, 4.0, np.float32)
        z[0, 0] = np.nan if i == 0 else 4.0
        ones = np.ones(shape, np.float32)
        write_depth(DepthMap(small, z, normal, ones), depth_path(depth, i))
        write_image(photo_of(camera), color_path(depth, i))
    return folder


def test_run_folder(tmp_path, caplog):
    source = run_folder(tmp_path)
    scene = load_scene(source, VoxelConfig(eval=True, test_every=3))
    assert [v.held_out for v in scene.views] == [True, False, False]
    assert scene.points is not None
    # Views go backwards here: names say which points they see, not places in a list.
    assert [scene.points.seen_by(i).tolist() for i in range(3)] == [[0, 1], [0, 1], [0]]
    prior = scene.views[0].prior
    assert prior is not None and prior.depth.shape == (HEIGHT // 2, WIDTH // 2)
    assert prior.depth[0, 0] == 0 and prior.confidence[0, 0] == 0  # it was no number
    messages = [r.getMessage() for r in caplog.records if "no numbers" in r.getMessage()]
    assert len(messages) == 1 and f"{scene.views[0].view.name}: 1 of " in messages[0]
    small = load_scene(source, VoxelConfig(res_downscale=4)).views[0]
    assert small.prior is not None and small.prior.depth.shape == small.rgb.shape[:2] == (24, 32)
    assert small.prior.view.K[0, 0] == pytest.approx(90.0 / 4)
    assert color_error(small).max() <= 8  # JPEG


def test_masks_of_a_run_say_what_they_are_told_to(tmp_path):
    source = run_folder(tmp_path)
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[:, :40] = 0
    write_image(mask, mask_path(source / "stages" / "depth", 1))
    view = load_scene(source).views[1]
    assert view.mask is not None and not view.mask[:, :40].any() and view.ignored is None
    view = load_scene(source, VoxelConfig(mask_mode="ignore")).views[1]
    assert view.mask is None and view.ignored is not None
    assert view.ignored[:, :42].all() and not view.ignored[:, 42:].any()


def test_run_without_depth(tmp_path):
    (tmp_path / "stages" / "sfm").mkdir(parents=True)
    with pytest.raises(InputError, match="no depth maps yet"):
        load_scene(tmp_path)


def test_depth_maps_that_are_no_numbers(tmp_path):
    source = run_folder(tmp_path)
    path = depth_path(source / "stages" / "depth", 1)
    with np.load(path) as data:
        arrays = dict(data)
    arrays["depth"] = np.full_like(arrays["depth"], np.nan)
    np.savez(path, **arrays)
    with pytest.raises(InputError, match="No value of this depth map"):
        load_scene(source)


def test_pinhole_photos_need_no_sfm_package(tmp_path, monkeypatch):
    source = colmap_scene(tmp_path / "pinhole")
    distorted = colmap_scene(tmp_path / "opencv", "OPENCV")
    monkeypatch.setitem(__import__("sys").modules, "pycolmap", None)
    assert len(load_scene(source).views) == 5
    from voxterra.errors import MissingPartError

    with pytest.raises(MissingPartError, match="pycolmap"):
        load_scene(distorted)


def test_chair(shared_data):
    source = shared_data("object_chair_synthetic")
    scene = load_scene(source, VoxelConfig(eval=True, res_downscale=8, white_background=True))
    assert len(scene.training) > 20 and len(scene.held_out) == 6 and not scene.warnings
    view = scene.views[0]
    assert view.rgb.shape == (100, 100, 3) and view.mask is not None
    assert view.rgb[0, 0].tolist() == [255, 255, 255] and view.mask[0, 0] == 0
    xy, depth = view.view.project(np.zeros((1, 3)))  # all cameras look at the origin
    assert depth[0] > 1 and np.abs(xy - 50).max() < 5


@pytest.mark.slow
def test_dtu_scan(shared_data):
    scene = load_scene(shared_data("dtu_scan24"), VoxelConfig(res_width=100, eval=True))
    assert len(scene.views) == 49 and len(scene.held_out) == 7
    assert scene.world_box is not None
    box = np.array(scene.world_box).reshape(2, 3)
    for view in scene.views:
        assert view.mask is not None and 0.05 < (view.mask > 127).mean() < 0.95
        xy, _ = view.view.project(box.mean(0, keepdims=True))
        assert (xy > 0).all() and (xy < [view.view.width, view.view.height]).all()
