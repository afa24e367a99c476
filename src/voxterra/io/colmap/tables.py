"""Content of COLMAP's cameras, images and points3D files, independent of their format."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import Camera
from voxterra.errors import FormatError

Float = NDArray[np.float64]
Int = NDArray[np.int64]

EXPORT_AGAIN = "Copy the whole folder of the model again, or export it again from COLMAP."

# COLMAP's models: id in binary files, number of parameters.
CAMERA_MODELS: dict[str, tuple[int, int]] = {
    "SIMPLE_PINHOLE": (0, 3),
    "PINHOLE": (1, 4),
    "SIMPLE_RADIAL": (2, 4),
    "RADIAL": (3, 5),
    "OPENCV": (4, 8),
    "OPENCV_FISHEYE": (5, 8),
    "FULL_OPENCV": (6, 12),
    "FOV": (7, 5),
    "SIMPLE_RADIAL_FISHEYE": (8, 4),
    "RADIAL_FISHEYE": (9, 5),
    "THIN_PRISM_FISHEYE": (10, 12),
    "RAD_TAN_THIN_PRISM_FISHEYE": (11, 16),
    "SIMPLE_DIVISION": (12, 4),
    "DIVISION": (13, 5),
    "SIMPLE_FISHEYE": (14, 3),
    "FISHEYE": (15, 4),
    "EUCM": (16, 6),
    "EQUIRECTANGULAR": (17, 2),
}
MODEL_OF_ID = {model_id: name for name, (model_id, _) in CAMERA_MODELS.items()}


@dataclass
class ColmapTables:
    """A model as in its three files.

    Attributes:
        cameras: by id.
        image_ids, names, camera_ids: one an image.
        cam_from_world: (I, 3, 4).
        keypoints: one (K, 2) array an image [px].
        keypoint_point_ids: one (K,) array an image; needed to write, not filled when read.
        positions: (N, 3). colors: (N, 3) uint8. errors: (N,) [px].
        track_lengths: (N,). track_image_ids, track_keypoints: (M,), point after point.
    """

    cameras: dict[int, Camera]
    image_ids: list[int]
    names: list[str]
    camera_ids: list[int]
    cam_from_world: Float
    keypoints: list[Float]
    positions: Float
    colors: NDArray[np.uint8]
    errors: Float
    track_lengths: Int
    track_image_ids: Int
    track_keypoints: Int
    keypoint_point_ids: list[Int] = field(default_factory=list)


def model_spec(name: str) -> tuple[int, int]:
    """COLMAP's id and number of parameters of a camera model.

    Raises:
        FormatError: COLMAP has no such model.
    """
    if name not in CAMERA_MODELS:
        raise FormatError(
            f"{name} is not a camera model of COLMAP.",
            next_step=f"COLMAP knows {', '.join(CAMERA_MODELS)}.",
        )
    return CAMERA_MODELS[name]


def rotations_from_quaternions(quaternions: Float) -> Float:
    """(N, 3, 3) rotations of (N, 4) quaternions w, x, y, z of any length but zero."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        w, x, y, z = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        axis=1,
    )


def quaternions_from_rotations(rotations: Float) -> Float:
    """(N, 4) unit quaternions w, x, y, z, w >= 0, of (N, 3, 3) rotations.

    The eigenvector of Bar-Itzhack's symmetric matrix (2000): exact for rotations, and the nearest
    one for matrices that rounding has bent.
    """
    m = np.asarray(rotations, float)
    k = np.empty((len(m), 4, 4))
    k[:, 0, 0] = m[:, 0, 0] + m[:, 1, 1] + m[:, 2, 2]
    k[:, 0, 1] = k[:, 1, 0] = m[:, 2, 1] - m[:, 1, 2]
    k[:, 0, 2] = k[:, 2, 0] = m[:, 0, 2] - m[:, 2, 0]
    k[:, 0, 3] = k[:, 3, 0] = m[:, 1, 0] - m[:, 0, 1]
    k[:, 1, 1] = m[:, 0, 0] - m[:, 1, 1] - m[:, 2, 2]
    k[:, 2, 2] = m[:, 1, 1] - m[:, 0, 0] - m[:, 2, 2]
    k[:, 3, 3] = m[:, 2, 2] - m[:, 0, 0] - m[:, 1, 1]
    k[:, 1, 2] = k[:, 2, 1] = m[:, 0, 1] + m[:, 1, 0]
    k[:, 1, 3] = k[:, 3, 1] = m[:, 0, 2] + m[:, 2, 0]
    k[:, 2, 3] = k[:, 3, 2] = m[:, 1, 2] + m[:, 2, 1]
    vectors = np.linalg.eigh(k)[1][:, :, -1]
    return vectors * np.where(vectors[:, :1] < 0, -1.0, 1.0)
