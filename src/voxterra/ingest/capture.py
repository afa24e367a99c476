"""Estimate spacing, overlap and ground sample distance from GPS, attitude and lens alone.

Nothing is reconstructed yet, so the ground is assumed to be level. The flight height is the one
the drone recorded above its take-off, or the one the user gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxterra.core.geo import GeoFrame
from voxterra.core.photos import Attitude, Photo
from voxterra.core.sites import REACH_M, shared_worlds

Float = NDArray[np.float64]

_DOWN = -0.1  # z of a ray: what looks higher ends far outside the scene, or in the sky
_NEIGHBOURS = 12
_CELLS = 400
# What is commonly asked of mapping flights; less still works where the ground has texture.
LEAST_FORWARD, LEAST_SIDE = 0.6, 0.4


@dataclass(frozen=True)
class Capture:
    """What is known of a photo set before it is reconstructed; None where unknown.

    Attributes:
        spacing_m: median distance from a photo to the next one taken.
        extent_m: west to east and south to north, of the positions.
        places: how many places there are that lie too far from each other for one map.
        height_m: median height above the ground.
        height_from: the source of that height.
        gsd_m: median size of a pixel on the ground.
        footprint_m: width and height on the ground of a photo that looks straight down.
        forward_overlap: median share of a photo that the next one taken shows too.
        side_overlap: median share that the best of the others, taken neither just before nor just
            after it, shows too.
        photos_per_place: median number of photos that show a place between the cameras.
        down: number of photos that look down, so that all of what they show is ground.
        advice: what to do differently, in words.
    """

    spacing_m: float | None = None
    extent_m: tuple[float, float] | None = None
    places: int | None = None
    height_m: float | None = None
    height_from: str | None = None
    gsd_m: float | None = None
    footprint_m: tuple[float, float] | None = None
    forward_overlap: float | None = None
    side_overlap: float | None = None
    photos_per_place: float | None = None
    down: int = 0
    advice: tuple[str, ...] = ()


def capture_of(photos: Sequence[Photo], above_ground_m: float | None = None) -> Capture:
    """Estimate the capture from positions, attitudes and lenses.

    Args:
        photos: in any order.
        above_ground_m: flight height given by the user; it overrides the metadata.
    """
    ordered = sorted(photos, key=lambda p: (p.captured_at or "", p.id))
    located = [p for p in ordered if p.gps is not None]
    if len(located) < 2:
        return Capture()
    xy = _positions(located)
    spacing = float(np.median(np.linalg.norm(np.diff(xy, axis=0), axis=1)))
    extent = np.ptp(xy, axis=0)
    heights, source = _heights(located, above_ground_m)
    places = _places(located) if extent.max() > REACH_M else 1
    base = Capture(spacing_m=spacing, extent_m=(float(extent[0]), float(extent[1])), places=places)
    if heights is None:
        return base
    prints = [
        _footprint(photo, place, height, heading)
        for photo, place, height, heading in zip(located, xy, heights, _headings(xy))
    ]
    down = [i for i, corners in enumerate(prints) if corners is not None]
    if len(down) < 2:
        return base
    return _of_prints(base, located, xy, heights, source, prints, down)


def _of_prints(
    base: Capture,
    photos: list[Photo],
    xy: Float,
    heights: Float,
    source: str,
    prints: list[Float | None],
    down: list[int],
) -> Capture:
    shapes = {i: corners for i in down if (corners := prints[i]) is not None}
    forward, side = _overlaps(shapes, xy)
    focal = [photos[i].focal_px or 0.0 for i in down]
    gsd = float(np.median([_distance(photos[i], heights[i]) / f for i, f in zip(down, focal)]))
    middle = photos[down[len(down) // 2]]
    height = float(np.median(heights[down]))
    across = height / (middle.focal_px or 1.0)
    return replace(
        base,
        height_m=height,
        height_from=source,
        gsd_m=gsd,
        footprint_m=(middle.width * across, middle.height * across),
        forward_overlap=forward,
        side_overlap=side,
        photos_per_place=_photos_per_place(list(shapes.values()), xy[down]),
        down=len(down),
        advice=_advice(forward, side),
    )


def _positions(photos: Sequence[Photo]) -> Float:
    """(N, 2) east and north [m] of photos with GPS."""
    lonlat = np.array([[p.gps.lon, p.gps.lat, 0.0] for p in photos if p.gps])
    middle = np.median(lonlat, axis=0)
    frame = GeoFrame("geo", float(middle[0]), float(middle[1]))
    return frame.from_lonlat(lonlat)[:, :2]


def _places(photos: Sequence[Photo]) -> int:
    """How many groups of two photos or more lie `REACH_M` from each other, to a kilometre."""
    lonlat = np.array([(p.gps.lon, p.gps.lat) for p in photos if p.gps])
    cells, cell = np.unique(lonlat.round(2), axis=0, return_inverse=True)
    _, counts = np.unique(shared_worlds(cells)[cell.ravel()], return_counts=True)
    return int((counts > 1).sum())


def _heights(photos: list[Photo], above_ground_m: float | None) -> tuple[Float | None, str]:
    """(N,) heights above the ground [m], NaN where unknown, and where they come from."""
    if above_ground_m is not None:
        recorded = np.array([np.nan if p.gps is None or p.gps.height_m is None else p.gps.height_m
                             for p in photos])  # fmt: skip
        usual = np.nanmedian(recorded) if np.isfinite(recorded).any() else 0.0
        differences = np.nan_to_num(recorded - usual)
        return np.maximum(above_ground_m + differences, 0.1 * above_ground_m), "as you say"
    over = [p.height_above_takeoff_m for p in photos]
    if not any(h is not None and h > 1.0 for h in over):
        return None, ""
    heights = np.array([h if h is not None and h > 1.0 else np.nan for h in over])
    return heights, "over the take-off, as the drone recorded it"


def _headings(xy: Float) -> Float:
    """(N,) direction of flight at each photo [deg, clockwise from north], for lost attitudes."""
    step = np.gradient(xy, axis=0)
    return np.asarray(np.degrees(np.arctan2(step[:, 0], step[:, 1])))


def _axes(attitude: Attitude) -> tuple[Float, Float, Float]:
    """Right, down and forward of a camera, east-north-up; see `core.photos.Attitude`."""
    yaw, pitch, roll = np.radians([attitude.yaw_deg, attitude.pitch_deg, attitude.roll_deg])
    forward = np.array([np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), np.sin(pitch)])
    level_right = np.array([np.cos(yaw), -np.sin(yaw), 0.0])
    level_down = np.cross(forward, level_right)
    right = np.cos(roll) * level_right + np.sin(roll) * level_down
    return right, np.cross(forward, right), forward


def _attitude(photo: Photo, heading: float) -> Attitude:
    """As recorded; straight down along the flight where nothing is."""
    return photo.attitude or Attitude(heading, -90.0)


def _footprint(photo: Photo, xy: Float, height: float, heading: float) -> Float | None:
    """(4, 2) corners of a photo on level ground [m]; None when one looks too high, or unknown."""
    if photo.focal_px is None or not np.isfinite(height):
        return None
    right, down, forward = _axes(_attitude(photo, heading))
    u, v = photo.width / 2 / photo.focal_px, photo.height / 2 / photo.focal_px
    rays = np.array(
        [forward + x * right + y * down for x, y in ((-u, -v), (u, -v), (u, v), (-u, v))]
    )
    if (rays[:, 2] > _DOWN * np.linalg.norm(rays, axis=1)).any():
        return None
    return np.asarray(xy + rays[:, :2] * (height / -rays[:, 2])[:, None])


def _distance(photo: Photo, height: float) -> float:
    """From the camera to the ground along its axis [m]."""
    pitch = photo.attitude.pitch_deg if photo.attitude else -90.0
    return float(height / max(np.sin(np.radians(-pitch)), 0.1))


def _overlaps(shapes: dict[int, Float], xy: Float) -> tuple[float | None, float | None]:
    """Median share of a photo in the next one, and in the best of the others near it."""
    from scipy.spatial import cKDTree

    order = sorted(shapes)
    forward = [_shared(shapes[i], shapes[i + 1]) for i in order if i + 1 in shapes]
    tree = cKDTree(xy[order])
    _, near = tree.query(xy[order], k=min(_NEIGHBOURS, len(order)))
    side = []
    for row, i in enumerate(order):
        others = [order[int(k)] for k in np.atleast_1d(near[row])]
        shares = [_shared(shapes[i], shapes[j]) for j in others if abs(i - j) > 1]
        if shares:
            side.append(max(shares))
    return (
        float(np.median(forward)) if forward else None,
        float(np.median(side)) if side else None,
    )


def _shared(a: Float, b: Float) -> float:
    """Share of the convex polygon `a` that `b` covers."""
    import cv2

    origin = a.mean(axis=0)  # near 0, since OpenCV computes in float32
    first, second = (np.asarray(shape - origin, np.float32) for shape in (a, b))
    area, _ = cv2.intersectConvexConvex(first, second)
    whole = abs(cv2.contourArea(first))
    return min(float(area) / whole, 1.0) if whole > 0 else 0.0


def _photos_per_place(shapes: list[Float], xy: Float) -> float | None:
    """Median number of footprints over the places between the cameras."""
    import cv2

    points = np.vstack([*shapes, xy])
    low, size = points.min(axis=0), float(np.ptp(points, axis=0).max())
    widest = max(float(np.ptp(shape, axis=0).max()) for shape in shapes)
    if not 0 < size < widest * _CELLS / 10:  # groups so far apart that a photo is a dot
        return None

    def cells(shape: Float) -> NDArray[np.int32]:
        corners: NDArray[np.int32] = np.rint((shape - low) / size * (_CELLS - 1)).astype(np.int32)
        return corners

    counts = np.zeros((_CELLS, _CELLS), np.int32)
    for shape in shapes:
        one = np.zeros((_CELLS, _CELLS), np.uint8)
        cv2.fillConvexPoly(one, cells(shape), (1,))
        counts += one
    inside = np.zeros((_CELLS, _CELLS), np.uint8)
    cv2.fillConvexPoly(inside, cv2.convexHull(cells(xy)), (1,))
    return float(np.median(counts[inside > 0]))


def _advice(forward: float | None, side: float | None) -> tuple[str, ...]:
    advice = []
    if forward is not None and forward < LEAST_FORWARD:
        advice.append(
            f"forward overlap is {_below(forward, LEAST_FORWARD)}: take photos closer together, "
            f"for {LEAST_FORWARD:.0%} or more"
        )
    if side is not None and side < LEAST_SIDE:
        advice.append(
            f"sidelap is {_below(side, LEAST_SIDE)}: fly lines closer together, for "
            f"{LEAST_SIDE:.0%} or more"
        )
    return tuple(advice)


def _below(share: float, least: float) -> str:
    """A share in whole percent, or with a decimal where it would read like the limit itself."""
    whole = f"{share:.0%}"
    return whole if whole != f"{least:.0%}" else f"{share:.1%}"
