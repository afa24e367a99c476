"""Scenes from folders: COLMAP, NeRF and Nerfstudio, IDR and NeuS, and runs of Voxterra itself.

Photos are undistorted, put on the background where they are transparent, and made smaller, on the
way in: what is in memory is what is trained on.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import Camera, PinholeView
from voxterra.core.progress import Progress, no_progress
from voxterra.core.scope import ScopedThreadPool
from voxterra.errors import FormatError, InputError, MissingPartError, NoPhotosError, UsageError
from voxterra.io.images import read_mask, read_rgb_alpha, same_shape
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.scene import layouts, panoramas
from voxterra.surface.voxels.scene.photo_files import Listing, PhotoFile, points_of
from voxterra.surface.voxels.scene.resize import shrink, training_size
from voxterra.surface.voxels.scene.scene import (
    Scene,
    SceneView,
    finished_scene,
    masked_view,
    scene_from_depth_maps,
)

_WORKERS = 8
_PINHOLE = ("PINHOLE", "SIMPLE_PINHOLE")

Pixels = NDArray[np.uint8]
Loaded = tuple[SceneView, bool]  # the mask of a view, and whether it masks anything


def load_scene(
    source_path: Path,
    config: VoxelConfig = VoxelConfig(),
    *,
    image_dir_name: str = "images",
    progress: Progress = no_progress,
) -> Scene:
    """All images of a folder, ready to train on.

    Args:
        source_path: a run of Voxterra that got as far as depth, or a folder with `sparse/0`
            (COLMAP, any camera model), `transforms.json`, `transforms_train.json` (with
            `transforms_test.json`), or `cameras_sphere.npz`. Masks lie in `masks/`, not 0 where
            the object is (or where the photo counts, see `mask_mode`), or are the photos' own
            transparency. Panoramas become six views each.
        config: what counts here are `res_downscale`, `res_width`, `eval`, `test_every`,
            `white_background`, `black_background` and `mask_mode`.
        image_dir_name: folder of the photos, for COLMAP, Nerfstudio and IDR.
        progress: called after every photo.

    Raises:
        NoPhotosError: no such folder, or nothing in it that can be trained on.
        TooFewPhotosError: fewer than two photos to train on.
        InputError: photos are missing, or masks are empty.
        FormatError: a file is damaged, or a mask or photo is of another shape than it should.
        MissingPartError: photos are distorted and what undistorts them is not installed.
    """
    source_path = Path(source_path)
    if config.white_background and config.black_background:
        raise UsageError(
            "The background cannot be white and black.",
            where="--white_background, --black_background",
            next_step="Give one of them, or none: it is the colour of the photos' borders then.",
        )
    check_source(source_path)
    if _is_run(source_path):
        return _load_run(source_path, config, progress)
    listing = _list_photos(source_path, image_dir_name)
    loaded = _load_all(listing.photos, config, progress)
    # Opaque PNG files have an alpha channel too; it says nothing about the object.
    any_mask = any(masks for _, masks in loaded)
    views = tuple(view if any_mask else replace(view, mask=None) for view, _ in loaded)
    points, warnings = listing.points, panoramas.stretched(listing.photos)
    if any(map(panoramas.is_panorama, listing.photos)):
        panoramas.check_names(views, str(source_path))
        if points is not None:
            points = panoramas.points_by_view(points, listing.photos)
    scene = Scene(views, points, listing.world_box, str(source_path), tuple(warnings))
    return finished_scene(scene, config)


def check_source(source: Path) -> None:
    """Find out whether a folder has a layout that can be loaded, without reading its files.

    Raises:
        NoPhotosError: no such folder, or none of the layouts.
    """
    if not source.is_dir():
        raise NoPhotosError(
            "There is no such folder.",
            where=str(source),
            next_step="Give the folder that holds the photos with their cameras.",
        )
    if not (_is_run(source) or layouts.has_cameras(source)):
        raise NoPhotosError(
            "There are no cameras here to train with.",
            where=str(source),
            next_step="Give a folder with sparse/0 (COLMAP), transforms.json or "
            "transforms_train.json, or the folder of a run: voxterra run PHOTOS --out DIR "
            "--until depth makes one from photos.",
        )


def _is_run(source: Path) -> bool:
    return (source / "stages").is_dir() or (source / "views.json").is_file()


def _list_photos(source: Path, image_dir_name: str) -> Listing:
    """Photos with cameras, by whichever layout the folder has.

    Raises:
        NoPhotosError: none of them.
        InputError: what is there is damaged or not complete.
    """
    listing = layouts.list_photos(source, image_dir_name)
    if not listing.photos:
        raise NoPhotosError(
            "The cameras here are of no photo.",
            where=str(source),
            next_step="Do structure from motion again, with photos that overlap.",
        )
    return listing


def _load_all(
    photos: tuple[PhotoFile, ...], config: VoxelConfig, progress: Progress
) -> list[Loaded]:
    loaded: list[Loaded] = []
    workers = min(_WORKERS, os.cpu_count() or 1)
    # Decoding releases the interpreter's lock; few at a time, since originals are large.
    with ScopedThreadPool(workers) as pool:
        for start in range(0, len(photos), workers):
            some = photos[start : start + workers]
            for views in pool.map(lambda photo: _load(photo, config), some):
                loaded += views
            done = start + len(some)
            progress(done / len(photos), f"{done}/{len(photos)} photos")
    return loaded


def _load(photo: PhotoFile, config: VoxelConfig) -> list[Loaded]:
    """The view of a photo, or the six of a panorama."""
    rgb, mask = _read(photo, config)
    if panoramas.is_panorama(photo):
        cut = panoramas.cut_panorama(photo, rgb, mask)
        return [_at_training_size(photo, config, *face, cut_from=photo.image.name) for face in cut]
    view = _view(photo, rgb.shape[1], rgb.shape[0])
    if photo.camera.model not in _PINHOLE:
        from voxterra.imaging.undistort import undistort

        rgb = undistort(rgb, view)
        mask = None if mask is None else undistort(mask, view, is_mask=True)
    return [_at_training_size(photo, config, view, rgb, mask)]


def _read(photo: PhotoFile, config: VoxelConfig) -> tuple[Pixels, Pixels | None]:
    """(H, W, 3) colours over their background, and (H, W) mask or None, as the camera saw them."""
    rgb, alpha = read_rgb_alpha(photo.path)
    height, width = rgb.shape[:2]
    if not same_shape((width, height), (photo.camera.width, photo.camera.height)):
        raise FormatError(
            f"The photo is {width} x {height} pixels, its camera "
            f"{photo.camera.width} x {photo.camera.height}.",
            where=str(photo.path),
            next_step="Give the photos that the cameras were found with, not cropped or rotated.",
        )
    mask = alpha
    if photo.mask is not None:
        mask = np.where(read_mask(photo.mask, width, height), 255, 0).astype(np.uint8)
    # What a mask file leaves out is painted over only if a background is asked for: masks may
    # also stand for "look away", and the photo's own colours then are the better guess.
    plain = config.white_background or config.black_background
    if mask is not None and (alpha is not None or plain):
        rgb = _over_background(rgb, mask, 255 if config.white_background else 0)
    return rgb, mask


def _at_training_size(
    photo: PhotoFile,
    config: VoxelConfig,
    view: PinholeView,
    rgb: Pixels,
    mask: Pixels | None,
    cut_from: str = "",
) -> Loaded:
    wanted = training_size(view.width, view.height, config)
    view = view.resized(*wanted)
    rgb = shrink(rgb, *wanted)
    mask = None if mask is None else shrink(mask, *wanted)
    masked = masked_view(SceneView(view, rgb, mask, None, photo.held_out, cut_from), config)
    return masked, masked.mask is not None and not bool((masked.mask == 255).all())


def _view(photo: PhotoFile, width: int, height: int) -> PinholeView:
    """The undistorted view at about the size of the photo's file, which may be a smaller one than
    the camera was found with.
    """
    camera, image = photo.camera, photo.image
    if camera.model in _PINHOLE:
        view = PinholeView(
            image.name, _matrix(camera), image.cam_from_world, camera.width, camera.height, camera
        )
        return view.resized(width, height)
    try:
        from voxterra.imaging.undistort import pinhole_view

        view = pinhole_view(image, camera, 0, 0)
    except ModuleNotFoundError as error:
        raise MissingPartError(
            f"Photos of camera model {camera.model} are undistorted by {error.name}, which is not "
            "installed.",
            where=str(photo.path),
            next_step=f"pip install {error.name}, or prepare a run with voxterra depth elsewhere.",
        ) from error
    scale = width / camera.width
    return view.resized(max(1, round(view.width * scale)), max(1, round(view.height * scale)))


def _matrix(camera: Camera) -> NDArray[np.float64]:
    p = camera.params
    fx, fy, cx, cy = p if camera.model == "PINHOLE" else (p[0], *p)
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _over_background(rgb: Pixels, alpha: Pixels, background: int) -> Pixels:
    """Straight (not premultiplied) colours over a grey of one value."""
    opacity = alpha[..., None].astype(np.uint16)
    mixed = rgb * opacity + np.uint16(background) * (255 - opacity)
    return ((mixed + 127) // 255).astype(np.uint8)


def _load_run(folder: Path, config: VoxelConfig, progress: Progress) -> Scene:
    """Images and depth maps of a run, with its sparse points."""
    from voxterra.io.colmap.model import read_colmap
    from voxterra.io.depth_store import DepthStore

    depth = folder / "stages" / "depth" if (folder / "stages").is_dir() else folder
    if not (depth / "views.json").is_file():
        raise InputError(
            "This run has no depth maps yet.",
            where=str(folder),
            next_step=f"Let it get there: voxterra depth {folder}.",
        )
    maps = DepthStore(depth)
    models = sorted((folder / "stages" / "georef").glob("component_*"))
    points = points_of((read_colmap(path) for path in models), maps)
    return scene_from_depth_maps(maps, config, points=points, source=str(folder), progress=progress)
