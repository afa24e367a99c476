"""How pixels of a view map into its source views and back, in the kernels' terms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.depth.stereo.level import Level, LevelImages
from voxterra.kernels.stereo.planes import Sources, upsample_planes

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
    meta, forward, backward = maps_between(index, chosen, level)
    pixels = int((meta[:, 1] * meta[:, 2]).sum())
    planes = np.zeros((1 if planes_of is None else pixels, 3), np.float32)
    quads = np.zeros(1 if images is None else pixels, np.uint32)
    for j, (start, width, height) in zip(chosen, meta.tolist()):
        place = slice(start, start + width * height)
        if planes_of is not None:
            planes[place] = upsample_planes(planes_of.planes(j), height, width).reshape(-1, 3)
        if images is not None:
            quads[place] = images.quads(j).ravel()
    return Sources(quads, planes, meta, forward, backward)


def maps_between(
    index: int, chosen: tuple[int, ...], level: Level
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """`meta`, `forward` and `backward` of the `Sources` of view `index`."""
    forward, backward = zip(
        *(_relative(level.views[index], level.views[j]) for j in chosen), strict=True
    )
    sizes = [(level.views[j].width, level.views[j].height) for j in chosen]
    ends = np.cumsum([0] + [width * height for width, height in sizes])
    meta = np.column_stack([ends[:-1], sizes]).astype(np.int64)
    return meta, np.array(forward, np.float32), np.array(backward, np.float32)


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


def inverse_depth_per_pixel(
    forward: NDArray[np.float32], pixels: NDArray[np.float64], depths: NDArray[np.float64]
) -> float:
    """Inverse depth that moves a projection by one pixel in the source where it moves most.

    The median over some points of the view. A point nearly beside a source camera, as with
    forward motion, says nothing: its projection runs to infinity.

    Args:
        forward: (V, 3, 4) [A | q] to each source.
        pixels: (N, 2) of the view, integer centres [px].
        depths: (N,) at those pixels.
    """
    some = np.linspace(0, len(depths) - 1, min(len(depths), 200)).astype(int)
    x = np.column_stack([pixels[some], np.ones(len(some))])
    w = 1.0 / depths[some]
    m = forward.astype(np.float64)
    p = np.einsum("vij,nj->vni", m[:, :, :3], x) + m[:, None, :, 3] * w[:, None]
    usable = p[..., 2] > 0.2
    z = np.where(usable, p[..., 2], 1.0)
    uv = p[..., :2] / z[..., None]
    speed = np.linalg.norm(m[:, None, :2, 3] - uv * m[:, None, 2:, 3], axis=2) / z
    fastest = np.where(usable, speed, 0.0).max(0)
    fastest = fastest[fastest > 0]
    return float(1.0 / np.median(fastest)) if len(fastest) else float(np.median(w))


def pinhole_of(view: PinholeView) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """fx, fy, cx, cy of `view` with integer pixel centres [px]."""
    K = _SHIFT @ view.K
    return np.float32(K[0, 0]), np.float32(K[1, 1]), np.float32(K[0, 2]), np.float32(K[1, 2])
