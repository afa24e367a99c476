"""Where on the ground a photo looks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.georeference import Georeference
from voxterra.core.mesh import TriMesh

Float = NDArray[np.float64]

_MOST_POINTS = 5000


def ground_points(mesh: TriMesh | None, georeference: Georeference) -> Float:
    """(N, 3) some points of the surface in world: of the mesh, else the sparse points."""
    if mesh is None:
        parts = [c.points.positions_in_world for c in georeference.mappable_components]
        points = np.concatenate([np.zeros((0, 3)), *parts])
    else:
        points = mesh.vertices[np.unique(mesh.faces)]
    return points[:: max(1, len(points) // _MOST_POINTS)].astype(np.float64)


def footprint(view: PinholeView, points_in_world: Float) -> Float | None:
    """(4, 3) world points where the corners of a photo meet the level of the surface it sees.

    Args:
        view: the photo.
        points_in_world: (N, 3) surface points; the median height of those in view is the level.

    Returns:
        None when nothing is in view or a corner looks above the horizon.
    """
    pixels, depth = view.project(points_in_world)
    inside = (depth > 0) & (pixels >= 0).all(1) & (pixels < [view.width, view.height]).all(1)
    if not inside.any():
        return None
    level = float(np.median(points_in_world[inside, 2]))
    w, h = float(view.width), float(view.height)
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]])
    rays = view.unproject(corners, np.ones(4)) - view.center_in_world
    drop = level - view.center_in_world[2]
    # A ray within 6 degrees of the horizon would end far outside the scene.
    if drop >= 0 or (rays[:, 2] > -0.1 * np.linalg.norm(rays, axis=1)).any():
        return None
    return np.asarray(view.center_in_world + rays * (drop / rays[:, 2])[:, None])
