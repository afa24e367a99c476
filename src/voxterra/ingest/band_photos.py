"""Photos with other numbers than 8 bits: measured in these, and stretched as a set.

What a photo's quality is compared by are grey levels, and those are known only when all photos of
the set have been read. So each is measured in its own numbers first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.bands import Bands
from voxterra.imaging.stretch import Stretch, full_range, stretch_of, value_quantiles
from voxterra.ingest.measure import THUMBNAIL, WIDTH, Measurement

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601
_END = 0.02  # of the range: what lies nearer to its end is blown


@dataclass(frozen=True)
class BandMeasurement:
    """Quality of one photo, as `Measurement` has it, but in the photo's own numbers.

    Attributes:
        kind: photos of the same kind may share a stretch: their bands, type and bits.
        full: the range of that type; None for floating point numbers, and for 8 bits, which are
            shown as they are.
        quantiles: (513,) of its values.
        sharpness, brightness, thumbnail: of the values.
        blown, black: shares.
    """

    kind: Hashable
    full: Stretch | None
    has_8_bits: bool
    quantiles: NDArray[np.float64]
    sharpness: float
    brightness: float
    blown: float
    black: float
    thumbnail: NDArray[np.float32]


def measure_bands(bands: Bands) -> BandMeasurement:
    """Measure a photo in its own numbers."""
    import cv2

    shown = [np.nan_to_num(bands.values[..., i].astype(np.float32)) for i in bands.shown]
    gray = shown[0] if len(shown) == 1 else sum(w * s for w, s in zip(_LUMA, shown))
    gray = np.asarray(gray, np.float32)
    height, width = gray.shape
    if width > WIDTH:
        size = (WIDTH, max(1, round(height * WIDTH / width)))
        gray = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.float32)
    full = full_range(bands.values, bands.bits)
    blown = 0.0 if full is None else float((gray >= full[1] - _END * (full[1] - full[0])).mean())
    small = cv2.resize(gray, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return BandMeasurement(
        (bands.names, bands.values.dtype.str, bands.bits),
        full,
        bands.bits <= 8,
        value_quantiles(bands),
        sharpness=float(cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_32F))[1][0, 0] ** 2),
        brightness=float(gray.mean()),
        blown=blown,
        black=float((gray <= bands.black_level[bands.shown[0]]).mean()),
        thumbnail=np.ravel(np.asarray(small, np.float32)),
    )


def set_stretches(
    measured: Sequence[BandMeasurement | None], cameras: Sequence[str]
) -> tuple[list[Stretch | None], list[str]]:
    """The stretch of each photo: one for all of a camera whose numbers are of one kind.

    Args:
        measured: None for photos of 8 bits.
        cameras: key of the camera of each photo.

    Returns:
        the stretches, None where photos are shown as they are; and a note about each set.
    """
    sets: dict[Hashable, list[int]] = defaultdict(list)
    for index, (found, camera) in enumerate(zip(measured, cameras, strict=True)):
        if found is not None and not found.has_8_bits:
            sets[found.kind, camera].append(index)
    out: list[Stretch | None] = [None] * len(measured)
    notes = []
    for members in sets.values():
        of_set = [m for i in members if (m := measured[i]) is not None]
        stretch = stretch_of([m.quantiles for m in of_set], of_set[0].full)
        for index in members:
            out[index] = stretch
        if stretch is not None:
            notes.append(_about(of_set, stretch))
    return out, notes


def _about(of_set: Sequence[BandMeasurement], stretch: Stretch) -> str:
    full, count = of_set[0].full, len(of_set)
    low, high = (f"{v:,.0f}" if full is not None else f"{v:.4g}" for v in stretch)
    of = f" of {full[1] - full[0] + 1:,.0f}" if full is not None else ""
    photos = f"{count} photos hold" if count > 1 else "1 photo holds"
    return (
        f"{photos} values from about {low} to {high}{of}: features, depth and colour see them "
        "stretched to 8 bits, all alike; the values themselves are kept"
    )


def in_grey_levels(measured: BandMeasurement, stretch: Stretch | None) -> Measurement:
    """The measurement as it is in the stretched picture."""
    low, high = stretch or measured.full or (0.0, 1.0)
    gain = 255.0 / (high - low)
    return Measurement(
        sharpness=measured.sharpness * gain**2,
        brightness=float(np.clip((measured.brightness - low) * gain / 255.0, 0.0, 1.0)),
        blown=measured.blown,
        black=measured.black,
        thumbnail=np.clip((measured.thumbnail - low) * gain, 0, 255).astype(np.float32),
    )
