"""Gains of photos: `exposure.json` beside the undistorted photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from voxterra.core.exposure import Exposure
from voxterra.errors import FormatError
from voxterra.io.files.json_file import read_json, write_json

EXPOSURE_FILE = "exposure.json"


def write_exposure(exposure: Exposure, folder: Path) -> None:
    """Write `exposure.json`, atomically."""
    gains = np.round(exposure.log_gain, 6).tolist()
    write_json({"log_gain": gains}, folder / EXPOSURE_FILE)


def read_exposure(folder: Path, photos: int) -> Exposure | None:
    """The exposure of `photos` photos of a folder; None where it was not found yet.

    Raises:
        FormatError: the file is damaged or of other photos.
    """
    path = folder / EXPOSURE_FILE
    if not path.exists():
        return None
    data = read_json(path)
    try:
        gains = np.array(data["log_gain"], np.float64).reshape(-1, 3, 3)
        if len(gains) == photos and np.isfinite(gains).all():
            return Exposure(gains)
    except (KeyError, TypeError, ValueError):
        pass
    raise FormatError(
        "The exposure of the photos is damaged.",
        where=str(path),
        next_step="Delete this file: the exposure is then found again.",
    )
