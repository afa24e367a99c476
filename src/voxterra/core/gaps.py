"""Distances between components without common photos, with their accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod

from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference, Placement


@dataclass(frozen=True)
class ComponentGap:
    """Two components of one world.

    Attributes:
        first, second: indices into `Georeference.components`.
        distance_m: on the ground between their nearest cameras [m].
        photos: names of these two cameras, of the first component and of the second: photos
            taken between them would join the components.
        sigma_horizontal_m, sigma_vertical_m: standard deviation of their position relative to each
            other [m], None when unknown.
    """

    first: int
    second: int
    distance_m: float
    photos: tuple[str, str]
    sigma_horizontal_m: float | None
    sigma_vertical_m: float | None


def component_gaps(georeference: Georeference) -> tuple[ComponentGap, ...]:
    """Gaps between the components on the map: from each, those to its nearest other one."""
    components = georeference.components
    if georeference.frame.is_local:
        return ()
    mappable = georeference.mappable_indices()
    found: dict[tuple[int, int], ComponentGap] = {}
    for a, b in combinations(mappable, 2):
        in_a, in_b = (components[i].centers_in_world()[:, :2] for i in (a, b))
        distance, i, j = min(_nearest(in_b, point, i) for i, point in enumerate(in_a))
        names = (components[a].images[i].name, components[b].images[j].name)
        one, other = georeference.placements[a], georeference.placements[b]
        found[a, b] = ComponentGap(a, b, distance, names, *_relative_sigma(one, other))
    kept = set()
    for a in mappable:
        mine = [key for key in found if a in key]
        if mine:
            kept.add(min(mine, key=lambda key: found[key].distance_m))
    return tuple(found[key] for key in sorted(kept))


def distance_apart_m(georeference: Georeference, index: int) -> float | None:
    """Distance of component `index`, with a frame of its own, from the world of the others [m].

    On the ground between the nearest cameras; None where it or they are not placed.
    """
    frame, mappable = georeference.placements[index].apart, georeference.mappable_indices()
    if frame is None or georeference.frame.is_local or not mappable:
        return None
    own = _lonlat(georeference, (index,), frame)
    others = _lonlat(georeference, mappable, georeference.frame)
    at, to = _on_sphere(own), _on_sphere(others)
    _, i, j = min(_nearest(to, point, i) for i, point in enumerate(at))
    geod = Geod(ellps="WGS84")
    return float(geod.inv(own[i, 0], own[i, 1], others[j, 0], others[j, 1])[2])


def _lonlat(
    georeference: Georeference, indices: Sequence[int], frame: GeoFrame
) -> NDArray[np.float64]:
    """(N, 2) of the cameras of some components [deg]."""
    centers = [georeference.components[index].centers_in_world() for index in indices]
    return np.asarray(frame.to_lonlat(np.vstack(centers))[:, :2], np.float64)


def _on_sphere(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) unit vectors, whose nearest are the nearest places."""
    lon, lat = np.radians(lonlat.T)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


def _nearest(
    points: NDArray[np.float64], to: NDArray[np.float64], index: int
) -> tuple[float, int, int]:
    """Distance to the nearest of `points`, `index`, and which it is."""
    distances = np.linalg.norm(points - to, axis=1)
    nearest = int(np.argmin(distances))
    return float(distances[nearest]), index, nearest


def _relative_sigma(one: Placement, other: Placement) -> tuple[float | None, float | None]:
    """Horizontal and vertical standard deviation of one component against the other.

    The shared error of one flight would cancel, but it is unknown whether they are of one flight.
    """

    def joint(a: float | None, b: float | None) -> float | None:
        return None if a is None or b is None else float(np.hypot(a, b))

    return (
        joint(one.position_sigma_horizontal_m, other.position_sigma_horizontal_m),
        joint(one.position_sigma_vertical_m, other.position_sigma_vertical_m),
    )
