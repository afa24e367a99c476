"""Warn about photos, one by one and as a set: blur, exposure, size, GPS positions, cameras."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxterra.core.geo import GeoFrame
from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.wording import distance
from voxterra.errors import TooFewPhotosError

# Sharpness varies with the subject, so only a small fraction of the usual value means blur.
_BLUR_FRACTION, _COMPARE_FROM = 0.3, 4
_DARK, _BRIGHT = 0.08, 0.93
# A bright sky or background is white in all photos; only more white than usual is a fault.
_DARKER, _BLOWN, _MORE_BLOWN = 0.4, 0.3, 3.0
_SMALL_PX, _SMALLER = 480, 0.3
# Root mean square difference of 24 x 24 thumbnails [grey levels]: below it photos look the same.
_SAME_RMS = 1.5
_CHUNK = 512
# Outliers are searched for from this many photos with GPS on.
_LEAST_LOCATED = 4
# A GPS position is an outlier when the nearest other photo is this many times farther than usual,
# and at least this far.
_STRAY_TIMES, _STRAY_M = 20.0, 100.0
_HEIGHT_NEIGHBOURS, _HEIGHT_AROUND_M = 8, 500.0
_HEIGHT_TIMES, _HEIGHT_M = 10.0, 30.0
_EARTH_M = 6_371_000.0


def require_enough(photos: PhotoSet, minimum: int = 2) -> None:
    """Check that there are enough photos to reconstruct from.

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
    """Add the warnings that come from comparing each photo with the others."""
    usual: dict[str, _Usual] = {}
    counts = Counter(photo.camera_key for photo in photos)
    for key, count in counts.items():
        if count >= _COMPARE_FROM:
            usual[key] = _usual([p for p in photos if p.camera_key == key])
    any_gps = any(photo.gps for photo in photos)
    outliers = gps_outliers(photos)
    most = float(np.median([p.width * p.height for p in photos])) if photos else 0.0
    return tuple(
        replace(
            photo,
            warnings=(
                *photo.warnings,
                *_of_picture(photo, usual.get(photo.camera_key, _NOTHING)),
                *_of_size(photo, most),
                *_of_position(photo, any_gps),
                *outliers.get(photo.id, ()),
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
    """Copies from messengers and previews are small."""
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


def gps_outliers(photos: Sequence[Photo]) -> dict[str, tuple[str, ...]]:
    """Warnings by photo id about GPS positions and heights far from those of all other photos.

    Causes are a receiver without a fix, or a wrong table row. Two groups of photos far from each
    other are fine: no photo in them is alone.

    Args:
        photos: in any order; those without GPS are skipped.
    """
    from scipy.spatial import cKDTree

    located = [photo for photo in photos if photo.gps is not None]
    if len(located) < _LEAST_LOCATED:
        return {}
    lonlat = np.array([[p.gps.lon, p.gps.lat, 0.0] for p in located if p.gps])
    middle = np.median(lonlat, axis=0)
    # Distances through ECEF are chords: right for neighbours, finite for antipodes.
    world = GeoFrame("geo", float(middle[0]), float(middle[1])).from_lonlat(lonlat)
    nearest = cKDTree(world).query(world, k=2)[0][:, 1]
    limit = max(_STRAY_TIMES * float(np.median(nearest)), _STRAY_M)
    found = {
        photo.id: [
            f"its GPS position is {distance(_along_ground(far))} from that of any other photo; "
            "correct it if it is wrong"
        ]
        for photo, far in zip(located, nearest)
        if far > limit
    }
    for name, text in _height_outliers(located, world):
        found.setdefault(name, []).append(text)
    return {name: tuple(texts) for name, texts in found.items()}


def _height_outliers(located: Sequence[Photo], world: np.ndarray) -> list[tuple[str, str]]:
    """Recorded heights that differ from those of the photos around."""
    from scipy.spatial import cKDTree

    rows = [i for i, p in enumerate(located) if p.gps and p.gps.height_m is not None]
    if len(rows) < _LEAST_LOCATED:
        return []
    heights = np.array([p.gps.height_m for i in rows if (p := located[i]).gps], float)
    apart, near = cKDTree(world[rows]).query(world[rows], k=min(_HEIGHT_NEIGHBOURS + 1, len(rows)))
    around = np.where(apart[:, 1:] < _HEIGHT_AROUND_M, heights[near[:, 1:]], np.nan)
    compared = np.isfinite(around).sum(axis=1) >= _LEAST_LOCATED - 1
    if not compared.any():
        return []
    off = heights[compared] - np.nanmedian(around[compared], axis=1)
    limit = max(_HEIGHT_TIMES * float(np.median(np.abs(off))), _HEIGHT_M)
    return [
        (
            located[row].id,
            f"its recorded height is {abs(d):.0f} m {_side(d)} the photos "
            "around it; correct it if it is wrong",
        )
        for row, d in zip(np.array(rows)[compared], off)
        if abs(d) > limit
    ]


def _along_ground(chord_m: float) -> float:
    """Distance along a sphere of the Earth's size, to check on a map."""
    return 2 * _EARTH_M * float(np.arcsin(min(chord_m / (2 * _EARTH_M), 1.0)))


def _side(difference: float) -> str:
    return "above" if difference > 0 else "below"


def set_warnings(photos: Sequence[Photo], thumbnails: NDArray[np.float32]) -> list[str]:
    """Warnings about the whole set: positions, cameras, photos that look the same.

    Args:
        photos: in any order.
        thumbnails: (len(photos), P) grey values in [0, 255], in the same order.
    """
    return [*_about_gps(photos), *_about_cameras(photos), *_near_duplicates(photos, thumbnails)]


def _about_gps(photos: Sequence[Photo]) -> list[str]:
    positions = [photo.gps for photo in photos if photo.gps]
    if not positions:
        return [
            "no photo has a GPS position: the model will not be georeferenced, and has a scale "
            "only from a known length (--scale-bar); positions in meta.csv would give both"
        ]
    warnings = []
    if len(positions) < len(photos):
        missing = len(photos) - len(positions)
        warnings.append(
            f"{missing} of {len(photos)} photos have no GPS position; they are placed by their "
            "overlap with the others"
        )
    if len(positions) > 2 and len({(gps.lon, gps.lat) for gps in positions}) == 1:
        warnings.append(
            "all photos have the same GPS position: the receiver was frozen or off; give the right "
            "ones in meta.csv, or the model has no scale and is not georeferenced"
        )
    references = {gps.height_reference for gps in positions if gps.height_m is not None}
    if not references:
        warnings.append(
            "GPS positions have no heights: give them in meta.csv (alt), or the model is placed at "
            "height 0"
        )
    if len(references) > 1:
        warnings.append(
            "according to their metadata, some heights are above sea level and some above the "
            "ellipsoid; set --gps-heights if that is wrong"
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
            "each is calibrated separately; do not zoom during a survey"
        )
    around = [p.id for p in photos if p.width == 2 * p.height and p.focal_px is None]
    if around:
        photos_are = "1 photo is" if len(around) == 1 else f"{len(around)} photos are"
        warnings.append(
            f"{photos_are} twice as wide as high, without a focal length in the metadata "
            f"(first: {around[0]}): a run cannot reconstruct panoramas, since it expects photos of "
            "one lens; find their cameras with COLMAP (EQUIRECTANGULAR), and use voxterra train"
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
    """Find pairs of photos with nearly equal thumbnails: resaved copies, or a still camera."""
    pairs: list[tuple[int, int]] = []
    # Centred, or cancellation of the squares hides the difference between equal and similar.
    values = thumbnails.astype(np.float64) - 128.0
    squares = (values**2).sum(axis=1)
    for start in range(0, len(values), _CHUNK):
        rows = values[start : start + _CHUNK]
        squared = squares[start : start + _CHUNK, None] + squares[None] - 2.0 * rows @ values.T
        close = np.argwhere(squared < _SAME_RMS**2 * values.shape[1])
        pairs += [(start + int(i), int(j)) for i, j in close if start + i < j]
    pairs = [(i, j) for i, j in pairs if _same_size(photos[i], photos[j])]
    if not pairs:
        return []
    shown = ", ".join(f"{photos[i].id} and {photos[j].id}" for i, j in pairs[:3])
    rest = f", and {len(pairs) - 3} more pairs" if len(pairs) > 3 else ""
    return [f"photos that look the same (copies, or the camera did not move): {shown}{rest}"]


def _same_size(a: Photo, b: Photo) -> bool:
    return abs(a.width * b.height - b.width * a.height) <= 0.01 * a.width * b.height
