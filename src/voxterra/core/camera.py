"""Camera intrinsics.

Camera axes: x right, y down, z forward. The centre of the first pixel is at (0.5, 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxterra.errors import FormatError

Float = NDArray[np.float64]

PANORAMA = "EQUIRECTANGULAR"
"""COLMAP's name of the camera model of panoramas."""


@dataclass(frozen=True)
class Camera:
    """Intrinsics of any COLMAP camera model.

    Attributes:
        model: COLMAP's name of the model, such as "SIMPLE_RADIAL" or "OPENCV".
        width, height: [px].
        params: the model's parameters in COLMAP's order [px, then unitless distortion].
    """

    model: str
    width: int
    height: int
    params: tuple[float, ...]


@dataclass(frozen=True)
class PinholeView:
    """An undistorted photo with its place in the world: what all dense stages work on.

    Attributes:
        name: photo id, equal to `Photo.id` and `Image.name`.
        K: (3, 3) pinhole matrix [px], pixel centres at +0.5.
        cam_from_world: (3, 4) rigid transform.
        width, height: of the undistorted image [px].
        camera: the original (distorted) camera at the original photo's size; the mapping from an
            undistorted pixel to the original goes through the ray: unproject with K, then
            project with this camera.
        component: index of the connected component the photo belongs to.
    """

    name: str
    K: Float
    cam_from_world: Float
    width: int
    height: int
    camera: Camera
    component: int = 0

    @property
    def center_in_world(self) -> Float:
        rotation, translation = self.cam_from_world[:, :3], self.cam_from_world[:, 3]
        return -rotation.T @ translation

    def project(self, points_in_world: Float) -> tuple[Float, Float]:
        """Pixels (N, 2) and depths (N,) of (N, 3) world points; depth <= 0 is behind."""
        in_cam = points_in_world @ self.cam_from_world[:, :3].T + self.cam_from_world[:, 3]
        depth = in_cam[:, 2]
        safe = np.where(np.abs(depth) < 1e-12, 1e-12, depth)
        xy = in_cam[:, :2] / safe[:, None]
        f = np.array([self.K[0, 0], self.K[1, 1]])
        return xy * f + self.K[:2, 2], depth

    def unproject(self, pixels: Float, depth: Float) -> Float:
        """World points (N, 3) of (N, 2) pixels at (N,) depths along the optical axis."""
        f = np.array([self.K[0, 0], self.K[1, 1]])
        xy = (pixels - self.K[:2, 2]) / f
        in_cam = np.column_stack([xy * depth[:, None], depth])
        return (in_cam - self.cam_from_world[:, 3]) @ self.cam_from_world[:, :3]

    def resized(self, width: int, height: int) -> PinholeView:
        """The same view on an image of another size."""
        sx, sy = width / self.width, height / self.height
        K = np.diag([sx, sy, 1.0]) @ self.K
        return PinholeView(
            self.name, K, self.cam_from_world, width, height, self.camera, self.component
        )


def require_whole_sphere(camera: Camera, where: str | Path) -> None:
    """Refuse a panorama's camera whose parameters are not its size, as after cropping.

    Raises:
        FormatError: such a file does not say what is missing.
    """
    if camera.params != (camera.width, camera.height):
        w, h = camera.params
        raise FormatError(
            f"The panorama's camera is {camera.width} x {camera.height} pixels, the sphere it "
            f"is a part of {w:g} x {h:g}.",
            where=str(where),
            next_step="Give panoramas of the whole sphere, not cropped, with their own cameras.",
        )
