"""Detect photos that are one picture: copies, or photos of a camera that did not move.

They match perfectly, and some mappers make a model of the noise between them. It has no depth: a
point gets depth only from its movement between pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pycolmap

from voxterra.core.photos import Photo
from voxterra.sfm.features.database import PairCounts

# Share of a picture's longer side by which features of one picture, saved twice, may differ; and
# the share of features that must agree so closely.
_SAME_PLACE, _MOST = 0.001, 0.9


def is_one_picture(database: Path, photos: Sequence[Photo], related: PairCounts) -> bool:
    """Whether features are at the same places in every pair that matches.

    Args:
        database: with features and verified matches.
        photos: in the order of the database's images.
        related: the pairs to check; without any the answer is no.
    """
    with closing(pycolmap.Database.open(database)) as opened:
        return len(related.pairs) > 0 and all(
            _coincide(opened, photos, int(first), int(second)) for first, second in related.pairs
        )


def _coincide(database: pycolmap.Database, photos: Sequence[Photo], a: int, b: int) -> bool:
    matches = np.asarray(database.read_two_view_geometry(a + 1, b + 1).inlier_matches)
    if len(matches) == 0:
        return False
    places = []
    for index, rows in ((a, matches[:, 0]), (b, matches[:, 1])):
        xy = np.asarray(database.read_keypoints(index + 1))[rows, :2]
        places.append(xy / max(photos[index].width, photos[index].height))
    moved = np.linalg.norm(places[0] - places[1], axis=1)
    return float(np.quantile(moved, _MOST)) < _SAME_PLACE
