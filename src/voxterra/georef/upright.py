"""Estimate up without measurements, from how people and gimbals hold cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Upright:
    """Likely up: unit vector (3,) in the model, and the standard deviation of its tilt [rad]."""

    up: Float
    sigma: float


# How level people and gimbals keep the horizon, and how far from level they look [rad].
_ROLL_SIGMA, _PITCH_SIGMA, _BEST_SIGMA = np.radians(3.0), np.radians(10.0), np.radians(2.0)


def up_in_model(displayed_from_model: Float, centers: Float) -> Upright:
    """Most likely up, from how the cameras are held.

    People and gimbals keep the horizon level, so the cameras' x axes are in the horizontal plane.
    Where the headings differ that determines up. Where all cameras look the same way it leaves a
    rotation about their common x axis, and up is the top of the photos - unless the camera centres
    spread along that direction, as in a strip of nadir photos but not when walking: then up is
    against the viewing direction, along the normal of the plane of the centres.

    Args:
        displayed_from_model: (N, 3, 3) rotations into the axes of the photos as displayed.
        centers: (N, 3) camera centres in the model.
    """
    right, top = displayed_from_model[:, 0], -displayed_from_model[:, 1]
    back = -displayed_from_model[:, 2]
    n = len(right)
    values, vectors = np.linalg.eigh(right.T @ right / n)
    if values[1] > 0.1:
        up = vectors[:, 0]
        side = top.mean(0) @ up
        if abs(side) < 0.3:
            side = back.mean(0) @ up
        roll = max(_ROLL_SIGMA, np.sqrt(max(values[0], 0.0)))
        sigma = max(_BEST_SIGMA, roll / np.sqrt(n * values[1]))
        return Upright(up if side >= 0 else -up, float(sigma))
    common_right = vectors[:, 2]
    top_mean, back_mean = (_across(v.mean(0), common_right) for v in (top, back))
    spread = centers - np.median(centers, axis=0)
    along_top, along_back = np.std(spread @ top_mean), np.std(spread @ back_mean)
    if along_top > 2 * along_back and along_top > 0.3 * np.std(spread @ common_right):
        return Upright(_plane_normal(spread, back_mean), float(_PITCH_SIGMA))
    return Upright(top_mean, float(_PITCH_SIGMA))


def _across(vector: Float, axis: Float) -> Float:
    """Unit part of `vector` across the unit `axis`."""
    out = vector - (vector @ axis) * axis
    return out / max(float(np.linalg.norm(out)), 1e-12)


def _plane_normal(spread: Float, towards: Float) -> Float:
    """Normal of the plane of the points when it is one and within 30 deg of `towards`."""
    values, vectors = np.linalg.eigh(spread.T @ spread)
    normal = vectors[:, 0] * (1.0 if vectors[:, 0] @ towards >= 0 else -1.0)
    is_plane = values[1] > 25 * max(values[0], 1e-12)
    return normal if is_plane and normal @ towards > np.cos(np.radians(30)) else towards


def rotation_to_up(up: Float, north_hint: Float | None = None) -> Float:
    """(3, 3) world_from_model that takes the unit vector `up` to +z.

    Args:
        up: (3,) in the model.
        north_hint: (3,) direction in the model that should face north (+y), or None for the one
            that turns the model least.
    """
    hint = north_hint
    if hint is None or np.linalg.norm(np.cross(hint, up)) < 1e-6:
        hint = np.array([0.0, 1.0, 0.0]) if abs(up[1]) < 0.9 else np.array([0.0, 0.0, 1.0])
    north = _across(np.asarray(hint, float), up)
    return np.array([np.cross(north, up), north, up])
