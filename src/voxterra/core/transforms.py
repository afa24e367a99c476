"""Rigid and similarity transforms.

Names read `target_from_source`, so inner names cancel:
`map_from_world.compose(world_from_model)` is `map_from_model`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Similarity:
    """`x_target = scale * rotation @ x_source + translation`.

    Attributes:
        scale: positive factor from source to target units.
        rotation: (3, 3) rotation matrix.
        translation: (3,) in target units.
    """

    scale: float
    rotation: Float
    translation: Float

    @staticmethod
    def identity() -> Similarity:
        return Similarity(1.0, np.eye(3), np.zeros(3))

    def apply(self, points: Float) -> Float:
        """Transform (..., 3) points in source to target coordinates, float64."""
        return self.scale * (np.asarray(points, np.float64) @ self.rotation.T) + self.translation

    def inverse(self) -> Similarity:
        rotation = self.rotation.T
        return Similarity(1.0 / self.scale, rotation, -(rotation @ self.translation) / self.scale)

    def compose(self, inner: Similarity) -> Similarity:
        """`self` after `inner`."""
        return Similarity(
            self.scale * inner.scale,
            self.rotation @ inner.rotation,
            self.apply(inner.translation),
        )

    def matrix(self) -> Float:
        """(4, 4) homogeneous matrix."""
        out = np.eye(4)
        out[:3, :3] = self.scale * self.rotation
        out[:3, 3] = self.translation
        return out

    def apply_to_cam_from_source(self, cam_from_source: Float) -> Float:
        """(3, 4) rigid `cam_from_target` of a camera given as rigid `cam_from_source`.

        The camera keeps its axes; its centre moves with the similarity.
        """
        rotation = cam_from_source[:, :3] @ self.rotation.T
        center_in_target = self.apply(camera_center(cam_from_source))
        return np.hstack([rotation, (-rotation @ center_in_target)[:, None]])


def camera_center(cam_from_world: Float) -> Float:
    """(..., 3) centres in the world of (..., 3, 4) rigid transforms."""
    rotation, translation = cam_from_world[..., :3], cam_from_world[..., 3]
    center: Float = -np.einsum("...ji,...j->...i", rotation, translation)
    return center


def rotation_from_vector(vector: Float) -> Float:
    """(3, 3) rotation about the direction of `vector` (3,) by its length [rad] (Rodrigues)."""
    x, y, z = (float(v) for v in vector)
    angle = math.sqrt(x * x + y * y + z * z)
    half = angle / 2
    # sin(a) / a and (1 - cos(a)) / a^2
    first = math.sin(angle) / angle if angle > 1e-8 else 1.0
    second = 0.5 * (math.sin(half) / half) ** 2 if angle > 1e-8 else 0.5
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    rotation: Float = np.eye(3) + first * cross + second * (cross @ cross)
    return rotation


def fit_similarity(
    source: Float, target: Float, weights: Float | None = None, *, with_scale: bool = True
) -> Similarity:
    """Least-squares similarity `target_from_source` (Umeyama 1991).

    Args:
        source: (N, 3), N >= 3, not all on one line for a unique rotation.
        target: (N, 3).
        weights: (N,) non-negative, or None for all equal.
        with_scale: False keeps scale 1.

    Raises:
        ValueError: fewer than 3 points, or all source points equal.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if len(source) < 3:
        raise ValueError(f"a similarity needs 3 or more points, got {len(source)}")
    w = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
    w = w / w.sum()
    mean_source, mean_target = w @ source, w @ target
    d_source, d_target = source - mean_source, target - mean_target
    variance = float(w @ (d_source**2).sum(1))
    if variance <= 0:
        raise ValueError("all source points are equal")
    u, singular, vt = np.linalg.svd((d_target * w[:, None]).T @ d_source)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    rotation = u @ np.diag(sign) @ vt
    scale = float((singular * sign).sum() / variance) if with_scale else 1.0
    return Similarity(scale, rotation, mean_target - scale * rotation @ mean_source)
