"""Undistorted photos and masks as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.depth import UndistortedPhotos
from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.progress import Progress
from voxterra.imaging.stretch import picture_of
from voxterra.imaging.undistort import original_pixels, undistort
from voxterra.io.bands import band_file, read_bands
from voxterra.io.depth_store import (
    bands_path,
    color_path,
    mask_path,
    write_bands,
    write_image,
)
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
    """Undistort one photo, its bands and its mask into files, atomically, unless they are there.

    Bands are kept only of photos that have more than 8 bit RGB.
    """
    color, mask, band = (path(out_dir, index) for path in (color_path, mask_path, bands_path))
    has_bands = band_file(photo.path) is not None
    todo = not color.exists() or (has_bands and not band.exists())
    masked = photo.mask_path is not None and not mask.exists()
    if not todo and not masked:
        return
    grid = original_pixels(view)
    if todo and has_bands:
        bands = read_bands(photo.path)
        write_image(undistort(picture_of(bands, photo.stretch), view, grid=grid), color)
        each = [undistort(bands.values[..., k], view, grid=grid) for k in range(len(bands.names))]
        write_bands(replace(bands, values=np.stack(each, axis=-1)), band)
    elif todo:
        write_image(undistort(read_rgb(photo.path), view, grid=grid), color)
    if masked:
        assert photo.mask_path is not None
        write_image(undistort(read_gray(photo.mask_path), view, is_mask=True, grid=grid), mask)


def usable(photos: UndistortedPhotos, index: int, view: PinholeView) -> NDArray[np.bool_] | None:
    """(H, W) pixels of a photo's `view` that its mask leaves; None without a mask."""
    mask = photos.load_mask(index)
    if mask is None:
        return None
    size = (view.width, view.height)
    return np.asarray(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0)
