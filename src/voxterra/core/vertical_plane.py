"""A vertical plane with coordinates of its own, as an elevation drawing has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True)
class VerticalPlane:
    """Where a façade lies, and what its coordinates x, y, z count.

    x runs to the right as seen from the front, y upwards, z towards the viewer: a right-handed
    frame, in units of the world.

    Attributes:
        origin_in_world: a point of the plane, where x and z are 0.
        azimuth_deg: direction in which the plane looks, clockwise from the world's y axis (north).
        origin_height: y of the origin, so that y can be a height on the map.
    """

    origin_in_world: tuple[float, float, float]
    azimuth_deg: float
    origin_height: float = 0.0

    @property
    def normal_in_world(self) -> Float:
        """(3,) unit vector towards the viewer; horizontal."""
        azimuth = np.radians(self.azimuth_deg)
        return np.array([np.sin(azimuth), np.cos(azimuth), 0.0])

    @property
    def plane_from_world(self) -> Float:
        """(3, 4) rigid transform."""
        up, normal = np.array([0.0, 0.0, 1.0]), self.normal_in_world
        rotation = np.stack([np.cross(up, normal), up, normal])
        shift = np.array([0.0, self.origin_height, 0.0])
        return np.column_stack([rotation, shift - rotation @ np.array(self.origin_in_world)])

    def from_world(self, points_in_world: Float) -> Float:
        """(N, 3) x, y, z of (N, 3) world points."""
        transform = self.plane_from_world
        return np.asarray(points_in_world @ transform[:, :3].T + transform[:, 3])

    def to_world(self, points_in_plane: Float) -> Float:
        """Inverse of `from_world`: (N, 3) world points."""
        transform = self.plane_from_world
        return np.asarray((points_in_plane - transform[:, 3]) @ transform[:, :3])

    def camera_from_plane(self, cam_from_world: Float) -> Float:
        """(3, 4) pose, in the plane's frame, of a camera with the pose `cam_from_world` (3, 4)."""
        transform = self.plane_from_world
        rotation = cam_from_world[:, :3] @ transform[:, :3].T
        return np.column_stack([rotation, cam_from_world[:, 3] - rotation @ transform[:, 3]])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values: origin, y of the origin, and the axes as unit vectors in world."""
        x, y, z = (np.round(axis, 9).tolist() for axis in self.plane_from_world[:, :3])
        return {
            "origin_in_world": [round(v, 6) for v in self.origin_in_world],
            "origin_height": round(self.origin_height, 6),
            "azimuth_deg": round(self.azimuth_deg, 6),
            "x_axis_in_world": x,
            "y_axis_in_world": y,
            "normal_in_world": z,
        }
