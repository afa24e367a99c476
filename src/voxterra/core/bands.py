"""Photos of any number of bands, in the numbers that the sensor gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RGB = ("red", "green", "blue")

# Of bands that are no RGB, the one that features, stereo and previews look at: the first that is
# there, by what makers call it.
_SHARPEST = ("pan", "panchro", "panchromatic", "green", "gre", "g", "red", "r", "nir")


@dataclass(frozen=True)
class Bands:
    """The pixels of a photo, band by band.

    Attributes:
        values: (H, W, B) of their own type: uint8, uint16, int16, uint32, float32 and the like.
        names: of the bands, as the file has them; "red", "green", "blue" first in colour photos,
            "band 1", "band 2" ... where it has none.
        wavelengths_nm: centre of each band [nm]; None where it is not known.
        black_level: value of each band without light; 0 where the file does not state it.
        bits: of an integer value, as the file declares them: 10, 12 and 14 bits are stored in 16.
            Of floating point numbers, those of their type.
    """

    values: NDArray[Any]
    names: tuple[str, ...]
    wavelengths_nm: tuple[float | None, ...]
    black_level: tuple[float, ...]
    bits: int

    @property
    def shown(self) -> tuple[int, ...]:
        """Indices of the bands that a picture shows: red, green and blue, or one."""
        return shown_bands(self.names)


def shown_bands(names: tuple[str, ...]) -> tuple[int, ...]:
    """Indices of the bands that a picture shows: red, green and blue, or one."""
    if names[:3] == RGB:
        return 0, 1, 2
    plain = [name.lower() for name in names]
    return next(((plain.index(name),) for name in _SHARPEST if name in plain), (0,))


def bands_of_color(color: NDArray[np.uint8]) -> Bands:
    """An (H, W, 3) uint8 RGB image as bands."""
    return Bands(color, RGB, (None, None, None), (0.0, 0.0, 0.0), 8)
