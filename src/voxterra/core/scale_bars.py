"""Known distances in the scene, marked in photos."""

from __future__ import annotations

from dataclasses import dataclass

Pixel = tuple[float, float]


@dataclass(frozen=True)
class ScaleBar:
    """The distance between two points that are marked in two photos or more.

    Attributes:
        name: for messages.
        length_m: [m].
        marks: photo id, and the pixels of the two ends in it, in the same order in all photos
            [px, as stored, the centre of the first pixel at (0.5, 0.5)].
    """

    name: str
    length_m: float
    marks: tuple[tuple[str, Pixel, Pixel], ...]
