"""Undistorted photos and masks as files."""

from __future__ import annotations

from pathlib import Path

from voxterra.core.camera import PinholeView
from voxterra.imaging.undistort import undistort
from voxterra.io.depth_store import write_image
from voxterra.io.images import read_gray, read_rgb


def write_undistorted(
    photo_path: Path, mask_path: Path | None, view: PinholeView, color_out: Path, mask_out: Path
) -> None:
    """Undistort one photo and its mask into files, atomically."""
    write_image(undistort(read_rgb(photo_path), view), color_out)
    if mask_path is not None:
        write_image(undistort(read_gray(mask_path), view, is_mask=True), mask_out)
