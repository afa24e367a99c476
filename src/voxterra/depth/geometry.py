"""How pixels of a view map into its source views and back, in the kernels' terms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.depth.level import Level, LevelImages
from voxterra.kernels.planes import Sources, upsample_planes

# From pixel coordinates with centres at .5 to the kernels' integer centres.
_SHIFT = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])


def source_views(
    index: int,
    chosen: tuple[int, ...],
    level: Level,
    images: LevelImages | None = None,
    planes_of: Level | None = None,
) -> Sources:
    """The source views `chosen` for view `index` of `level`.

    Args:
        images: where their pixels are; None leaves them out.
        planes_of: level whose planes they bring along, resampled to `level`; None leaves them out.
    """
    forward, backward = zip(
        *(_relative(level.views[index], level.views[j]) for j in chosen), strict=True
    )
    sizes = [(level.views[j].width, level.views[j].height) for j in chosen]
    offsets = np.cumsum([0] + [width * height for width, height in sizes])[:-1]
    planes = [np.zeros((1, 3), np.float32)]
    if planes_of is not None:
        planes = [
            upsample_planes(planes_of.planes(j), height, width).reshape(-1, 3)
            for j, (width, height) in zip(chosen, sizes)
        ]
    quads = [np.zeros(1, np.uint32)]
    if images is not None:
        quads = [images.quads(j).ravel() for j in chosen]
    return Sources(
        np.concatenate(quads),
        np.concatenate(planes),
        np.column_stack([offsets, sizes]).astype(np.int64),
        np.array(forward, np.float32),
        np.array(backward, np.float32),
    )


def _relative(
    view: PinholeView, source: PinholeView
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3, 4) [A | q] from `view` to `source`, and from `source` to `view`."""
    K_r, K_s = _SHIFT @ view.K, _SHIFT @ source.K
    R = source.cam_from_world[:, :3] @ view.cam_from_world[:, :3].T
    t = source.cam_from_world[:, 3] - R @ view.cam_from_world[:, 3]
    forward = np.column_stack([K_s @ R @ np.linalg.inv(K_r), K_s @ t])
    backward = np.column_stack([K_r @ R.T @ np.linalg.inv(K_s), -K_r @ R.T @ t])
    return forward, backward


def inverse_depth_per_pixel(forward: NDArray[np.float32], view: PinholeView, w: float) -> float:
    """Inverse depth that moves the projection of the middle pixel of `view` by one pixel in the
    source view where it moves most, about inverse depth `w`."""
    x = np.array([view.width / 2, view.height / 2, 1.0])
    m = forward.astype(np.float64)
    p = m[:, :, :3] @ x + m[:, :, 3] * w
    uv = p[:, :2] / p[:, 2:]
    speed = (m[:, :2, 3] - uv * m[:, 2:, 3]) / p[:, 2:]
    return float(1.0 / max(np.linalg.norm(speed, axis=1).max(), 1e-12))


def pinhole_of(view: PinholeView) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """fx, fy, cx, cy of `view` with integer pixel centres [px]."""
    K = _SHIFT @ view.K
    return np.float32(K[0, 0]), np.float32(K[1, 1]), np.float32(K[0, 2]), np.float32(K[1, 2])
