"""From photos to undistorted pinhole images.

pycolmap knows the camera models and OpenCV resamples; both are imported when a photo needs them,
since images of pinhole cameras need neither.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import Camera, PinholeView
from voxterra.core.reconstruction import Image
from voxterra.errors import InputError
from voxterra.io.colmap.model import to_pycolmap_camera

_BAND = 256

_NOT_RESAMPLED = ("i1", "i4", "i8", "u4", "u8")  # by OpenCV


def pinhole_view(image: Image, camera: Camera, component: int, max_size: int) -> PinholeView:
    """Pinhole view that shows what `camera` shows without blank borders.

    Args:
        max_size: longer side of the undistorted image [px]; 0 = that of the camera.

    Raises:
        InputError: the camera takes panoramas, which no pinhole image can show.
    """
    import pycolmap

    source = to_pycolmap_camera(camera)
    if not source.is_perspective():
        raise InputError(
            f"A photo of camera model {camera.model} cannot become a pinhole image.",
            where=image.name,
            next_step="Leave panoramas out, or cut them into perspective photos first; "
            "voxterra train takes them as they are.",
        )
    options = pycolmap.UndistortCameraOptions()
    options.blank_pixels = 0.0
    options.max_image_size = max_size if max_size > 0 else -1
    target = pycolmap.undistort_camera(options, source)
    K = np.asarray(target.calibration_matrix(), np.float64)
    return PinholeView(
        image.name, K, image.cam_from_world, target.width, target.height, camera, component
    )


def rays_of(camera: Camera, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) rays in camera axes, z = 1, of (N, 2) pixels of the original photo."""
    in_cam = np.asarray(to_pycolmap_camera(camera).cam_from_img(pixels))
    return np.column_stack([in_cam, np.ones(len(in_cam))])


def original_pixels(view: PinholeView) -> NDArray[np.float32]:
    """(H, W, 2) pixel of the original photo for each pixel centre of `view` [px, centres at .5]."""
    camera = to_pycolmap_camera(view.camera)
    out = np.empty((view.height, view.width, 2), np.float32)
    x = (np.arange(view.width) + 0.5 - view.K[0, 2]) / view.K[0, 0]
    for top in range(0, view.height, _BAND):  # by bands: the rays are float64
        y = (np.arange(top, min(top + _BAND, view.height)) + 0.5 - view.K[1, 2]) / view.K[1, 1]
        rays = np.ones((len(y), view.width, 3))
        rays[..., 0], rays[..., 1] = x, y[:, None]
        pixels = np.asarray(camera.img_from_cam(rays.reshape(-1, 3)))
        out[top : top + len(y)] = pixels.reshape(len(y), view.width, 2)
    return out


def undistort(
    pixels: NDArray[Any],
    view: PinholeView,
    *,
    is_mask: bool = False,
    grid: NDArray[np.float32] | None = None,
) -> NDArray[Any]:
    """Resample a photo, its mask, or a band of it into `view`.

    A photo larger than its camera's size is read as the same photo at another resolution.

    Args:
        pixels: (H, W) or (H, W, 3) numbers.
        grid: `original_pixels` of the view, where it is known already.
    """
    if pixels.dtype.str[1:] in _NOT_RESAMPLED:
        wide = undistort(pixels.astype(np.float64), view, is_mask=is_mask, grid=grid)
        limits = np.iinfo(pixels.dtype)
        return np.asarray(np.clip(np.rint(wide), limits.min, limits.max), pixels.dtype)
    import cv2

    grid, kind = original_pixels(view) if grid is None else grid, pixels.dtype
    height, width = pixels.shape[:2]
    scale = np.array([width / view.camera.width, height / view.camera.height], np.float32)
    shrink = min(view.width / width, 1.0)
    if shrink < 0.75 and not is_mask:
        # Average before sampling, or fine texture turns into noise.
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), kind)
        scale *= np.array([size[0] / width, size[1] / height], np.float32)
    grid = grid * scale - 0.5
    method = cv2.INTER_NEAREST if is_mask else cv2.INTER_CUBIC
    out = cv2.remap(pixels, grid[..., 0], grid[..., 1], method, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, kind)
