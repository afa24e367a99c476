"""The photos that see an area of interest, and the box that holds what lies in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.area import Polygon
from voxterra.core.geo import GeoFrame
from voxterra.core.reconstruction import Reconstruction
from voxterra.depth.sparse import sparse_depth
from voxterra.errors import OutsideAreaError
from voxterra.imaging.undistort import pinhole_view

Float = NDArray[np.float64]

# Kept around the area, as a share of its longer side: seams and the rims of surfaces stay outside.
_MARGIN = 0.1
# Places across the area that photos are asked about, each way, at the height of the ground.
_ACROSS = 12
# A photo sees nothing of use beyond its farthest sparse points by this factor.
_FARTHER = 1.5


@dataclass(frozen=True)
class _Box:
    """Bounds of an area with its margin in world: (2,) low and high corner, and the margin [m]."""

    low: Float
    high: Float
    margin: float

    def holds(self, points: Float) -> NDArray[np.bool_]:
        return np.asarray(((points[:, :2] >= self.low) & (points[:, :2] <= self.high)).all(1))


def seeing_area(
    components: Sequence[Reconstruction], frame: GeoFrame, area: tuple[Polygon, ...]
) -> tuple[Reconstruction, ...]:
    """The components without the images that see nothing of the box around an area.

    Seen is what lies in a photo's frame and not far beyond its sparse points; that other things
    may hide it is not asked, so that rather too many photos are kept.

    Args:
        components: in the world of `frame`, which lies on Earth.
        frame: the world's.
        area: polygons.

    Raises:
        OutsideAreaError: fewer than two photos see the area.
    """
    box = _box(frame, area)
    places = _places(components, box)
    kept = []
    for component in components:
        sees = np.array([_sees(component, i, places) for i in range(len(component.images))], bool)
        if sees.sum() >= 2:
            kept.append(component.with_images(sees))
    if not kept:
        raise OutsideAreaError(
            "No two photos see the area of interest.",
            where="--aoi",
            next_step="Compare the polygon with cameras.geojson of a run without --aoi: are its "
            "coordinates longitude first?",
        )
    return tuple(kept)


def box_of_area(
    components: Sequence[Reconstruction], frame: GeoFrame, area: tuple[Polygon, ...]
) -> tuple[float, float, float, float, float, float]:
    """World box (x_min, y_min, z_min, x_max, y_max, z_max) around what lies in an area [m].

    Upright it reaches half the spread of the sparse points further than these, since roofs and
    pits may hold none.
    """
    box = _box(frame, area)
    heights = _places(components, box)[:, 2]
    low, high = np.quantile(heights, [0.005, 0.995])
    more = max(0.5 * (high - low), box.margin)
    x0, y0, x1, y1 = (float(v) for v in (*box.low, *box.high))
    return x0, y0, float(low - more), x1, y1, float(high + more)


def _box(frame: GeoFrame, area: tuple[Polygon, ...]) -> _Box:
    corners = np.vstack([polygon[0] for polygon in area])
    heights = np.full(len(corners), frame.height_ellipsoidal_m)
    world = frame.from_lonlat(np.column_stack([corners, heights]))[:, :2]
    low, high = world.min(0), world.max(0)
    margin = _MARGIN * float((high - low).max())
    return _Box(low - margin, high + margin, margin)


def _places(components: Sequence[Reconstruction], box: _Box) -> Float:
    """(N, 3) sparse points in the box, and places across it at the height of the nearest ones."""
    points = np.concatenate([c.points.positions_in_world for c in components])
    within = points[box.holds(points)]
    x, y = (np.linspace(box.low[k], box.high[k], _ACROSS) for k in (0, 1))
    grid = np.array([(a, b) for a in x for b in y])
    if len(within):
        heights = np.full(len(grid), np.median(within[:, 2]))
    elif len(points):
        heights = np.full(len(grid), np.median(points[:, 2]))
    else:
        heights = np.zeros(len(grid))
    return np.vstack([within, np.column_stack([grid, heights])])


def _sees(component: Reconstruction, index: int, places: Float) -> bool:
    image = component.images[index]
    view = pinhole_view(image, component.camera_of(image), 0, 0)
    points = sparse_depth(component, index, view)
    if not len(points.depths):
        return False
    far = _FARTHER * float(np.quantile(points.depths, 0.99))
    pixels, depth = view.project(places)
    framed = (pixels >= 0).all(1) & (pixels < [view.width, view.height]).all(1)
    return bool((framed & (depth > 0) & (depth < far)).any())
