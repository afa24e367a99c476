"""COLMAP's text files: one record a line, two lines an image, '#' for comments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from voxterra.core.camera import Camera
from voxterra.core.wording import nearest
from voxterra.errors import FormatError
from voxterra.io.colmap.tables import (
    CAMERA_MODELS,
    EXPORT_AGAIN,
    ColmapTables,
    model_spec,
    quaternions_from_rotations,
    rotations_from_quaternions,
)
from voxterra.io.files.disk import cannot_read

_PATH_CHARACTERS = 80


def read_text(folder: Path) -> ColmapTables:
    """The tables of cameras.txt, images.txt and points3D.txt.

    Raises:
        FormatError: a line is not as the format requires.
    """
    tables = _empty()
    for name, fill in (
        ("cameras.txt", _fill_cameras),
        ("images.txt", _fill_images),
        ("points3D.txt", _fill_points),
    ):
        _read(folder / name, fill, tables)
    return tables


def read_text_cameras(path: Path) -> dict[int, Camera]:
    """Cameras of a cameras.txt by id; raises FormatError as `read_text` does."""
    tables = _empty()
    _read(path, _fill_cameras, tables)
    return tables.cameras


def _read(path: Path, fill: Callable[[ColmapTables, _Lines], None], tables: ColmapTables) -> None:
    lines = _Lines(path)
    try:
        lines.load()
    except OSError as error:
        raise cannot_read(error, path) from error
    except UnicodeDecodeError as error:
        raise FormatError(
            "This file of a COLMAP model is not text.", where=str(path), next_step=EXPORT_AGAIN
        ) from error
    try:
        fill(tables, lines)
    except (ValueError, IndexError, OverflowError) as error:
        reason = f": {error}" if isinstance(error, _Wrong) else "."
        raise FormatError(
            f"Line {lines.number} of this COLMAP file cannot be read{reason}",
            where=f"{path}:{lines.number}: {lines.text[:_PATH_CHARACTERS]}",
            next_step="Correct that line, or export the model again from COLMAP.",
        ) from error


def _empty() -> ColmapTables:
    return ColmapTables(
        cameras={},
        image_ids=[],
        names=[],
        camera_ids=[],
        cam_from_world=np.empty((0, 3, 4)),
        keypoints=[],
        positions=np.empty((0, 3)),
        colors=np.empty((0, 3), np.uint8),
        errors=np.empty(0),
        track_lengths=np.empty(0, np.int64),
        track_image_ids=np.empty(0, np.int64),
        track_keypoints=np.empty(0, np.int64),
    )


class _Wrong(ValueError):
    """A format error; its text is the end of a sentence for people."""


class _Lines:
    """Lines of a file without comments; knows the number of the current one."""

    def __init__(self, path: Path):
        self.number = 0
        self.text = ""
        self._path = path
        self._lines: list[str] = []

    def load(self) -> None:
        self._lines = self._path.read_text(encoding="utf-8").split("\n")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while self.number < len(self._lines):
            self.text = self._lines[self.number].rstrip("\r")
            self.number += 1
            if not self.text.startswith("#"):
                return self.text
        raise StopIteration


def _fill_cameras(tables: ColmapTables, lines: _Lines) -> None:
    for line in lines:
        if not line.strip():
            continue
        camera_id, model, width, height, *params = line.split()
        if model not in CAMERA_MODELS:
            raise _Wrong(f"'{model}' is no camera model of COLMAP's{nearest(model, CAMERA_MODELS)}")
        if len(params) != (count := CAMERA_MODELS[model][1]):
            raise _Wrong(f"{model} has {count} parameters, and this line has {len(params)}.")
        values = tuple(float(value) for value in params)
        tables.cameras[int(camera_id)] = Camera(model, int(width), int(height), values)


def _fill_images(tables: ColmapTables, lines: _Lines) -> None:
    poses = []
    for line in lines:
        if not line.strip():
            continue
        # Names may hold blanks: all after the ninth field is the name.
        image_id, *pose, camera_id, name = line.split(" ", 9)
        tables.image_ids.append(int(image_id))
        poses.append([float(value) for value in pose])
        tables.camera_ids.append(int(camera_id))
        tables.names.append(name)
        # The second line is empty for an image without keypoints.
        keypoints = np.array(next(lines, "").split(), np.float64).reshape(-1, 3)
        tables.keypoints.append(keypoints[:, :2].copy())
    values = np.array(poses, np.float64).reshape(-1, 7)
    tables.cam_from_world = np.concatenate(
        [rotations_from_quaternions(values[:, :4]), values[:, 4:, None]], axis=2
    )


def _fill_points(tables: ColmapTables, lines: _Lines) -> None:
    heads, tracks = [], []
    for line in lines:
        if not line.strip():
            continue
        fields = line.split()
        heads.append([float(value) for value in fields[1:8]])
        tracks.append(np.array(fields[8:], np.int64).reshape(-1, 2))
    values = np.array(heads, np.float64).reshape(-1, 7)
    if np.any((values[:, 3:6] < 0) | (values[:, 3:6] > 255)):
        raise _Wrong("a colour is outside of 0 to 255.")
    joined = np.concatenate([np.empty((0, 2), np.int64), *tracks])
    if joined.min(initial=0) < 0:
        raise _Wrong("an index in a track is negative.")
    tables.positions, tables.errors = values[:, :3].copy(), values[:, 6].copy()
    tables.colors = values[:, 3:6].astype(np.uint8)
    tables.track_lengths = np.array([len(track) for track in tracks], np.int64)
    tables.track_image_ids, tables.track_keypoints = joined[:, 0], joined[:, 1]


def write_text(tables: ColmapTables, folder: Path) -> None:
    """Write cameras.txt, images.txt and points3D.txt into an existing folder; numbers are exact."""
    cameras = ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]"]
    for camera_id, camera in sorted(tables.cameras.items()):
        model_spec(camera.model)
        head = f"{camera_id} {camera.model} {camera.width} {camera.height}"
        cameras.append(f"{head} {_numbers(camera.params)}")
    images = ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then X Y POINT3D_ID of keypoints"]
    quaternions = quaternions_from_rotations(tables.cam_from_world[:, :, :3])
    for row, image_id in enumerate(tables.image_ids):
        pose = (*quaternions[row], *tables.cam_from_world[row, :, 3])
        images.append(f"{image_id} {_numbers(pose)} {tables.camera_ids[row]} {tables.names[row]}")
        pairs = zip(tables.keypoints[row], tables.keypoint_point_ids[row], strict=True)
        images.append(" ".join(f"{_numbers(xy)} {point_id}" for xy, point_id in pairs))
    points = ["# POINT3D_ID X Y Z R G B ERROR TRACK[] as (IMAGE_ID, POINT2D_IDX)"]
    start = 0
    for row, stop in enumerate(np.cumsum(tables.track_lengths).tolist()):
        rgb = " ".join(map(str, tables.colors[row].tolist()))
        track = zip(tables.track_image_ids[start:stop], tables.track_keypoints[start:stop])
        points.append(
            f"{row + 1} {_numbers(tables.positions[row])} {rgb} {_numbers([tables.errors[row]])} "
            + " ".join(f"{image_id} {keypoint}" for image_id, keypoint in track)
        )
        start = stop
    for name, lines in (("cameras", cameras), ("images", images), ("points3D", points)):
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _numbers(values: object) -> str:
    return " ".join(repr(float(value)) for value in np.asarray(values, float).ravel())
