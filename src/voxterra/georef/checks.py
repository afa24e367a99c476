"""What a placed model and its GPS say about each other: bends."""

from __future__ import annotations

import numpy as np

from voxterra.core.bend import bend_m, shape_of_bend
from voxterra.core.georeference import Placement
from voxterra.core.reconstruction import Reconstruction
from voxterra.georef.observations import Observations


def contradictions(
    observations: Observations, placement: Placement, component: Reconstruction
) -> list[str]:
    """Bends against the recorded heights, in words for a user."""
    o = observations
    if o.height_repeated:
        return []  # a reading that is repeated follows no camera up or down
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
            "photos straight down do not determine the lens, or the heights drift; add oblique "
            "photos"
            if looks_down
            else "errors add up along a chain of photos; add photos that close a loop or cross "
            "the way"
        )
        + ", or positions by RTK"
    ]
