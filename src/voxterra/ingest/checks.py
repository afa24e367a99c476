"""What a photographer should know about the photos, one by one and as a set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxterra.core.photos import Photo, PhotoSet
from voxterra.errors import TooFewPhotosError
from voxterra.ingest.astray import positions_astray

# Sharpness varies with what a photo shows, so only a fraction of the usual value tells of blur.
_BLUR_FRACTION, _COMPARE_FROM = 0.3, 4
_DARK, _BRIGHT = 0.08, 0.93
# A bright sky or background is white in all photos; only what the others have not tells of a fault.
_DARKER, _BLOWN, _MORE_BLOWN = 0.4, 0.3, 3.0
_SMALL_PX, _SMALLER = 480, 0.3
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
    dropped = ""
    if photos.rejected:
        shown = "; ".join(f"{f.name}: {f.reason.rstrip('.')}" for f in photos.rejected[:3])
        more = len(photos.rejected) - 3
        dropped = f" Left out: {shown}{f'; and {more} more' if more > 0 else ''}."
    raise TooFewPhotosError(
        f"{len(photos)} usable photo{'s' * (len(photos) != 1)}, at least {minimum} are needed."
        f"{dropped}",
        where=str(photos.root),
        next_step="Add photos that overlap: each point of the scene should be in 3 or more.",
    )


def with_warnings(photos: Sequence[Photo]) -> tuple[Photo, ...]:
    """The photos with the warnings that come from comparing each with the others."""
    usual: dict[str, _Usual] = {}
    counts = Counter(photo.camera_key for photo in photos)
    for key, count in counts.items():
        if count >= _COMPARE_FROM:
            usual[key] = _usual([p for p in photos if p.camera_key == key])
    any_gps = any(photo.gps for photo in photos)
    astray = positions_astray(photos)
    most = float(np.median([p.width * p.height for p in photos])) if photos else 0.0
    return tuple(
        replace(
            photo,
            warnings=(
                *photo.warnings,
                *_of_picture(photo, usual.get(photo.camera_key, _NOTHING)),
                *_of_size(photo, most),
                *_of_position(photo, any_gps),
                *astray.get(photo.id, ()),
            ),
        )
        for photo in photos
    )


@dataclass(frozen=True)
class _Usual:
    """Medians over the photos of one camera; 0 where they say nothing."""

    sharpness: float = 0.0
    brightness: float = 0.0
    blown: float = 0.0


_NOTHING = _Usual()


def _usual(photos: Sequence[Photo]) -> _Usual:
    names = ("sharpness", "brightness", "blown")
    return _Usual(*(float(np.median([getattr(p, name) for p in photos])) for name in names))


def _of_picture(photo: Photo, usual: _Usual) -> list[str]:
    warnings = []
    if photo.sharpness < _BLUR_FRACTION * usual.sharpness:
        ratio = usual.sharpness / max(photo.sharpness, usual.sharpness / 999)
        warnings.append(f"blurred: {ratio:.0f} times less sharp than the others of this camera")
    if photo.brightness < _DARK:
        warnings.append(f"very dark: mean brightness {photo.brightness:.0%}")
    elif photo.brightness < _DARKER * usual.brightness:
        ratio = usual.brightness / max(photo.brightness, 0.001)
        warnings.append(f"under-exposed: {ratio:.1f} times darker than the others of this camera")
    if photo.brightness > _BRIGHT:
        warnings.append(f"over-exposed: mean brightness {photo.brightness:.0%}")
    elif photo.blown > max(_BLOWN, _MORE_BLOWN * usual.blown):
        warnings.append(f"over-exposed: {photo.blown:.0%} of its pixels are white")
    return warnings


def _of_size(photo: Photo, usual: float) -> list[str]:
    """Copies out of messengers and previews are small."""
    pixels = photo.width * photo.height
    if max(photo.width, photo.height) < _SMALL_PX:
        return [f"small: {photo.width} x {photo.height} pixels show little"]
    if pixels < _SMALLER * usual:
        ratio = usual / pixels
        return [f"small: {ratio:.0f} times fewer pixels than most; is it a reduced copy?"]
    return []


def _of_position(photo: Photo, any_gps: bool) -> list[str]:
    warnings = []
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
        return [
            "no photo has a GPS position: the model will have no place on the map, and a scale "
            "only by a known length (--scale-bar); positions in meta.csv would give both"
        ]
    warnings = []
    if len(positions) < len(photos):
        missing = len(photos) - len(positions)
        warnings.append(
            f"{missing} of {len(photos)} photos have no GPS position; they are placed by what they "
            "share with the others"
        )
    if len(positions) > 2 and len({(gps.lon, gps.lat) for gps in positions}) == 1:
        warnings.append(
            "all photos have the same GPS position: the receiver was frozen or off; give the right "
            "ones in meta.csv, or the model has no scale and no place on the map"
        )
    references = {gps.height_reference for gps in positions if gps.height_m is not None}
    if not references:
        warnings.append(
            "GPS positions have no heights: give them in meta.csv (alt), or the model lies at "
            "height 0"
        )
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
    for model, focal in _zoomed(photos):
        warnings.append(
            f"{model} took photos with focal lengths from {min(focal):g} to {max(focal):g} mm: "
            "each is calibrated by itself; do not zoom during a survey"
        )
    around = [p.id for p in photos if p.width == 2 * p.height and p.focal_px is None]
    if around:
        photos_are = "1 photo is" if len(around) == 1 else f"{len(around)} photos are"
        warnings.append(
            f"{photos_are} twice as wide as high, without a focal length in the metadata "
            f"({around[0]} first): of panoramas a run makes nothing that is right, since it takes "
            "photos for what one lens sees; find their cameras with COLMAP (EQUIRECTANGULAR), and "
            "use voxterra train"
        )
    unknown = sum(photo.focal_px is None for photo in photos)
    if unknown:
        photos_are = f"{unknown} photo" + ("s" if unknown > 1 else "")
        warnings.append(f"the focal length of {photos_are} is not in the metadata: estimated")
    return warnings


def _zoomed(photos: Sequence[Photo]) -> list[tuple[str, set[float]]]:
    """Cameras with several focal lengths [mm]."""
    found: dict[str, set[float]] = {}
    for photo in photos:
        if photo.focal_mm:
            found.setdefault(photo.model or "One camera", set()).add(round(photo.focal_mm, 1))
    return [(model, focal) for model, focal in found.items() if len(focal) > 1]


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
