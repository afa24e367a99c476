"""Undistorted photos and masks as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.depth import UndistortedPhotos
from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.progress import Progress
from voxterra.imaging.undistort import undistort
from voxterra.io.depth_store import color_path, mask_path, write_image
from voxterra.io.images import read_gray, read_rgb


def undistort_photos(
    views: Sequence[PinholeView], photos: PhotoSet, out_dir: Path, progress: Progress
) -> None:
    """Undistort all photos and their masks into a depth store; those that are there are skipped."""
    by_id = photos.by_id()
    for i, view in enumerate(views):
        progress(i / len(views), f"undistorting {i + 1}/{len(views)}")
        write_undistorted(by_id[view.name], view, out_dir, i)


def write_undistorted(photo: Photo, view: PinholeView, out_dir: Path, index: int) -> None:
    """Undistort one photo and its mask into files, atomically, unless they are there."""
    color, mask = color_path(out_dir, index), mask_path(out_dir, index)
    if not color.exists():
        write_image(undistort(read_rgb(photo.path), view), color)
    if photo.mask_path is not None and not mask.exists():
        write_image(undistort(read_gray(photo.mask_path), view, is_mask=True), mask)


def usable(photos: UndistortedPhotos, index: int, view: PinholeView) -> NDArray[np.bool_] | None:
    """(H, W) pixels of a photo's `view` that its mask leaves; None without a mask."""
    mask = photos.load_mask(index)
    if mask is None:
        return None
    size = (view.width, view.height)
    return np.asarray(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0)
