"""Sites other than that of most photos: components that its world frame cannot hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import Geod

from voxterra.core.georeference import Georeference
from voxterra.core.wording import listed

# Components whose centres are further apart share no map: no raster holds both, float32 meshes
# lose centimetres, and nobody looks at both at once.
REACH_M = 10_000.0

FOLDER_OF_COMPONENTS = "components"
"""In a run folder: results of the stages of other sites, by the number of a component."""


@dataclass(frozen=True)
class Site:
    """Components that share a world frame, which is not that of most photos.

    Attributes:
        components: indices into `Georeference.components`, ascending; one at least.
    """

    components: tuple[int, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the components, counted from 1."""
        return tuple(index + 1 for index in self.components)

    @property
    def number(self) -> int:
        """Number of the largest component, which its folder is named after."""
        return self.numbers[0]

    @property
    def folder(self) -> str:
        """Folder of its deliverables in `products/`."""
        return f"component_{self.number}"

    @property
    def work_folder(self) -> str:
        """Folder of its stages' results in a run folder."""
        return f"{FOLDER_OF_COMPONENTS}/{self.number}"

    def describe(self) -> str:
        """Such as "component 2" or "components 2, 3"."""
        plural = "s" if len(self.components) > 1 else ""
        return f"component{plural} {listed([str(n) for n in self.numbers])}"


def sites_of(georeference: Georeference) -> tuple[Site, ...]:
    """The other sites: components outside the georeference's world frame.

    Components with a frame of their own share a site if they are within `REACH_M` of each other,
    directly or through others. Each component that is not placed is a site of its own, in its own
    units.

    Args:
        georeference: its `components` are not used.
    """
    held = set(georeference.mappable_indices())
    rest = [i for i in range(len(georeference.placements)) if i not in held]
    frames = {i: frame for i in rest if (frame := georeference.placements[i].apart) is not None}
    label = dict(zip(frames, shared_worlds([(f.lon, f.lat) for f in frames.values()])))
    sites: dict[tuple[str, int], list[int]] = {}
    for i in rest:
        key = ("placed", int(label[i])) if i in label else ("alone", i)
        sites.setdefault(key, []).append(i)
    return tuple(Site(tuple(indices)) for indices in sites.values())


def shared_worlds(lonlat: ArrayLike) -> NDArray[np.int64]:
    """(N,) numbers, equal for places (N, 2) [deg] within `REACH_M`, directly or through others."""
    near = distances_m(lonlat) <= REACH_M
    label = np.arange(len(near))
    for _ in range(len(near)):  # each round takes the least number of all neighbours
        least = np.where(near, label[None], len(near)).min(axis=1, initial=len(near))
        if (least == label).all():
            break
        label = least
    return label


def distances_m(lonlat: ArrayLike) -> NDArray[np.float64]:
    """(N, N) geodesic distances between places (N, 2) [deg] on WGS 84 [m]."""
    lon, lat = np.asarray(lonlat, np.float64).reshape(-1, 2).T
    n = len(lon)
    a, b = np.repeat(np.arange(n), n), np.tile(np.arange(n), n)
    between = Geod(ellps="WGS84").inv(lon[a], lat[a], lon[b], lat[b])[2]
    return np.asarray(between, np.float64).reshape(n, n)
