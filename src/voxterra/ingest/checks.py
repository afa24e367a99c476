"""What a photographer should know about the photos, one by one and as a set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from voxterra.core.photos import Photo, PhotoSet
from voxterra.errors import TooFewPhotosError

# Sharpness varies with what a photo shows, so only a fraction of the usual value tells of blur.
_BLUR_FRACTION, _BLUR_FROM_PHOTOS = 0.3, 4
_DARK, _BRIGHT = 0.08, 0.93
# Root mean square difference of 24 x 24 thumbnails [grey levels]: below it photos look the same.
_SAME_RMS = 1.5
_CHUNK = 512


def require_enough(photos: PhotoSet, minimum: int = 2) -> None:
    """Check that there are photos enough to reconstruct from.

    Raises:
        TooFewPhotosError: fewer than `minimum`.
    """
    if len(photos) >= minimum:
        return
    dropped = f" {len(photos.rejected)} files were left out." if photos.rejected else ""
    raise TooFewPhotosError(
        f"{len(photos)} usable photo{'s' * (len(photos) != 1)}, at least {minimum} are needed."
        f"{dropped}",
        where=str(photos.root),
        next_step="Add photos that overlap: each point of the scene should be in 3 or more.",
    )


def with_warnings(photos: Sequence[Photo]) -> tuple[Photo, ...]:
    """The photos with the warnings that come from comparing each with the others."""
    usual: dict[str, float] = {}
    counts = Counter(photo.camera_key for photo in photos)
    for key, count in counts.items():
        if count >= _BLUR_FROM_PHOTOS:
            usual[key] = float(np.median([p.sharpness for p in photos if p.camera_key == key]))
    any_gps = any(photo.gps for photo in photos)
    return tuple(
        replace(photo, warnings=photo.warnings + tuple(_of_photo(photo, usual, any_gps)))
        for photo in photos
    )


def _of_photo(photo: Photo, usual: dict[str, float], any_gps: bool) -> list[str]:
    warnings = []
    median = usual.get(photo.camera_key, 0.0)
    if photo.sharpness < _BLUR_FRACTION * median:
        ratio = median / max(photo.sharpness, median / 999)
        warnings.append(f"blurred: {ratio:.0f} times less sharp than the others of this camera")
    if photo.brightness < _DARK:
        warnings.append(f"very dark: mean brightness {photo.brightness:.0%}")
    if photo.brightness > _BRIGHT:
        warnings.append(f"over-exposed: mean brightness {photo.brightness:.0%}")
    if any_gps and photo.gps is None and not any("position" in w for w in photo.warnings):
        warnings.append("no GPS position, while other photos have one")
    return warnings


def set_warnings(photos: Sequence[Photo], thumbnails: NDArray[np.float32]) -> list[str]:
    """What holds for the set: positions, cameras, photos that look the same.

    Args:
        photos: in any order.
        thumbnails: (len(photos), P) grey values in [0, 255], in the same order.
    """
    return [*_about_gps(photos), *_about_cameras(photos), *_near_duplicates(photos, thumbnails)]


def _about_gps(photos: Sequence[Photo]) -> list[str]:
    positions = [photo.gps for photo in photos if photo.gps]
    if not positions:
        return ["no photo has a GPS position: the model will have no scale and no place on the map"]
    warnings = []
    if len(positions) < len(photos):
        missing = len(photos) - len(positions)
        warnings.append(f"{missing} of {len(photos)} photos have no GPS position")
    if len(positions) > 2 and len({(gps.lon, gps.lat) for gps in positions}) == 1:
        warnings.append("all photos have the same GPS position: the receiver was frozen or off")
    references = {gps.height_reference for gps in positions if gps.height_m is not None}
    if not references:
        warnings.append("GPS positions have no heights")
    if len(references) > 1:
        warnings.append(
            "some heights count from sea level, some from the ellipsoid, as their metadata says; "
            "check, and set --gps-heights if that is wrong"
        )
    return warnings


def _about_cameras(photos: Sequence[Photo]) -> list[str]:
    warnings = []
    keys = Counter(photo.camera_key for photo in photos)
    if len(keys) > 1:
        shown = "; ".join(f"{count} x {key}" for key, count in keys.most_common(4))
        rest = f"; and {len(keys) - 4} more" if len(keys) > 4 else ""
        warnings.append(f"{len(keys)} cameras or camera settings: {shown}{rest}")
    unknown = sum(photo.focal_px is None for photo in photos)
    if unknown:
        warnings.append(f"the focal length of {unknown} photos is not in their metadata: estimated")
    return warnings


def _near_duplicates(photos: Sequence[Photo], thumbnails: NDArray[np.float32]) -> list[str]:
    """Pairs of photos whose thumbnails hardly differ: resaved copies, or a camera that stood."""
    pairs: list[tuple[int, int]] = []
    # Centred, or the squares cancel so badly that float32 cannot tell equal from similar.
    values = thumbnails.astype(np.float64) - 128.0
    squares = (values**2).sum(axis=1)
    for start in range(0, len(values), _CHUNK):
        rows = values[start : start + _CHUNK]
        distance = squares[start : start + _CHUNK, None] + squares[None] - 2.0 * rows @ values.T
        close = np.argwhere(distance < _SAME_RMS**2 * values.shape[1])
        pairs += [(start + int(i), int(j)) for i, j in close if start + i < j]
    pairs = [(i, j) for i, j in pairs if _same_size(photos[i], photos[j])]
    if not pairs:
        return []
    shown = ", ".join(f"{photos[i].id} and {photos[j].id}" for i, j in pairs[:3])
    rest = f", and {len(pairs) - 3} more pairs" if len(pairs) > 3 else ""
    return [f"photos that look the same (copies, or the camera did not move): {shown}{rest}"]


def _same_size(a: Photo, b: Photo) -> bool:
    return abs(a.width * b.height - b.width * a.height) <= 0.01 * a.width * b.height
