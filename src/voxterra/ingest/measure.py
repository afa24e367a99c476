"""What the pixels of a photo say about its quality."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from voxterra.io.images import draft_gray

WIDTH = 1000
THUMBNAIL = 24
_WHITE, _BLACK = 250, 5


@dataclass(frozen=True)
class Measurement:
    """Quality of one photo.

    Attributes:
        sharpness: variance of the Laplacian on a grey version 1000 px wide (Pech-Pacheco et al.
            2000, "Diatom autofocusing in brightfield microscopy"); smaller photos as they are.
        brightness: mean grey value in [0, 1].
        blown, black: share of the pixels at the bright and at the dark end, in [0, 1].
        thumbnail: (24 * 24,) float32 grey values in [0, 255], to find near-duplicates.
    """

    sharpness: float
    brightness: float
    blown: float
    black: float
    thumbnail: NDArray[np.float32]


def measure(image: Image.Image, path: Path) -> Measurement:
    """Decode an open image at reduced size and measure it; see `Measurement`."""
    import cv2

    gray = draft_gray(image, path, WIDTH)
    height, width = gray.shape
    if width > WIDTH:
        size = (WIDTH, max(1, round(height * WIDTH / width)))
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    laplacian = cv2.Laplacian(gray, cv2.CV_32F)
    small = cv2.resize(gray.astype(np.float32), (THUMBNAIL, THUMBNAIL), None, 0, 0, cv2.INTER_AREA)
    return Measurement(
        sharpness=float(cv2.meanStdDev(laplacian)[1][0, 0] ** 2),
        brightness=float(gray.mean()) / 255.0,
        blown=float((gray >= _WHITE).mean()),
        black=float((gray <= _BLACK).mean()),
        thumbnail=np.ravel(small),
    )
