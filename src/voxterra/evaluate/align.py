"""Align a result with the truth before scoring."""

from __future__ import annotations

from typing import Literal

import numpy as np

from voxterra.core.transforms import Similarity, fit_similarity
from voxterra.errors import InputError
from voxterra.io.truth.cameras import PosedCameras, match_names

Align = Literal["none", "cameras", "surface"]


def truth_from_world(
    cameras: PosedCameras, truth: PosedCameras, align: Literal["none", "cameras"]
) -> Similarity:
    """Similarity from the world of a result to the world of the truth.

    Args:
        cameras: of the result.
        truth: of the truth.
        align: "cameras" fits camera centres (Umeyama 1991); "none" takes both worlds as they
            are: through Earth if both are georeferenced, else unchanged.

    Raises:
        InputError: "cameras" with fewer than 3 common photos.
    """
    if align == "none":
        return _through_earth(cameras, truth)
    pairs = match_names(cameras.names, truth.names)
    if len(pairs) < 3:
        raise InputError(
            f"Only {len(pairs)} photos of the result are known to the truth; alignment by camera "
            "centres needs 3.",
            next_step="Check that both come from the same photos, or give --align none.",
        )
    ours, theirs = np.array(pairs).T
    return fit_similarity(cameras.centers[ours], truth.centers[theirs])


def _through_earth(cameras: PosedCameras, truth: PosedCameras) -> Similarity:
    if cameras.frame is None or truth.frame is None:
        return Similarity.identity()
    if cameras.frame.is_local or truth.frame.is_local:
        return Similarity.identity()
    matrix = (
        np.linalg.inv(truth.frame.ecef_from_world_matrix()) @ cameras.frame.ecef_from_world_matrix()
    )
    return Similarity(1.0, matrix[:3, :3], matrix[:3, 3])
