"""Façades in a mesh: the vertical planes that fill most of the photos.

Faces of the mesh vote, each with the pixels that it fills in the photos: first for the direction in
which a wall looks, then for its place. The faces of the strongest plane fit it by least squares.
What lies on it is taken off, and the rest votes for the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.mesh import TriMesh
from voxterra.core.surface_source import SurfaceSource
from voxterra.core.vertical_plane import VerticalPlane

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

# More than this vote no better.
_MOST_FACES = 60_000
_MOST_VIEWS = 60
# Sine of the slope from which on a face is no wall.
_STEEP = np.sin(np.radians(25.0))
# A face belongs to a wall that looks this many degrees past it; half of its votes come from faces
# that look within the second angle, or it is no plane but something round.
_SAME_WALL_DEG, _FLAT_DEG, _LEAST_FLAT = 35.0, 12.0, 0.5
# Of the distance of the photos: how thick a plane is, with its reveals and ledges.
_THICKNESS = 0.06
# Of all that the photos show, and of the largest façade: less is not worth a picture.
_LEAST_SHARE, _LEAST_OF_LARGEST = 0.08, 0.15
# Standard deviation of a wall's direction by how its faces look.
_NORMALS_DEG = 0.5
# How far in front a picture reaches, and behind: of the distance of the nearest photos.
_REACH = 0.5


@dataclass(frozen=True)
class Facade:
    """A façade and the box of the plane's frame that its picture shows.

    Attributes:
        plane: where it lies; x = 0 at its left end.
        width: of the façade, along x [world units].
        low, high: y of its foot and of its top [world units].
        reach: what stands farther in front of the plane, or lies farther behind it, is not shown
            [world units].
        pixel: of the photos nearest to it, on its surface [world units].
        share: of all that the photos show, how much is this façade, 0..1; 0 where the user gave it.
    """

    plane: VerticalPlane
    width: float
    low: float
    high: float
    reach: float
    pixel: float
    share: float = 0.0


@dataclass(frozen=True)
class _Faces:
    """Faces of the mesh that photos show, thinned.

    Attributes:
        corners: (N, 3, 3) in world.
        steep: (N,) whether it may be of a wall.
        azimuth: (N,) direction in which each looks [deg, clockwise from y].
        area: (N,) [square world units].
        votes: (N,) pixels of the photos that it fills.
        distance: (N,) of the nearest photo, and pixel: (N,) how large its pixels are there
            [world units].
    """

    corners: Float
    steep: Bool
    azimuth: Float
    area: Float
    votes: Float
    distance: Float
    pixel: Float

    @property
    def center(self) -> Float:
        return np.asarray(self.corners.mean(axis=1))

    def of(self, chosen: Bool) -> _Faces:
        return _Faces(*(values[chosen] for values in vars(self).values()))


def find_facades(mesh: TriMesh, views: Sequence[PinholeView], limit: int) -> tuple[Facade, ...]:
    """The façades of a mesh, that which fills most of the photos first; none where there is none.

    Args:
        mesh: in world, z up; faces look outwards.
        views: the photos.
        limit: most façades.
    """
    shown = _shown(mesh, views)
    faces, found = shown.of(shown.steep), list[Facade]()
    while len(found) < limit and len(faces.votes):
        facade, on_it = _strongest(faces, shown)
        if facade is None or facade.share < max(
            _LEAST_SHARE, _LEAST_OF_LARGEST * found[0].share if found else 0.0
        ):
            break
        found.append(facade)
        faces = faces.of(~on_it)
    return tuple(found)


def given_facade(
    mesh: TriMesh, views: Sequence[PinholeView], left_in_world: Float, right_in_world: Float
) -> Facade | None:
    """The façade over a line on the ground; None where the mesh has no wall along it.

    Args:
        mesh: in world, z up.
        views: the photos.
        left_in_world, right_in_world: (3,) its ends, as seen from the front.
    """
    along = np.asarray(right_in_world - left_in_world, np.float64)[:2]
    width = float(np.linalg.norm(along))
    azimuth = float(np.degrees(np.arctan2(along[1], -along[0])))
    x, y, _ = (float(v) for v in left_in_world)
    plane = VerticalPlane((x, y, 0.0), azimuth)
    shown = _shown(mesh, views)
    faces = shown.of(shown.steep)
    where = plane.from_world(faces.center)
    thickness = _THICKNESS * _median(faces.distance, faces.votes) if len(where) else 0.0
    on_it = (where[:, 0] >= 0) & (where[:, 0] <= width) & (np.abs(where[:, 2]) <= 2 * thickness)
    on_it &= _turn(faces.azimuth, azimuth) <= _SAME_WALL_DEG
    if not on_it.any():
        return None
    wall = faces.of(on_it)
    low, high = _range(wall, plane, 1)
    reach, pixel = _reach(wall), _median(wall.pixel, wall.votes)
    return Facade(plane, width, low, max(high, _top(shown, plane, width, reach)), reach, pixel)


def at_height(facade: Facade, height: float) -> Facade:
    """The same façade with y counted from another level: `height` is that of the world's z = 0."""
    plane = facade.plane
    moved = replace(plane, origin_height=plane.origin_height + height)
    return replace(facade, plane=moved, low=facade.low + height, high=facade.high + height)


def _shown(mesh: TriMesh, views: Sequence[PinholeView]) -> _Faces:
    """The faces that photos show, whatever may stand between."""
    measured = np.ones(len(mesh.faces), bool)
    if mesh.face_source is not None:
        measured = mesh.face_source != SurfaceSource.FILLED
    chosen = mesh.faces[measured]
    step = max(1, len(chosen) // _MOST_FACES)
    corners = mesh.vertices[chosen[::step]].astype(np.float64)
    a, b, c = corners.swapaxes(0, 1)
    doubled = np.cross(b - a, c - a)
    size = np.linalg.norm(doubled, axis=1)
    normal = doubled / np.maximum(size, 1e-300)[:, None]
    center = (a + b + c) / 3
    votes = np.zeros(len(center))
    distance, pixel = np.full((2, len(center)), np.inf)
    for view in views[:: max(1, len(views) // _MOST_VIEWS)]:
        pixels, depth = view.project(center)
        ray = view.center_in_world - center
        away = np.linalg.norm(ray, axis=1)
        towards = (ray * normal).sum(axis=1) / np.maximum(away, 1e-300)
        seen = (depth > 0) & (towards > 0.1)
        seen &= (pixels >= 0).all(1) & (pixels < [view.width, view.height]).all(1)
        votes[seen] += (0.5 * size * towards * (view.K[0, 0] / np.maximum(away, 1e-300)) ** 2)[seen]
        distance[seen] = np.minimum(distance, away)[seen]
        pixel[seen] = np.minimum(pixel, away / view.K[0, 0])[seen]
    azimuth = np.degrees(np.arctan2(normal[:, 0], normal[:, 1]))
    steep = np.abs(normal[:, 2]) < _STEEP
    return _Faces(corners, steep, azimuth, size / 2, votes, distance, pixel).of(votes > 0)


def _strongest(faces: _Faces, shown: _Faces) -> tuple[Facade | None, Bool]:
    """The façade with most votes, and the faces (N,) that are no candidates any more; None where
    the strongest plane is none.

    Args:
        faces: walls, N.
        shown: all faces.
    """
    azimuth = _usual_direction(faces)
    near = _turn(faces.azimuth, azimuth) <= _SAME_WALL_DEG
    candidates = faces.of(near)
    thickness = _THICKNESS * _median(candidates.distance, candidates.votes)
    offset = _best_offset(candidates, azimuth, thickness)
    plane = _fitted(candidates, azimuth, offset, thickness)
    turned = _turn(faces.azimuth, plane.azimuth_deg)
    where = plane.from_world(faces.center)
    on_it = (turned <= _SAME_WALL_DEG) & (np.abs(where[:, 2]) <= thickness)
    total = float(faces.votes[on_it].sum())
    flat = float(faces.votes[on_it & (turned <= _FLAT_DEG)].sum())
    if flat < _LEAST_FLAT * total or total <= 0:
        return None, on_it
    wall = faces.of(on_it)
    (left, right), (low, high) = _range(wall, plane, 0), _range(wall, plane, 1)
    x, y, z = (float(v) for v in plane.to_world(np.array([[left, 0.0, 0.0]]))[0])
    moved = VerticalPlane((x, y, z), plane.azimuth_deg)
    reach, pixel = _reach(wall), _median(wall.pixel, wall.votes)
    done = (turned <= _SAME_WALL_DEG) & (np.abs(where[:, 2]) <= max(reach, thickness))
    done &= (where[:, 0] >= left) & (where[:, 0] <= right)
    high = max(high, _top(shown, moved, right - left, reach))
    share = total / float(shown.votes.sum())
    return Facade(moved, right - left, low, high, reach, pixel, share), done | on_it


def _usual_direction(faces: _Faces) -> float:
    """The direction in which most votes look [deg]: the mode, then the median around it."""
    counts = np.bincount(np.floor(faces.azimuth % 360).astype(int) % 360, faces.votes, 360)
    offsets = np.minimum(np.arange(360), 360 - np.arange(360))
    bell = np.exp(-0.5 * (offsets / 4.0) ** 2)
    smooth = np.fft.irfft(np.fft.rfft(counts) * np.fft.rfft(bell), 360)
    azimuth = float(np.argmax(smooth)) + 0.5
    for within in (12.0, 8.0, 5.0):
        off = (faces.azimuth - azimuth + 180.0) % 360.0 - 180.0
        near = np.abs(off) <= within
        azimuth += _median(off[near], faces.votes[near])
    return azimuth


def _best_offset(faces: _Faces, azimuth: float, thickness: float) -> float:
    """Offset along the direction `azimuth` of the plane with most votes."""
    offset, cell = (
        faces.center @ VerticalPlane((0.0, 0.0, 0.0), azimuth).normal_in_world,
        thickness / 4,
    )
    first = float(offset.min())
    counts = np.bincount(((offset - first) / cell).astype(int), faces.votes)
    pairs = counts + np.append(counts[1:], 0.0)  # a plane on the border of two cells
    return first + (int(np.argmax(pairs)) + 1) * cell


def _fitted(faces: _Faces, azimuth: float, offset: float, thickness: float) -> VerticalPlane:
    """The plane that fits the faces on it by least squares.

    Where that turns it by more than the directions of the faces allow, it has found two walls, and
    the plane keeps the direction of the faces.
    """
    normal = VerticalPlane((0.0, 0.0, 0.0), azimuth).normal_in_world
    middle, turned = offset * normal[:2], azimuth
    for tolerance in thickness * np.geomspace(0.3, 0.08, 8):
        off = (faces.center[:, :2] - middle) @ normal[:2]
        on_it = np.abs(off) <= tolerance
        if on_it.sum() < 3:
            break
        at, weight = faces.center[on_it, :2], faces.votes[on_it]
        middle = weight @ at / weight.sum()
        values, axes = np.linalg.eigh((weight[:, None] * (at - middle)).T @ (at - middle))
        across = axes[:, 0] * np.sign(axes[:, 0] @ normal[:2])
        fitted = float(np.degrees(np.arctan2(across[0], across[1])))
        if values[0] < 0.1 * values[1] and _turn(np.array([fitted]), azimuth)[0] <= _NORMALS_DEG:
            turned = fitted
            normal = VerticalPlane((0.0, 0.0, 0.0), turned).normal_in_world
    return VerticalPlane((float(middle[0]), float(middle[1]), 0.0), turned % 360)


def _reach(on_it: _Faces) -> float:
    """Half the distance of the nearest photos: what stands in the way is nearer to them."""
    return _REACH * float(_quantile(on_it.distance, on_it.votes, 0.1))


def _turn(azimuth: Float, other: float) -> Float:
    """(N,) unsigned angles [deg] between directions."""
    return np.asarray(np.abs((azimuth - other + 180.0) % 360.0 - 180.0))


def _range(wall: _Faces, plane: VerticalPlane, axis: int) -> tuple[float, float]:
    """From where to where a wall reaches along x (0) or y (1) of its plane, without strays."""
    values = plane.from_world(wall.corners.reshape(-1, 3))[:, axis]
    area = np.repeat(wall.area, 3)
    return _quantile(values, area, 0.002), _quantile(values, area, 0.998)


def _top(shown: _Faces, plane: VerticalPlane, width: float, reach: float) -> float:
    """How high what a picture of the plane shows goes, roofs included, without strays."""
    x, _, z = plane.from_world(shown.center).T
    within = shown.of((x >= 0) & (x <= width) & (np.abs(z) <= reach))
    return _range(within, plane, 1)[1]


def _median(values: Float, weights: Float) -> float:
    return _quantile(values, weights, 0.5)


def _quantile(values: Float, weights: Float, share: float) -> float:
    order = np.argsort(values)
    passed = np.cumsum(weights[order])
    index = int(np.searchsorted(passed, share * passed[-1]))
    return float(values[order[min(index, len(order) - 1)]])
