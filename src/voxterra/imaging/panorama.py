"""Panoramas of the whole sphere as six pinhole images: the faces of a cube around the camera.

A face takes 90 degrees a side, so that every direction is in one face and in no other. In the
panorama (COLMAP's EQUIRECTANGULAR) columns are longitudes and rows are latitudes: its middle looks
along z, its right half to the right, its top row up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import Camera, PinholeView
from voxterra.core.reconstruction import Image

_BORDER = 4
"""Columns repeated beyond the seam, for the interpolation across it [px]."""
_BAND = 256
"""Rows of a face that are cut at once, so that their rays take little memory."""


@dataclass(frozen=True)
class Face:
    """A side of the cube.

    Attributes:
        name: where it looks.
        axes: (3, 3) rotation face_from_photo; its rows are the face's axes in the photo's.
    """

    name: str
    axes: NDArray[np.float64]


def _face(name: str, right: tuple[int, ...], down: tuple[int, ...]) -> Face:
    return Face(name, np.array([right, down, np.cross(right, down)], np.float64))


FACES = (
    _face("front", (1, 0, 0), (0, 1, 0)),
    _face("right", (0, 0, -1), (0, 1, 0)),
    _face("back", (-1, 0, 0), (0, 1, 0)),
    _face("left", (0, 0, 1), (0, 1, 0)),
    _face("up", (1, 0, 0), (0, 0, 1)),
    _face("down", (1, 0, 0), (0, 0, -1)),
)


def face_view(image: Image, face: Face, width: int) -> PinholeView:
    """The pinhole view of a face; pano.jpg becomes pano_front.jpg.

    Args:
        image: name and pose of the panorama.
        face: one of `FACES`.
        width: of the panorama [px]; the face is as fine as its equator, width / pi a side.
    """
    side = max(1, round(width / np.pi))
    f = side / 2
    K = np.array([[f, 0.0, f], [0.0, f, f], [0.0, 0.0, 1.0]])
    path = PurePosixPath(image.name)
    name = str(path.with_name(f"{path.stem}_{face.name}{path.suffix}"))
    camera = Camera("PINHOLE", side, side, (f, f, f, f))
    return PinholeView(name, K, face.axes @ image.cam_from_world, side, side, camera)


def cut_faces(
    panorama: NDArray[np.uint8], side: int, *, is_mask: bool = False
) -> Iterator[NDArray[np.uint8]]:
    """(side, side) or (side, side, 3) pixels of each of `FACES`, one by one.

    Args:
        panorama: (H, W) or (H, W, 3).
        side: of the faces [px].
        is_mask: take the nearest pixel, mix none.
    """
    import cv2

    wide = cv2.copyMakeBorder(panorama, 0, 0, _BORDER, _BORDER, cv2.BORDER_WRAP)
    method = cv2.INTER_NEAREST if is_mask else cv2.INTER_CUBIC
    for face in FACES:
        out = np.empty((side, side, *panorama.shape[2:]), np.uint8)
        for top in range(0, side, _BAND):
            rows = slice(top, min(top + _BAND, side))
            u, v = _pixels_of(face, side, rows, panorama.shape)
            out[rows] = cv2.remap(wide, u + _BORDER, v, method, borderMode=cv2.BORDER_REPLICATE)
        yield out


def _pixels_of(
    face: Face, side: int, rows: slice, shape: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Columns and rows of a panorama of `shape` under a face's pixels [px, first centre at 0]."""
    height, width = shape[:2]
    at = (np.arange(side, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / side) - 1
    axes = face.axes.astype(np.float32)
    down = at[rows, None]
    x, y, z = (at * axes[0, k] + down * axes[1, k] + axes[2, k] for k in range(3))
    lon, lat = np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))
    half = np.float32(0.5)
    return (
        width * (half + lon / np.float32(2 * np.pi)) - half,
        height * (half + lat / np.float32(np.pi)) - half,
    )


def faces_seeing(points_in_photo: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N,) index into `FACES` of the face that shows each of (N, 3) points in the photo's axes."""
    forwards = np.array([face.axes[2] for face in FACES])
    seeing: NDArray[np.int64] = np.argmax(points_in_photo @ forwards.T, axis=1)
    return seeing
