"""Check a model against its GPS: whether they fit at all, and whether the model bends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.bend import bend_m, shape_of_bend
from voxterra.core.georeference import Placement
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.wording import distance
from voxterra.georef.observations import Observations

# Positions off from the cameras by this share of their own spread do not locate the photos: a
# similarity to random positions leaves about as much (0.6 to 1.0).
_NO_FIT = 0.5


@dataclass(frozen=True)
class Misfit:
    """Distances of positions from the cameras of the best fit.

    Attributes:
        within, of: number of positions within `limit_m` [m] of their camera on the ground, and
            number of all positions.
        usual_m, spread_m: median distance of the positions from their cameras, and from their own
            middle [m].
    """

    within: int
    of: int
    limit_m: float
    usual_m: float
    spread_m: float

    @property
    def is_none(self) -> bool:
        """Whether the positions do not fit the photos at all."""
        return self.usual_m > max(self.limit_m, _NO_FIT * self.spread_m)

    def __str__(self) -> str:
        return f"{self.within} of {self.of} are within {distance(self.limit_m)}"


def misfit(
    observations: Observations, offsets: NDArray[np.float64], least_sigma_m: float, sigmas: float
) -> Misfit:
    """Measure how well the positions fit the cameras.

    Args:
        offsets: (N, 3) camera centres minus recorded positions in the world [m].
        least_sigma_m: standard deviation of an ordinary receiver [m]; a stated one is used where it
            is worse.
        sigmas: number of standard deviations a position may be off.
    """
    known = observations.has_position
    off = np.linalg.norm(offsets[known, :2], axis=1)
    places = observations.gps_in_world[known, :2]
    spread = np.linalg.norm(places - np.median(places, axis=0), axis=1)
    limit = sigmas * max(float(np.median(observations.sigma_h[known])), least_sigma_m)
    within = int((off <= limit).sum())
    return Misfit(within, len(off), limit, float(np.median(off)), float(np.median(spread)))


def contradictions(
    observations: Observations, placement: Placement, component: Reconstruction
) -> list[str]:
    """Warnings about bends against the recorded heights."""
    o = observations
    if o.height_repeated:
        return []  # a repeated reading does not follow the camera
    centers = placement.world_from_model.apply(o.centers)
    known = o.has_height & ~np.isin(o.names, placement.outliers)
    bend = bend_m(centers[known], o.gps_in_world[known])
    if bend is None:
        return []
    forward = np.array([image.cam_from_world[2, :3] for image in component.images])
    looks_down = np.median(forward @ placement.world_from_model.rotation[2]) < -0.7
    return [
        f"it bends by {abs(bend):.1f} m from its middle to its edge against the recorded "
        f"heights, like a {shape_of_bend(bend)}: "
        + (
            "nadir photos do not determine the lens, or the heights drift; add oblique photos"
            if looks_down
            else "errors add up along a chain of photos; add photos that close a loop or cross "
            "the path"
        )
        + ", or RTK positions"
    ]
