"""COLMAP models: cameras, images and points3D files, binary or text.

Read and written without pycolmap, so that what follows structure from motion needs no SfM
package; COLMAP itself reads them. Formats: https://colmap.github.io/format.html
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from voxterra.core.camera import Camera
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.errors import FormatError
from voxterra.io.colmap.binary import read_binary, read_binary_cameras, write_binary
from voxterra.io.colmap.tables import EXPORT_AGAIN, ColmapTables
from voxterra.io.colmap.text import read_text, read_text_cameras, write_text
from voxterra.io.files.disk import cannot_write, require_space

if TYPE_CHECKING:
    import pycolmap

_PARTS = ("cameras", "images", "points3D")
# COLMAP 4 prefers these files to images; old ones would contradict the new model.
_RIG_PARTS = ("rigs", "frames")


def read_colmap(folder: Path) -> Reconstruction:
    """Read the model in a folder; the binary files if both kinds exist.

    Keypoints that belong to no point are left out, and so are points that no image observes.

    Raises:
        FormatError: a file is missing, cut off, or contradicts another one.
    """
    folder = Path(folder)
    for suffix, read in ((".bin", read_binary), (".txt", read_text)):
        if all((folder / f"{part}{suffix}").is_file() for part in _PARTS):
            return _reconstruction(read(folder), folder)
    raise FormatError(
        "This folder holds no COLMAP model.",
        where=str(folder),
        next_step="Give the folder with cameras, images and points3D as .bin or .txt.",
    )


def read_cameras(path: Path) -> tuple[Camera, ...]:
    """Cameras of a COLMAP cameras.bin or cameras.txt, or of the folder of a model.

    Raises:
        FormatError: no such file there, or one that is damaged.
    """
    path = Path(path)
    files = [path] if path.is_file() else [path / "cameras.bin", path / "cameras.txt"]
    file = next((f for f in files if f.is_file()), None)
    if file is None:
        raise FormatError(
            "There are no cameras.",
            where=str(path),
            next_step="Give a cameras.bin or cameras.txt of COLMAP; a run leaves one in "
            "stages/sfm/component_0.",
        )
    cameras = read_binary_cameras(file) if file.suffix == ".bin" else read_text_cameras(file)
    for camera_id, camera in cameras.items():
        if not (camera.width > 0 and camera.height > 0 and np.isfinite(camera.params).all()):
            raise FormatError(
                f"Camera {camera_id} has no size or no finite parameters.",
                where=str(file),
                next_step=EXPORT_AGAIN,
            )
    return tuple(cameras.values())


def write_colmap(reconstruction: Reconstruction, folder: Path, *, text: bool = False) -> None:
    """Write a model into `folder`, created if missing; an existing model is replaced.

    Image ids are indices of `reconstruction.images` plus one.

    Raises:
        OutputError: the file system refuses.
        FormatError: a camera model is not one of COLMAP's.
    """
    folder = Path(folder)
    tables = _tables(reconstruction)
    partial = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}.tmp")
    try:
        partial.mkdir(parents=True)
        (write_text if text else write_binary)(tables, partial)
        folder.mkdir(exist_ok=True)
        for part in (*_PARTS, *_RIG_PARTS):
            for suffix in (".bin", ".txt"):
                (folder / f"{part}{suffix}").unlink(missing_ok=True)
        for written in sorted(partial.iterdir()):
            os.replace(written, folder / written.name)
    except OSError as error:
        raise cannot_write(error, folder) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def to_pycolmap_camera(camera: Camera, camera_id: int = 1) -> pycolmap.Camera:
    """The camera as an object of pycolmap."""
    import pycolmap

    return pycolmap.Camera(
        camera_id=camera_id,
        model=camera.model,
        width=camera.width,
        height=camera.height,
        params=list(camera.params),
    )


def from_pycolmap(model: pycolmap.Reconstruction) -> Reconstruction:
    """A model of pycolmap as a `Reconstruction`."""
    with tempfile.TemporaryDirectory() as folder:
        require_space(Path(folder))
        model.write_binary(folder)
        return read_colmap(Path(folder))


def _reconstruction(tables: ColmapTables, folder: Path) -> Reconstruction:
    """Tables to core types: images sorted by name, tracks that name images by index."""
    order = sorted(range(len(tables.image_ids)), key=lambda row: tables.names[row])
    images = tuple(
        Image(tables.names[r], tables.camera_ids[r], tables.cam_from_world[r]) for r in order
    )
    _check(tables, images, folder)
    row_of_id = {image_id: row for row, image_id in enumerate(tables.image_ids)}
    try:
        rows = np.array([row_of_id[i] for i in tables.track_image_ids.tolist()], np.int64)
    except KeyError as error:
        raise FormatError(
            f"A point is observed in image {error.args[0]}, which is not in the model.",
            where=str(folder),
            next_step=EXPORT_AGAIN,
        ) from error
    counts = np.array([len(xy) for xy in tables.keypoints], np.int64)
    if len(rows) and np.any(tables.track_keypoints >= counts[rows]):
        raise FormatError(
            "A point names a keypoint that its image does not have.",
            where=str(folder),
            next_step=EXPORT_AGAIN,
        )
    all_xy = np.concatenate([np.empty((0, 2)), *tables.keypoints])
    first = np.concatenate([[0], np.cumsum(counts)])[:-1]
    index_of_row = np.empty(len(order), np.int32)
    index_of_row[order] = np.arange(len(order), dtype=np.int32)
    observed = tables.track_lengths > 0
    points = SparsePoints(
        positions_in_world=tables.positions[observed],
        colors=tables.colors[observed],
        errors_px=tables.errors[observed],
        track_start=np.concatenate([[0], np.cumsum(tables.track_lengths[observed])]),
        track_image=index_of_row[rows],
        track_xy=all_xy[first[rows] + tables.track_keypoints],
    )
    return Reconstruction(tables.cameras, images, points)


def _check(tables: ColmapTables, images: tuple[Image, ...], folder: Path) -> None:
    problem = None
    if len({image.name for image in images}) < len(images):
        problem = "Two images of this model have the same name."
    missing = {image.camera_id for image in images} - set(tables.cameras)
    if missing:
        problem = f"Images use camera {min(missing)}, which is not in the model."
    if not (np.isfinite(tables.cam_from_world).all() and np.isfinite(tables.positions).all()):
        problem = "Poses or points of this model are not finite numbers."
    for camera_id, camera in tables.cameras.items():
        if not (camera.width > 0 and camera.height > 0 and np.isfinite(camera.params).all()):
            problem = f"Camera {camera_id} of this model has no size or no finite parameters."
    if problem:
        raise FormatError(problem, where=str(folder), next_step=EXPORT_AGAIN)


def _tables(reconstruction: Reconstruction) -> ColmapTables:
    """Core types to tables: every observation becomes a keypoint of its image."""
    points, images = reconstruction.points, reconstruction.images
    order = np.argsort(points.track_image, kind="stable")
    counts = np.bincount(points.track_image, minlength=len(images))
    first = np.concatenate([[0], np.cumsum(counts)])
    keypoint = np.empty(len(order), np.int64)
    keypoint[order] = np.arange(len(order)) - first[points.track_image[order]]
    lengths = np.diff(points.track_start)
    point_ids = np.repeat(np.arange(1, len(points) + 1), lengths)[order]
    return ColmapTables(
        cameras=reconstruction.cameras,
        image_ids=list(range(1, len(images) + 1)),
        names=[image.name for image in images],
        camera_ids=[image.camera_id for image in images],
        cam_from_world=np.array([i.cam_from_world for i in images], float).reshape(-1, 3, 4),
        keypoints=np.split(points.track_xy[order], first[1:-1]) if images else [],
        keypoint_point_ids=np.split(point_ids, first[1:-1]) if images else [],
        positions=points.positions_in_world,
        colors=points.colors,
        errors=points.errors_px,
        track_lengths=lengths,
        track_image_ids=points.track_image.astype(np.int64) + 1,
        track_keypoints=keypoint,
    )
