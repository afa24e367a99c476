"""Count the work of steps of structure from motion from their inputs.

Counted, not timed: what is skipped as too much work is then the same on every machine, and when a
killed run resumes. The unit is finding the features of one megapixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxterra.core.photos import Photo
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.database import feature_counts, pair_counts, tried_pairs

# Measured on one core, `benchmarks/results/left_out.md`: hardened features of a photo; two features
# of a pair compared, as usual and guided; one agreeing match mapped in one attempt.
_HARDENED = 3.5
_COMPARED, _GUIDED = 1.1e-9, 1.8e-8
_MAPPED = 1e-4
# Factor in number of fainter features; and of orientations of a hardened one.
_FAINTER, _ORIENTATIONS = 2.0, 1.5

# Most features of a photo that are matched guided (the largest in scale), and most that are
# hardened: guided matching compares all with all, and takes ten times as long as the usual one or
# more.
MOST_GUIDED, MOST_HARDENED = 8192, 4096


@dataclass(frozen=True)
class Effort:
    """Sizes of the inputs that the work depends on.

    Attributes:
        megapixels: (N,) of each photo, at the size at which features are found.
        features: (N,) number in each photo.
        tried: number of pairs that were matched.
        matches: number of verified matches, of all pairs.
    """

    megapixels: NDArray[np.float64]
    features: NDArray[np.int64]
    tried: int
    matches: int

    def of_all_before(self, attempts: int) -> float:
        """Work of finding all features, matching the pairs, and mapping in `attempts`."""
        compared = self.tried * float(np.mean(self.features)) ** 2
        return float(self.megapixels.sum()) + _COMPARED * compared + self.of_mapping(attempts)

    def of_mapping(self, attempts: int) -> float:
        """Work of mapping all photos in `attempts`."""
        return _MAPPED * self.matches * attempts

    def of_hardened(self, photo: int) -> float:
        """Work of finding hardened features of a photo: depends on their number, hardly on size."""
        return _HARDENED * self._fainter(photo) / MOST_HARDENED

    def of_guided(self, first: int, second: int, *, hardened: bool = False) -> float:
        """Work of matching two photos guided, by their largest features or by hardened ones."""
        if hardened:
            return _GUIDED * _ORIENTATIONS**2 * self._fainter(first) * self._fainter(second)
        return _GUIDED * float(np.minimum(self.features[[first, second]], MOST_GUIDED).prod())

    def _fainter(self, photo: int) -> float:
        return float(min(_FAINTER * self.features[photo], MOST_HARDENED))


def count_effort(database: Path, photos: Sequence[Photo], config: SfmConfig) -> Effort:
    """Count the work of these photos, from what `database` holds of them."""
    sides = np.array([(photo.width, photo.height) for photo in photos], float)
    scale = np.minimum(config.max_image_size / sides.max(axis=1), 1.0)
    return Effort(
        megapixels=sides.prod(axis=1) * scale**2 / 1e6,
        features=feature_counts(database, len(photos)),
        tried=tried_pairs(database),
        matches=int(pair_counts(database).inliers.sum()),
    )
