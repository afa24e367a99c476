"""`transforms.json` of Nerfstudio and of the NeRF authors: cameras without points.

Its poses are camera-to-world with OpenGL axes (x right, y up, z backward); ours are OpenCV's.
Pixel centres are at +0.5 in both. Format:
https://docs.nerf.studio/quickstart/data_conventions.html
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from voxterra.core.camera import PANORAMA, Camera, require_whole_sphere
from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import PointCloud
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.errors import FormatError
from voxterra.io.files.atomic import atomic_path
from voxterra.io.files.disk import cannot_read

# Names of a model's parameters, in COLMAP's order, by the keys of transforms.json.
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "SIMPLE_PINHOLE": ("fl_x", "cx", "cy"),
    "PINHOLE": ("fl_x", "fl_y", "cx", "cy"),
    "SIMPLE_RADIAL": ("fl_x", "cx", "cy", "k1"),
    "RADIAL": ("fl_x", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2"),
    "OPENCV_FISHEYE": ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "k3", "k4"),
}
_INTRINSICS = ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "k3", "k4", "p1", "p2")
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def read_transforms(path: Path, *, image_folder: str = "images") -> Reconstruction:
    """Cameras and poses of a `transforms.json`; the reconstruction has no points.

    An `applied_transform` in the file is undone, so poses come out in the world that the file was
    made from.

    Args:
        path: the file.
        image_folder: folder that image names are relative to.

    Raises:
        InputError: the file cannot be read.
        FormatError: not such a file, a value is missing or no number, or an unknown camera model.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise cannot_read(error, path) from error
    except (ValueError, RecursionError) as error:
        raise FormatError(
            "This file is not JSON, or is cut off.",
            where=str(path),
            next_step="Copy it again, or export it again as Nerfstudio does.",
        ) from error
    try:
        if not isinstance(data, dict) or not isinstance(data.get("frames"), list):
            raise ValueError("no list of frames")
        return _reconstruction(data, path, image_folder)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        detail = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
        raise FormatError(
            f"This transforms.json cannot be used: {detail}.",
            where=str(path),
            next_step="Export it again as Nerfstudio does, or give the folder of a COLMAP model.",
        ) from error


def write_transforms(
    reconstruction: Reconstruction, path: Path, *, image_folder: str = "images"
) -> None:
    """Write cameras and poses as `transforms.json`, and sparse points as the PLY file it names.

    Args:
        reconstruction: SIMPLE_RADIAL_FISHEYE and RADIAL_FISHEYE cameras are written as the
            OPENCV_FISHEYE they equal; models Nerfstudio has no name for are refused.
        path: the file; photos are expected in `image_folder` beside it. Points, if there are
            any, go into NAME_points.ply beside NAME.json.
        image_folder: folder that image names are relative to.

    Raises:
        FormatError: a camera model that Nerfstudio cannot express.
        OutputError: the file system refuses.
    """
    cameras = {i: _intrinsics(camera) for i, camera in reconstruction.cameras.items()}
    used = {image.camera_id for image in reconstruction.images}
    shared = cameras[used.pop()] if len(used) == 1 else {}
    prefix = f"{image_folder.rstrip('/')}/" if image_folder else ""
    frames = []
    for image in reconstruction.images:
        world_from_cam = np.linalg.inv(np.vstack([image.cam_from_world, [0, 0, 0, 1]]))
        frame = {"file_path": prefix + image.name, **({} if shared else cameras[image.camera_id])}
        frames.append({**frame, "transform_matrix": (world_from_cam @ _FLIP).tolist()})
    points = {}
    if len(reconstruction.points):
        from voxterra.io.ply import write_ply_cloud

        file, found = points_file(path), reconstruction.points
        write_ply_cloud(PointCloud(found.positions_in_world, found.colors), file, GeoFrame.local())
        points = {"ply_file_path": file.name}
    with atomic_path(path) as temporary:
        text = json.dumps({**shared, **points, "frames": frames}, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")


def points_file(path: Path) -> Path:
    """Where `write_transforms` puts the sparse points of NAME.json: NAME_points.ply."""
    return path.with_name(f"{path.stem}_points.ply")


def _intrinsics(camera: Camera) -> dict[str, Any]:
    model, params = camera.model, camera.params
    if model == PANORAMA:
        require_whole_sphere(camera, "camera model")
        return {"camera_model": model, "w": camera.width, "h": camera.height, **_sphere(camera)}
    if model in ("SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE"):
        f, cx, cy, *k = params
        model, params = "OPENCV_FISHEYE", (f, f, cx, cy, *k, *([0.0] * (4 - len(k))))
    if model not in _PARAMETERS:
        raise FormatError(
            f"Nerfstudio's transforms.json cannot express the camera model {camera.model}.",
            where="camera model",
            next_step="Export the COLMAP model, or use one of "
            f"{', '.join(_PARAMETERS)}, {PANORAMA}.",
        )
    values = dict(zip(_PARAMETERS[model], params, strict=True))
    values.setdefault("fl_y", values["fl_x"])
    return {"camera_model": model, "w": camera.width, "h": camera.height, **values}


def _reconstruction(data: dict[str, Any], path: Path, image_folder: str) -> Reconstruction:
    world_from_file = np.linalg.inv(_matrix(data.get("applied_transform", np.eye(4)[:3])))
    ids: dict[Camera, int] = {}
    images = []
    for frame in data["frames"]:
        values = {**data, **frame}
        camera = _camera(values, path)
        world_from_cam = world_from_file @ _matrix(frame["transform_matrix"]) @ _FLIP
        images.append(
            Image(
                _name(frame["file_path"], image_folder),
                ids.setdefault(camera, len(ids) + 1),
                _rigid(world_from_cam),
            )
        )
    if len({image.name for image in images}) < len(images):
        raise ValueError("two frames have the same file_path")
    images.sort(key=lambda image: image.name)
    cameras = {camera_id: camera for camera, camera_id in ids.items()}
    return Reconstruction(cameras, tuple(images), _no_points())


def _rigid(world_from_cam: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 4) cam_from_world; the scale of an applied transform stays in the centre alone."""
    scale = np.cbrt(np.linalg.det(world_from_cam[:3, :3]))
    if not np.isfinite(scale) or scale <= 0:
        raise ValueError("a transform_matrix is not a rotation")
    rotation = (world_from_cam[:3, :3] / scale).T
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3):
        raise ValueError("a transform_matrix is not a rotation")
    return np.hstack([rotation, -rotation @ world_from_cam[:3, 3:]])


def _matrix(rows: Any) -> NDArray[np.float64]:
    """(4, 4) of 3 or 4 rows of 4 finite numbers."""
    matrix = np.array(rows, np.float64)
    if matrix.shape not in ((3, 4), (4, 4)) or not np.isfinite(matrix).all():
        raise ValueError("a transform is not a 3x4 or 4x4 matrix of finite numbers")
    full = np.vstack([matrix[:3], [0.0, 0.0, 0.0, 1.0]])
    if abs(np.linalg.det(full)) < 1e-12:
        raise ValueError("a transform is singular")
    return full


def _camera(values: Mapping[str, Any], path: Path) -> Camera:
    numbers = {key: _number(values, key) for key in _INTRINSICS if values.get(key) is not None}
    width, height = _size(values, path)
    if values.get("camera_model") == PANORAMA:
        return _panorama(numbers, width, height)
    if "fl_x" not in numbers and values.get("camera_angle_x") is not None:
        angle = _number(values, "camera_angle_x")
        if not 0 < angle < math.pi:
            raise ValueError("camera_angle_x is not between 0 and pi")
        numbers["fl_x"] = width / 2 / math.tan(angle / 2)
    numbers.setdefault("fl_y", numbers["fl_x"])
    numbers.setdefault("cx", width / 2)
    numbers.setdefault("cy", height / 2)
    model = values.get("camera_model") or _model_of(numbers)
    if model not in _PARAMETERS:
        known = ", ".join((*_PARAMETERS, PANORAMA))
        raise ValueError(f"camera_model {model} is not one of {known}")
    names = _PARAMETERS[model]
    lost = [k for k in _INTRINSICS if k not in names and k != "fl_y" and numbers.get(k)]
    if "fl_y" not in names and numbers["fl_y"] != numbers["fl_x"]:
        lost.append("fl_y")
    if lost:
        raise ValueError(f"camera_model {model} has no {', '.join(lost)}")
    return Camera(model, width, height, tuple(numbers.get(name, 0.0) for name in names))


def _panorama(numbers: Mapping[str, float], width: int, height: int) -> Camera:
    camera = Camera(PANORAMA, width, height, (float(width), float(height)))
    if lost := [key for key in _INTRINSICS[4:] if numbers.get(key)]:
        raise ValueError(f"camera_model {PANORAMA} has no {', '.join(lost)}")
    for key, whole in _sphere(camera).items():
        if not math.isclose(numbers.get(key, whole), whole, rel_tol=0.01):
            raise ValueError(f"{key} of an {PANORAMA} photo is {numbers[key]:g}, not {whole:g}")
    return camera


def _sphere(camera: Camera) -> dict[str, float]:
    """What Nerfstudio calls the focal lengths of a panorama: pixels for half a turn each way."""
    width, height = float(camera.width), float(camera.height)
    return {"fl_x": width / 2, "fl_y": height, "cx": width / 2, "cy": height / 2}


def _model_of(numbers: Mapping[str, float]) -> str:
    distorted = any(numbers.get(key) for key in ("k1", "k2", "k3", "k4", "p1", "p2"))
    return "OPENCV" if distorted else "PINHOLE"


def _number(values: Mapping[str, Any], key: str) -> float:
    number = float(values[key])
    if not math.isfinite(number):
        raise ValueError(f"{key} is not a finite number")
    return number


def _size(values: Mapping[str, Any], path: Path) -> tuple[int, int]:
    """Width and height: from the file, else from the photo it names."""
    if values.get("w") and values.get("h"):
        width, height = int(_number(values, "w")), int(_number(values, "h"))
        if width > 0 and height > 0:
            return width, height
    photo = path.parent / values["file_path"]
    # The NeRF authors' files leave out the ending.
    candidates = [photo, *(photo.with_name(photo.name + end) for end in (".png", ".jpg"))]
    for candidate in candidates:
        try:
            with PillowImage.open(candidate) as image:
                return image.size
        except (OSError, UnidentifiedImageError):
            continue
    raise ValueError(f"no size ('w', 'h'), and the photo {values['file_path']} cannot be read")


def _name(file_path: Any, image_folder: str) -> str:
    if not isinstance(file_path, str) or not file_path:
        raise ValueError("a file_path is not text")
    name = file_path.removeprefix("./")
    return name.removeprefix(f"{image_folder.rstrip('/')}/") if image_folder else name


def _no_points() -> SparsePoints:
    return SparsePoints(
        positions_in_world=np.empty((0, 3)),
        colors=np.empty((0, 3), np.uint8),
        errors_px=np.empty(0),
        track_start=np.zeros(1, np.int64),
        track_image=np.empty(0, np.int32),
        track_xy=np.empty((0, 2)),
    )
