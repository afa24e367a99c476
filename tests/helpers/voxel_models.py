"""Small models of sparse voxels with analytic distances."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from voxterra.core.voxels import (
    LATTICE,
    MAX_LEVEL,
    SH_C0,
    VoxelModel,
    corner_keys,
    decode_corners,
    decode_paths,
)

Distance = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def tree(
    wanted: Callable[[NDArray[np.float64], float], NDArray[np.integer]],
    *,
    edge: float,
    base: int = 3,
    center: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Paths and levels of a full octree.

    Cells are split up to level `base`, and on while `wanted(centers, edge of the cells)` is more
    than their level.
    """
    path, paths, levels = np.zeros(1, np.int64), [], []
    for level in range(MAX_LEVEL + 1):
        half = (LATTICE >> level) / 2
        at = (decode_paths(path) + half) * (edge / LATTICE) - edge / 2 + np.array(center)
        split = (level < base) | (wanted(at, edge / 2**level) > level)
        paths.append(path[~split])
        levels.append(np.full(int((~split).sum()), level, np.int8))
        children = np.arange(8, dtype=np.int64) << 3 * (MAX_LEVEL - 1 - level)
        path = (path[split][:, None] | children).ravel()
        if len(path) == 0:
            break
    joined, level_of = np.concatenate(paths), np.concatenate(levels)
    order = np.argsort(joined)
    return joined[order], level_of[order]


def around_surface(
    distance: Distance, levels: Callable[[NDArray[np.float64]], NDArray[np.integer]]
) -> Callable[[NDArray[np.float64], float], NDArray[np.integer]]:
    """Splits cells at the surface up to the level that `levels` wants at their centre."""

    def wanted(centers: NDArray[np.float64], edge: float) -> NDArray[np.integer]:
        return np.where(np.abs(distance(centers)) < 1.2 * edge, levels(centers), 0)

    return wanted


def model_of(
    distance: Distance,
    path: NDArray[np.int64],
    level: NDArray[np.int8],
    *,
    inside_edge: float = 2.0,
    outside_level: int = 1,
    center: tuple[float, float, float] = (0.0, 0.0, 0.0),
    degree: int = 0,
) -> VoxelModel:
    """A model with distances of a function; the colour of a voxel is 0.5 + 0.25 * its centre."""
    edge = inside_edge * 2**outside_level
    to_world = edge / LATTICE
    corner = decode_corners(corner_keys(path, level)) * to_world - edge / 2 + np.array(center)
    half = (edge / 2.0 ** level.astype(np.int64) / 2)[:, None]
    at = decode_paths(path) * to_world - edge / 2 + half
    rng = np.random.default_rng(len(path))
    return VoxelModel(
        center=np.array(center),
        inside_edge=inside_edge,
        outside_level=outside_level,
        path=path,
        level=level,
        sdf=distance(corner).astype(np.float32),
        sh0=(0.25 * at / SH_C0).astype(np.float32),
        shs=rng.normal(0, 0.1, (len(path), (degree + 1) ** 2 - 1, 3)).astype(np.float32),
        sharpness=(2.3 / edge * 2.0 ** np.arange(MAX_LEVEL + 1)).astype(np.float32),
        background=np.array([1.0, 0.5, 0.0], np.float32),
        metadata={"source": "test"},
    )


def sphere(radius: float) -> Distance:
    return lambda x: np.linalg.norm(x, axis=-1) - radius


def box(half: tuple[float, float, float]) -> Distance:
    def distance(x: NDArray[np.float64]) -> NDArray[np.float64]:
        q = np.abs(x) - np.array(half)
        return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(-1), 0)

    return distance


def torus(major: float, minor: float) -> Distance:
    def distance(x: NDArray[np.float64]) -> NDArray[np.float64]:
        ring = np.linalg.norm(x[..., :2], axis=-1) - major
        return np.sqrt(ring * ring + x[..., 2] ** 2) - minor

    return distance


def octants(coarse: int, fine: int) -> Callable[[NDArray[np.float64]], NDArray[np.integer]]:
    """Levels that differ from octant to octant of the world."""

    def levels(x: NDArray[np.float64]) -> NDArray[np.integer]:
        number = (x[:, 0] > 0.1) * 1 + (x[:, 1] > -0.2) * 2 + (x[:, 2] > 0.0) * 4
        return coarse + number % (fine - coarse + 1)

    return levels
