"""How much brighter or darker each photo is to be shown, so that photos agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Exposure:
    """Gains that level photos, affine in the logarithm over each image.

    At the pixel (u, v) of a photo of any size, with x = 2 u / width - 1 and y = 2 v / height - 1,
    the logarithm of the gain of channel c is `log_gain[photo, c] @ (1, x, y)`.

    Attributes:
        log_gain: (V, 3, 3) of each photo and channel: in the middle, across, down.
    """

    log_gain: NDArray[np.float64]

    @classmethod
    def none(cls, photos: int) -> Exposure:
        """That shows all photos as they are."""
        return cls(np.zeros((photos, 3, 3)))

    def at(self, photo: NDArray[np.integer], place: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 3) logarithms of the gains of (N,) photos at (N, 2) places x, y in [-1, 1]."""
        gain = self.log_gain[photo]
        return np.asarray(gain[..., 0] + np.einsum("ncp,np->nc", gain[..., 1:], place))
