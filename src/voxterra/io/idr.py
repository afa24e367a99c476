"""Cameras of the scenes that the authors of IDR and NeuS prepared: `cameras_sphere.npz`.

`world_mat_i` is the projection K [R | t] of photo i, and `scale_mat_0` maps the unit sphere to the
sphere of interest. Format: https://github.com/lioryariv/idr/blob/main/DATA_CONVENTION.md
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxterra.errors import FormatError
from voxterra.io.files.npz import read_npz

Float = NDArray[np.float64]


@dataclass(frozen=True)
class IdrCameras:
    """Cameras in the order of the photos.

    Attributes:
        K: (N, 3, 3) pinhole matrices of the photos' own size [px, pixel centres at +0.5]; skew,
            which is rounding in these files, is left out.
        cam_from_world: (N, 3, 4) rigid.
        center, radius: the sphere of interest in world, or None.
    """

    K: Float
    cam_from_world: Float
    center: Float | None
    radius: float | None

    def __len__(self) -> int:
        return len(self.K)


def read_idr_cameras(path: Path) -> IdrCameras:
    """Cameras of `cameras_sphere.npz` or `cameras.npz`.

    Raises:
        FormatError: not such a file, or a matrix is no projection.
    """
    try:
        data = read_npz(path)
        count = sum(k.startswith("world_mat_") and "inv" not in k for k in data)
        parts = [_decomposed(np.asarray(data[f"world_mat_{i}"], float)) for i in range(count)]
        scale = np.asarray(data["scale_mat_0"], float) if "scale_mat_0" in data else None
        if not parts:
            raise ValueError("it has no world_mat_0")
    except (OSError, LookupError, ValueError, TypeError, ArithmeticError) as error:
        raise FormatError(
            f"The cameras cannot be read: {error}.",
            where=str(path),
            next_step="Give cameras_sphere.npz with world_mat_0, world_mat_1, ... of 4x4 numbers.",
        ) from error
    K, poses = (np.array(values) for values in zip(*parts))
    if scale is None:
        return IdrCameras(K, poses, None, None)
    radius = float(np.cbrt(abs(np.linalg.det(scale[:3, :3]))))
    return IdrCameras(K, poses, scale[:3, 3], radius)


def _decomposed(projection: Float) -> tuple[Float, Float]:
    """K and cam_from_world of a (3 or 4, 4) projection, by an RQ decomposition."""
    from scipy.linalg import rq

    p = projection[:3]
    if p.shape != (3, 4) or not np.isfinite(p).all() or abs(np.linalg.det(p[:, :3])) < 1e-12:
        raise ValueError("a world_mat is no projection")
    if np.linalg.det(p[:, :3]) < 0:  # a projection has no sign of its own; a rotation has
        p = -p
    upper, rotation = rq(p[:, :3])
    signs = np.diag(np.sign(np.diag(upper)))
    upper, rotation = upper @ signs, signs @ rotation
    translation = np.linalg.solve(upper, p[:, 3])
    upper = upper / upper[2, 2]
    K = np.array(
        [[upper[0, 0], 0.0, upper[0, 2] + 0.5], [0.0, upper[1, 1], upper[1, 2] + 0.5], [0, 0, 1.0]]
    )
    return K, np.hstack([rotation, translation[:, None]])
