"""Group photos by camera, with what is known of each lens beforehand."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from voxterra.core.camera import PANORAMA
from voxterra.core.photos import Photo
from voxterra.errors import UsageError
from voxterra.io.colmap.model import read_cameras
from voxterra.sfm.config import SfmConfig

# Photos of one camera from which on they determine two radial terms well.
MIN_PHOTOS_FOR_RADIAL = 10

# Focal length over the longer side where metadata has none: about that of a 28-43 mm lens.
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
        params: calibrated parameters of the model, kept as they are; None without calibration.
    """

    model: str
    width: int
    height: int
    focal_px: float
    focal_known: bool
    members: tuple[int, ...]
    params: tuple[float, ...] | None = None


def group_cameras(photos: tuple[Photo, ...], config: SfmConfig) -> tuple[CameraGroup, ...]:
    """Group photos by `Photo.camera_key` and size, in the order of their first photo.

    Raises:
        FormatError: the calibrated cameras cannot be read.
        UsageError: none of them is of the photos' size, or two are.
    """
    groups: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    for index, photo in enumerate(photos):
        groups[photo.camera_key, photo.width, photo.height].append(index)
    found = tuple(
        _group(photos, tuple(members), width, height, config)
        for (_, width, height), members in groups.items()
    )
    return found if config.cameras is None else _calibrated(found, config.cameras)


def calibrated_ids(groups: tuple[CameraGroup, ...]) -> frozenset[int]:
    """COLMAP's ids of the calibrated cameras."""
    return frozenset(i for i, group in enumerate(groups, 1) if group.params is not None)


def known_focals(groups: tuple[CameraGroup, ...]) -> dict[int, float]:
    """Focal lengths in the metadata [px], by COLMAP's camera ids."""
    return {i: group.focal_px for i, group in enumerate(groups, 1) if group.focal_known}


def _calibrated(groups: tuple[CameraGroup, ...], path: Path) -> tuple[CameraGroup, ...]:
    """Add the calibrations of a file to the groups, matched by the size of the photos."""
    cameras = read_cameras(path)
    found = []
    for group in groups:
        same = {c for c in cameras if (c.width, c.height) == (group.width, group.height)}
        if len(same) > 1 and group.focal_known:  # two lenses of one body: by the focal length
            near = min(abs(np.log(c.params[0] / group.focal_px)) for c in same)
            same = {c for c in same if abs(np.log(c.params[0] / group.focal_px)) == near}
        if len(same) > 1:
            raise UsageError(
                f"{len(same)} calibrated cameras are of {group.width} x {group.height} px.",
                where=str(path),
                next_step="Leave one camera of a size in the file.",
            )
        for camera in same:
            if camera.model == PANORAMA:
                raise UsageError(
                    "The calibrated camera is a panorama, which structure from motion here cannot "
                    "use.",
                    where=str(path),
                    next_step="Find the cameras of panoramas with COLMAP, and make the surface "
                    "with voxterra train.",
                )
            group = replace(
                group,
                model=camera.model, focal_px=camera.params[0], focal_known=True,
                params=camera.params,
            )  # fmt: skip
        found.append(group)
    if all(group.params is None for group in found):
        sizes = ", ".join(sorted({f"{c.width} x {c.height}" for c in cameras}))
        raise UsageError(
            f"None of the calibrated cameras ({sizes} px) is of the size of the photos "
            f"({groups[0].width} x {groups[0].height} px).",
            where=str(path),
            next_step="Give cameras calibrated with photos of the same size.",
        )
    return tuple(found)


def _group(
    photos: tuple[Photo, ...], members: tuple[int, ...], width: int, height: int, config: SfmConfig
) -> CameraGroup:
    known = [focal for i in members if (focal := photos[i].focal_px) is not None]
    focal_px = median(known) if known else UNKNOWN_FOCAL_FACTOR * max(width, height)
    model: str = config.camera_model
    if model == "auto":
        model = "RADIAL" if len(members) >= MIN_PHOTOS_FOR_RADIAL else "SIMPLE_RADIAL"
    return CameraGroup(model, width, height, float(focal_px), bool(known), members)
