"""Find components too far from the others for one map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxterra.core.photos import Photo
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.sites import distances_m, shared_worlds
from voxterra.georef.observations import has_position


def far_components(
    components: Sequence[Reconstruction], photos: dict[str, Photo]
) -> dict[int, float]:
    """Components too far from the site of most photos, and their distance from it [m].

    Components within `core.sites.REACH_M` of each other by the median of their photos' positions,
    directly or through others, share a world. Those without positions count as near.
    """
    centers = {i: c for i, component in enumerate(components) if (c := _center(component, photos))}
    if len(centers) < 2:
        return {}
    ids, places = list(centers), list(centers.values())
    distance, world = distances_m(places), shared_worlds(places)
    photo_count = np.bincount(world, [len(components[i].images) for i in ids])
    home = world == int(np.argmax(photo_count))
    return {ids[k]: float(distance[k, home].min()) for k in np.flatnonzero(~home)}


def _center(component: Reconstruction, photos: dict[str, Photo]) -> tuple[float, float] | None:
    """Longitude and latitude at the median of the positions, None without any."""
    found = [photos[image.name] for image in component.images if image.name in photos]
    gps = [photo.gps for photo in found if photo.gps is not None and has_position(photo)]
    if not gps:
        return None
    # Relative to the first, so that a median across the antimeridian is right.
    lon = gps[0].lon + np.median([(g.lon - gps[0].lon + 180) % 360 - 180 for g in gps])
    return float(lon), float(np.median([g.lat for g in gps]))
