"""One picture of 8 bits of photos with other numbers: what features, stereo and people look at.

Photos of a set get one stretch, so that brightness stays comparable between them; the numbers
themselves stay in `io.bands`. What has 8 bits is shown as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.bands import Bands
from voxterra.core.photos import Photo
from voxterra.io.bands import band_file, read_bands
from voxterra.io.images import read_rgb

Stretch = tuple[float, float]
"""Values that are shown black and white."""

_QUANTILES = np.linspace(0.0, 1.0, 513)
_SAMPLES = 1_000_000
# Of all values of a set, the share that may be shown as quite black, and as quite white.
_TAIL = 0.001
# Left free at both ends, of the range between.
_MARGIN = 0.02
# A set that uses this share of the range of its type is shown as 8 bits always were.
_WHOLE = 0.5


def value_quantiles(bands: Bands) -> NDArray[np.float64]:
    """(513,) evenly spaced quantiles of the bands that are shown, of every n-th pixel.

    Numbers that are not finite do not count; NaN where there is no other.
    """
    values = bands.values[..., list(bands.shown)]
    step = max(1, int(np.sqrt(values.size / _SAMPLES)))
    some = values[::step, ::step].astype(np.float64)
    some = some[np.isfinite(some)]
    return np.quantile(some, _QUANTILES) if some.size else np.full(len(_QUANTILES), np.nan)


def stretch_of(quantiles: Sequence[NDArray[np.float64]], full: Stretch | None) -> Stretch | None:
    """The stretch of a set of photos.

    Args:
        quantiles: `value_quantiles` of each photo.
        full: the range of the type of their values; None for floating point numbers.

    Returns:
        None where the values use so much of `full` that they are shown as they are.
    """
    values = np.concatenate(quantiles)
    values = values[np.isfinite(values)]
    if not len(values):
        return full or (0.0, 1.0)
    low, high = (float(v) for v in np.quantile(values, [_TAIL, 1.0 - _TAIL]))
    margin = _MARGIN * (high - low)
    low, high = low - margin, high + margin
    if full is not None:
        low, high = max(low, full[0]), min(high, full[1])
        if high - low > _WHOLE * (full[1] - full[0]):
            return None
    return (low, high) if high > low else (low, low + 1.0)


def full_range(values: NDArray[Any] | np.dtype[Any], bits: int) -> Stretch | None:
    """Smallest and largest value of so many bits; None for floating point numbers."""
    kind = values.dtype if isinstance(values, np.ndarray) else values
    if kind.kind == "f":
        return None
    if kind.kind == "i":
        return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    return 0.0, 2.0**bits - 1


def picture_of(bands: Bands, stretch: Stretch | None) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of the bands that are shown; grey where that is one.

    Args:
        stretch: values that are shown black and white; None: the range of the type.
    """
    channels = [_channel(bands, index, stretch) for index in bands.shown]
    return np.stack(channels if len(channels) == 3 else channels * 3, axis=-1)


def _channel(bands: Bands, index: int, stretch: Stretch | None) -> NDArray[np.uint8]:
    values = bands.values[..., index]
    if stretch is None and values.dtype.kind == "u":
        shift = bands.bits - 8  # as 16 bits became 8 in version 0.1
        return (values >> shift if shift > 0 else values).astype(np.uint8)
    low, high = stretch or full_range(values, bands.bits) or (0.0, 1.0)
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    return np.asarray(np.clip(np.rint(np.nan_to_num(scaled)), 0, 255), np.uint8)


def read_picture(photo: Photo) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a photo, stretched as its set is.

    Raises:
        FormatError: not a readable photo.
        InputError: the file cannot be read at all.
    """
    if band_file(photo.path) is None:
        return read_rgb(photo.path)
    return picture_of(read_bands(photo.path), photo.stretch)
