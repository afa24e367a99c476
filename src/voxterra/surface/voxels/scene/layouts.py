"""Which photos and cameras a folder holds, in the layouts that people train on.

Each reader gives a `Listing` and opens no photo but to learn its size; `load.py` reads them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from voxterra.core.camera import Camera
from voxterra.core.reconstruction import Image
from voxterra.errors import FormatError, InputError
from voxterra.io.idr import IdrCameras, read_idr_cameras
from voxterra.io.images import open_image
from voxterra.surface.voxels.scene.photo_files import (
    Listing,
    PhotoFile,
    found,
    photo_files,
    photo_folder,
    photos_in,
    scene_points,
    with_masks,
)
from voxterra.surface.voxels.scene.scene import ScenePoints, WorldBox

COLMAP_FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", ".")
IDR_CAMERAS = ("cameras_sphere.npz", "cameras.npz")
TRANSFORMS = "transforms.json"
TRANSFORMS_TRAIN = "transforms_train.json"
TRANSFORMS_TEST = "transforms_test.json"


def colmap_folder(source: Path) -> Path | None:
    """The COLMAP model of a folder, or None."""
    for name in COLMAP_FOLDERS:
        if any((source / name / f"cameras.{end}").is_file() for end in ("bin", "txt")):
            return source / name
    return None


def idr_cameras(source: Path) -> Path | None:
    """The file of cameras of an IDR or NeuS scene, or None."""
    return next((source / name for name in IDR_CAMERAS if (source / name).is_file()), None)


def has_cameras(source: Path) -> bool:
    """Whether a folder has one of the layouts."""
    transforms = any((source / name).is_file() for name in (TRANSFORMS, TRANSFORMS_TRAIN))
    return transforms or colmap_folder(source) is not None or idr_cameras(source) is not None


def list_photos(source: Path, image_dir_name: str) -> Listing:
    """Photos with cameras, by the layout of a folder that `has_cameras`.

    Raises:
        InputError: what is there is damaged or not complete.
    """
    if (model := colmap_folder(source)) is not None:
        return list_colmap(source, model, image_dir_name)
    if any((source / name).is_file() for name in (TRANSFORMS, TRANSFORMS_TRAIN)):
        return list_transforms(source, image_dir_name)
    cameras = idr_cameras(source)
    assert cameras is not None
    return list_idr(source, cameras, image_dir_name)


def list_colmap(source: Path, model: Path, image_dir_name: str) -> Listing:
    """A COLMAP model with its photos in `source/image_dir_name`.

    Raises:
        InputError: the model is damaged, or a photo is missing.
    """
    from voxterra.io.colmap.model import read_colmap

    reconstruction = read_colmap(model)
    folder = photo_folder(source, image_dir_name)
    paths = found([folder / image.name for image in reconstruction.images], folder)
    return Listing(
        with_masks(photo_files(reconstruction, paths), source),
        scene_points(reconstruction.points, len(paths)),
    )


def list_transforms(source: Path, image_dir_name: str) -> Listing:
    """`transforms.json`, or `transforms_train.json` with `transforms_test.json`.

    Raises:
        InputError: a file is damaged, a photo is missing, or the names of the photos collide.
    """
    files = [source / TRANSFORMS]
    if not files[0].is_file():
        files = [source / name for name in (TRANSFORMS_TRAIN, TRANSFORMS_TEST)]
    photos: list[PhotoFile] = []
    for file in files:
        if file.is_file():
            frames = _list_one_transforms(file, source, image_dir_name)
            held_out = file.name == TRANSFORMS_TEST
            photos += [replace(photo, held_out=held_out) for photo in frames]
    if len({photo.image.name for photo in photos}) < len(photos):
        raise FormatError(
            "The same photo is for training and for testing.",
            where=str(source),
            next_step=f"Leave it in one of {TRANSFORMS_TRAIN} and {TRANSFORMS_TEST}.",
        )
    points = _ply_points(files[0], len(photos)) if len(files) == 1 else None
    return Listing(tuple(photos), points)


def list_idr(source: Path, cameras: Path, image_dir_name: str) -> Listing:
    """A scene as the authors of IDR and NeuS prepare it: projections in the order of the photos,
    and the sphere of interest, which becomes the world box.

    Raises:
        InputError: photos and cameras are not of one number, or the file is damaged.
    """
    names = [image_dir_name, "image", "rgb"]
    folder = next((source / n for n in names if (source / n).is_dir()), source / image_dir_name)
    paths = photos_in(photo_folder(source, folder.name))
    posed = read_idr_cameras(cameras)
    if len(posed) != len(paths):
        raise InputError(
            f"There are {len(posed)} cameras, but {len(paths)} photos.",
            where=f"{cameras.name}, {folder}",
            next_step="Give the folder of the photos with --image_dir_name; nothing else in it.",
        )
    photos = []
    for path, pose, K in zip(paths, posed.cam_from_world, posed.K):
        with open_image(path) as image:  # the file of cameras does not have the size
            width, height = image.size
        params = tuple(map(float, (K[0, 0], K[1, 1], K[0, 2], K[1, 2])))
        name = path.relative_to(folder).as_posix()
        camera = Camera("PINHOLE", width, height, params)
        photos.append(PhotoFile(Image(name, 1, pose), camera, path))
    return Listing(with_masks(photos, source), None, _sphere_box(posed))


def _list_one_transforms(file: Path, source: Path, image_dir_name: str) -> list[PhotoFile]:
    from voxterra.io.nerf import read_transforms

    reconstruction = read_transforms(file, image_folder="")
    wanted = [source / _in_folder(image.name, image_dir_name) for image in reconstruction.images]
    photos = photo_files(reconstruction, found(wanted, source))
    frames = _raw(file).get("frames", [])
    masks = {
        str(f["file_path"]).removeprefix("./"): source / f["mask_path"]
        for f in frames
        if isinstance(f.get("mask_path"), str)
    }
    if masks:
        return [replace(p, mask=masks.get(p.image.name)) for p in photos]
    # In `masks/` names count from the folder of the photos, `images/` in Nerfstudio's files.
    named = [replace(p, image=replace(p.image, name=_below_images(p.image.name))) for p in photos]
    masked = with_masks(named, source)
    return [replace(p, mask=m.mask) for p, m in zip(photos, masked)]


def _in_folder(name: str, image_dir_name: str) -> str:
    """`images/a.jpg` in the folder asked for, such as images_4."""
    return f"{image_dir_name}/{_below_images(name)}" if name.startswith("images/") else name


def _below_images(name: str) -> str:
    return name.removeprefix("images/")


def _raw(file: Path) -> dict[str, Any]:
    """The JSON of a file that `read_transforms` has accepted."""
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return data


def _ply_points(file: Path, n_views: int) -> ScenePoints | None:
    """Nerfstudio's sparse points, which no view is known to have seen; None where there is none."""
    data = _raw(file)
    name = data.get("ply_file_path")
    if not isinstance(name, str) or not (file.parent / name).is_file():
        return None
    from voxterra.io.ply import read_ply_cloud

    cloud = read_ply_cloud(file.parent / name)
    matrix = np.vstack([np.array(data.get("applied_transform", np.eye(4)[:3])), [0, 0, 0, 1]])[:4]
    world_from_file = np.linalg.inv(matrix)  # `read_transforms` undoes it for the cameras
    positions = np.asarray(cloud.positions_in_world, np.float64)
    return ScenePoints(
        positions @ world_from_file[:3, :3].T + world_from_file[:3, 3],
        np.zeros(n_views + 1, np.int64),
        np.empty(0, np.int64),
        cloud.colors,
    )


def _sphere_box(cameras: IdrCameras) -> WorldBox | None:
    if cameras.center is None or cameras.radius is None:
        return None
    low, high = cameras.center - cameras.radius, cameras.center + cameras.radius
    return (*map(float, low), *map(float, high))  # type: ignore[return-value]
