"""True depth of single photos: the synthetic surveys' `truth/depth`, and depth cameras' PNGs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import Camera
from voxterra.errors import FormatError, InputError
from voxterra.io.files.npz import read_npz

Float = NDArray[np.float64]


@dataclass(frozen=True)
class TruthDepth:
    """True depth of one photo.

    Attributes:
        name: of the photo; compare with `voxterra.io.truth.cameras.match_names`.
        depth_m: (H, W) along the optical axis, 0 = none.
        pixels: (H, W, 2) where those depths were taken [px]: in the photo as stored (distorted),
            or in `camera` when that is given.
        camera: the depth camera, looking along the photo's optical axis; None when the depths
            belong to the photo's own pixels.
    """

    name: str
    depth_m: Float
    pixels: Float
    camera: Camera | None = None


def read_truth_depth(path: Path) -> tuple[TruthDepth, ...]:
    """True depths of a folder: `*.npz` of a synthetic survey, or `*.depth.png` of a depth camera.

    A data set's folder is searched for its `truth/depth` or `depth`.

    Raises:
        InputError: no depth there.
        FormatError: a file does not follow its format.
    """
    path = Path(path)
    for folder in (path, path / "truth" / "depth", path / "depth"):
        if any(folder.glob("*.npz")) and folder.name == "depth":
            return tuple(_read_npz(file) for file in sorted(folder.glob("*.npz")))
        if any(folder.glob("*.depth.png")):
            camera = _depth_camera(folder)
            return tuple(_read_png(file, camera) for file in sorted(folder.glob("*.depth.png")))
    raise InputError(
        "There is no true depth at this place.",
        where=str(path),
        next_step="Give a folder with truth/depth/*.npz, or with *.depth.png beside "
        "camera-intrinsics.txt.",
    )


def _read_npz(path: Path) -> TruthDepth:
    try:
        data = read_npz(path)
        raw, scale, offset = data["depth_u16"], float(data["scale"]), float(data["offset"])
        step = int(data["step"])
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise FormatError(
            f"The true depth cannot be read: {error}.",
            where=str(path),
            next_step="Give .npz files with depth_u16, scale, offset and step.",
        ) from error
    depth = np.where(raw > 0, offset + scale * raw.astype(float), 0.0)
    return TruthDepth(path.stem, depth, _pixel_grid(raw.shape, step))


# What a Kinect measures well [m]; nearer and farther values are noise.
_RANGE_M = (0.4, 4.0)


def _read_png(path: Path, camera: Camera) -> TruthDepth:
    import cv2

    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.ndim != 2 or raw.dtype != np.uint16:
        raise FormatError(
            "This is not a 16 bit depth image.",
            where=str(path),
            next_step="Give depth images as PNG with one 16 bit channel, in millimetres.",
        )
    depth = raw.astype(float) / 1000.0
    depth[(depth < _RANGE_M[0]) | (depth > _RANGE_M[1])] = 0.0
    camera = Camera(camera.model, raw.shape[1], raw.shape[0], camera.params)
    return TruthDepth(path.name, depth, _pixel_grid(raw.shape, 1), camera)


def _depth_camera(folder: Path) -> Camera:
    for path in (folder / "camera-intrinsics.txt", folder.parent / "camera-intrinsics.txt"):
        if path.is_file():
            K = np.loadtxt(path)
            if K.shape != (3, 3):
                raise FormatError(
                    "camera-intrinsics.txt must hold 3 x 3 numbers.",
                    where=str(path),
                    next_step="Write fx 0 cx, 0 fy cy, 0 0 1, a row a line, in pixels.",
                )
            params = (K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5)
            return Camera("PINHOLE", 0, 0, tuple(map(float, params)))
    raise InputError(
        "The depth camera's intrinsics are missing.",
        where=str(folder),
        next_step="Put camera-intrinsics.txt (3 x 3, pixels) beside the depth folder.",
    )


def _pixel_grid(shape: tuple[int, ...], step: int) -> Float:
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    return np.stack([cols * step + 0.5, rows * step + 0.5], axis=-1)
