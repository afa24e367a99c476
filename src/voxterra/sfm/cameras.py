"""Which photos share a camera, and what is known of its lens beforehand."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from voxterra.core.photos import Photo
from voxterra.sfm.config import SfmConfig

# Photos of one camera from which on two radial terms are determined well.
MIN_PHOTOS_FOR_RADIAL = 10

# Focal length over the longer side when metadata says nothing: about that of a 28-43 mm lens.
UNKNOWN_FOCAL_FACTOR = 1.2


@dataclass(frozen=True)
class CameraGroup:
    """Photos that share one set of intrinsics.

    Attributes:
        model: COLMAP's name of the camera model.
        width, height: [px].
        focal_px: focal length to start from [px].
        focal_known: whether `focal_px` comes from metadata, not from a guess.
        members: indices of the photos.
    """

    model: str
    width: int
    height: int
    focal_px: float
    focal_known: bool
    members: tuple[int, ...]


def group_cameras(photos: tuple[Photo, ...], config: SfmConfig) -> tuple[CameraGroup, ...]:
    """Group photos by `Photo.camera_key` and size, in the order of their first photo."""
    groups: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    for index, photo in enumerate(photos):
        groups[photo.camera_key, photo.width, photo.height].append(index)
    return tuple(
        _group(photos, tuple(members), width, height, config)
        for (_, width, height), members in groups.items()
    )


def _group(
    photos: tuple[Photo, ...], members: tuple[int, ...], width: int, height: int, config: SfmConfig
) -> CameraGroup:
    known = [focal for i in members if (focal := photos[i].focal_px) is not None]
    focal_px = median(known) if known else UNKNOWN_FOCAL_FACTOR * max(width, height)
    model: str = config.camera_model
    if model == "auto":
        model = "RADIAL" if len(members) >= MIN_PHOTOS_FOR_RADIAL else "SIMPLE_RADIAL"
    return CameraGroup(model, width, height, float(focal_px), bool(known), members)
