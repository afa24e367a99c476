"""COLMAP's binary files: little-endian records without padding."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import Camera
from voxterra.errors import FormatError
from voxterra.io.colmap.tables import (
    EXPORT_AGAIN,
    MODEL_OF_ID,
    ColmapTables,
    Float,
    model_spec,
    quaternions_from_rotations,
    rotations_from_quaternions,
)
from voxterra.io.files.disk import cannot_read

_KEYPOINT = np.dtype([("xy", "<f8", 2), ("point_id", "<i8")])
_TRACK = np.dtype([("image_id", "<u4"), ("keypoint", "<u4")])


class _Cursor:
    """A file's bytes and the read position; FormatError past the end."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise cannot_read(error, path) from error
        self.at = 0

    def take(self, size: int) -> int:
        """Skip the next `size` bytes; returns their offset."""
        start = self.at
        if size < 0 or start + size > len(self.data):
            raise FormatError(
                "This file of a COLMAP model is cut off or damaged.",
                where=str(self.path),
                next_step=EXPORT_AGAIN,
            )
        self.at += size
        return start

    def unpack(self, record: struct.Struct) -> tuple[int | float, ...]:
        return record.unpack_from(self.data, self.take(record.size))

    def count(self) -> int:
        return int(self.unpack(struct.Struct("<Q"))[0])

    def array(self, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
        start = self.take(dtype.itemsize * count)
        return np.frombuffer(self.data, dtype, count, start)

    def name(self) -> str:
        end = self.data.find(b"\0", self.at)
        size = end - self.at if end >= 0 else len(self.data)
        raw = self.data[(start := self.take(size)) : start + size]
        self.take(1)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(
                "An image name of this COLMAP model is not text.",
                where=str(self.path),
                next_step=EXPORT_AGAIN,
            ) from error

    def finish(self) -> None:
        if self.at != len(self.data):
            raise FormatError(
                "This file of a COLMAP model has data after its last record.",
                where=str(self.path),
                next_step=EXPORT_AGAIN,
            )


def read_binary(folder: Path) -> ColmapTables:
    """The tables of cameras.bin, images.bin and points3D.bin.

    Raises:
        FormatError: a file is cut off, longer than its records, or of an unknown camera model.
    """
    cameras = _read_cameras(_Cursor(folder / "cameras.bin"))
    ids, names, camera_ids, poses, keypoints = _read_images(_Cursor(folder / "images.bin"))
    positions, colors, errors, tracks = _read_points(_Cursor(folder / "points3D.bin"))
    joined = np.concatenate([np.empty(0, _TRACK), *tracks])
    return ColmapTables(
        cameras=cameras,
        image_ids=ids,
        names=names,
        camera_ids=camera_ids,
        cam_from_world=np.concatenate(
            [rotations_from_quaternions(poses[:, :4]), poses[:, 4:, None]], axis=2
        ),
        keypoints=keypoints,
        positions=positions,
        colors=colors,
        errors=errors,
        track_lengths=np.array([len(track) for track in tracks], np.int64),
        track_image_ids=joined["image_id"].astype(np.int64),
        track_keypoints=joined["keypoint"].astype(np.int64),
    )


def read_binary_cameras(path: Path) -> dict[int, Camera]:
    """Cameras of a cameras.bin by id; raises FormatError as `read_binary` does."""
    return _read_cameras(_Cursor(path))


def _read_cameras(cursor: _Cursor) -> dict[int, Camera]:
    cameras = {}
    head = struct.Struct("<IiQQ")
    for _ in range(cursor.count()):
        camera_id, model_id, width, height = (int(value) for value in cursor.unpack(head))
        if model_id not in MODEL_OF_ID:
            raise FormatError(
                f"Camera model {model_id} is unknown.",
                where=str(cursor.path),
                next_step="Convert the cameras to a model that COLMAP documents, such as OPENCV.",
            )
        model = MODEL_OF_ID[model_id]
        params = cursor.array(np.dtype("<f8"), model_spec(model)[1])
        cameras[camera_id] = Camera(model, width, height, tuple(params.tolist()))
    cursor.finish()
    return cameras


def _read_images(
    cursor: _Cursor,
) -> tuple[list[int], list[str], list[int], Float, list[Float]]:
    ids, names, camera_ids, poses, keypoints = [], [], [], [], []
    head = struct.Struct("<I7dI")
    for _ in range(cursor.count()):
        image_id, *pose, camera_id = cursor.unpack(head)
        ids.append(int(image_id))
        poses.append(pose)
        camera_ids.append(int(camera_id))
        names.append(cursor.name())
        keypoints.append(cursor.array(_KEYPOINT, cursor.count())["xy"].astype(np.float64))
    cursor.finish()
    return ids, names, camera_ids, np.array(poses, np.float64).reshape(-1, 7), keypoints


def _read_points(cursor: _Cursor) -> tuple[Float, NDArray[np.uint8], Float, list[NDArray[Any]]]:
    positions, colors, errors, tracks = [], [], [], []
    head = struct.Struct("<Q3d3BdQ")
    for _ in range(cursor.count()):
        _, x, y, z, r, g, b, error, length = cursor.unpack(head)
        positions.append((x, y, z))
        colors.append((r, g, b))
        errors.append(error)
        tracks.append(cursor.array(_TRACK, int(length)))
    cursor.finish()
    return (
        np.array(positions, np.float64).reshape(-1, 3),
        np.array(colors, np.uint8).reshape(-1, 3),
        np.array(errors, np.float64),
        tracks,
    )


def write_binary(tables: ColmapTables, folder: Path) -> None:
    """Write cameras.bin, images.bin and points3D.bin into an existing folder."""
    with open(folder / "cameras.bin", "wb") as file:
        file.write(struct.pack("<Q", len(tables.cameras)))
        for camera_id, camera in sorted(tables.cameras.items()):
            model_id, count = model_spec(camera.model)
            head = (camera_id, model_id, camera.width, camera.height)
            file.write(struct.pack(f"<IiQQ{count}d", *head, *camera.params))
    quaternions = quaternions_from_rotations(tables.cam_from_world[:, :, :3])
    with open(folder / "images.bin", "wb") as file:
        file.write(struct.pack("<Q", len(tables.image_ids)))
        for row, image_id in enumerate(tables.image_ids):
            pose = (*quaternions[row], *tables.cam_from_world[row, :, 3])
            file.write(struct.pack("<I7dI", image_id, *pose, tables.camera_ids[row]))
            file.write(tables.names[row].encode("utf-8") + b"\0")
            keypoints = np.empty(len(tables.keypoints[row]), _KEYPOINT)
            keypoints["xy"] = tables.keypoints[row]
            keypoints["point_id"] = tables.keypoint_point_ids[row]
            file.write(struct.pack("<Q", len(keypoints)) + keypoints.tobytes())
    tracks = np.empty(len(tables.track_image_ids), _TRACK)
    tracks["image_id"], tracks["keypoint"] = tables.track_image_ids, tables.track_keypoints
    stops = np.cumsum(tables.track_lengths).tolist()
    with open(folder / "points3D.bin", "wb") as file:
        file.write(struct.pack("<Q", len(tables.positions)))
        start = 0
        for row, stop in enumerate(stops):
            head = (row + 1, *tables.positions[row], *tables.colors[row], tables.errors[row])
            file.write(struct.pack("<Q3d3BdQ", *head, stop - start))
            file.write(tracks[start:stop].tobytes())
            start = stop
