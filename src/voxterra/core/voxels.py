"""Sparse voxels: an adaptive octree that carries signed distances and colours.

Layout. A cube with `2**outside_level` times the edge of the main bound is the root, level 0; a cell
of level l has the edge cube / 2**l, down to level 16. Cells and corners have the codes of
`core.morton`. Corner c = 4x + 2y + z of a cell lies at (x, y, z) of its edges. Corners are shared
between the cells that touch them and are kept sorted by key; which corners there are follows from
path and level alone (`corners`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core import morton
from voxterra.core.morton import LATTICE, MAX_LEVEL, PATH_BITS

CORNER_OFFSETS = np.array([[c >> 2 & 1, c >> 1 & 1, c & 1] for c in range(8)], np.int64)
"""(8, 3) position of each corner of a cell, in edges of the cell."""
SH_C0 = 0.28209479177387814
"""Spherical harmonic of degree 0: colour = 0.5 + SH_C0 * sh0."""


@dataclass(frozen=True)
class Cube:
    """The root cube around the main bound, in world.

    Attributes:
        center: (3,) of both cubes [world].
        inside_edge: edge of the main bound [world].
        outside_level: how often the edge doubles outside of it; the root's edge is
            `inside_edge * 2**outside_level`.

    Raises:
        ValueError: the edge is not a positive number, or the level not in 0 .. 15.
    """

    center: tuple[float, float, float]
    inside_edge: float
    outside_level: int

    def __post_init__(self) -> None:
        x, y, z = (float(value) for value in self.center)
        object.__setattr__(self, "center", (x, y, z))
        object.__setattr__(self, "inside_edge", float(self.inside_edge))
        object.__setattr__(self, "outside_level", int(self.outside_level))
        if not all(math.isfinite(value) for value in (x, y, z)):
            raise ValueError(f"center of a cube is not finite: {self.center}")
        if not (math.isfinite(self.inside_edge) and self.inside_edge > 0):
            raise ValueError(f"edge of a cube must be positive: {self.inside_edge}")
        if not 0 <= self.outside_level < MAX_LEVEL:
            raise ValueError(f"outside_level must be 0 .. 15: {self.outside_level}")

    @property
    def edge(self) -> float:
        """Edge of the root cube [world]."""
        return self.inside_edge * 2.0**self.outside_level

    @property
    def unit(self) -> float:
        """Edge of a finest cell, the spacing of the lattice [world]."""
        return self.edge / LATTICE

    @property
    def origin(self) -> tuple[float, float, float]:
        """(3,) lowest corner of the root cube, lattice point (0, 0, 0) [world]."""
        x, y, z = self.center
        half = self.edge / 2
        return x - half, y - half, z - half

    @property
    def inside(self) -> tuple[int, int]:
        """First and last lattice coordinate of the main bound, the same on each axis."""
        half = LATTICE >> (self.outside_level + 1)
        return LATTICE // 2 - half, LATTICE // 2 + half

    @property
    def bounds(self) -> NDArray[np.float64]:
        """(2, 3) lower and upper corner of the root cube [world]."""
        return np.array(self.center) + self.edge / 2 * np.array([[-1.0], [1.0]])

    @property
    def main_bounds(self) -> NDArray[np.float64]:
        """(2, 3) lower and upper corner of the main bound [world]."""
        return np.array(self.center) + self.inside_edge / 2 * np.array([[-1.0], [1.0]])


@dataclass(frozen=True)
class VoxelModel:
    """A scene of sparse voxels in world (right-handed, metric where the frame is).

    N leaves, sorted by path and without overlap; M corners, sorted by key (see the module).

    Attributes:
        center: (3,) float64 centre of the main bound and of the cube, in world.
        inside_edge: edge of the main bound, a cube [world units].
        outside_level: levels outside of the main bound; the cube's edge is
            `inside_edge * 2**outside_level`.
        path: (N,) int64.
        level: (N,) int8, 0 to 16.
        sdf: (M,) float32 signed distances at the corners [world units], + in free space, trilinear
            inside a voxel.
        sh0: (N, 3) float32 spherical harmonics of degree 0, RGB.
        shs: (N, K - 1, 3) float32 the higher ones, K = (degree + 1)**2.
        sharpness: (17,) float32 slope of the opacity for each level [1 / world unit].
        background: (3,) float32 RGB in [0, 1] behind everything.
        metadata: what JSON can hold: source, iterations, bounds, ...
    """

    center: NDArray[np.float64]
    inside_edge: float
    outside_level: int
    path: NDArray[np.int64]
    level: NDArray[np.int8]
    sdf: NDArray[np.float32]
    sh0: NDArray[np.float32]
    shs: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    background: NDArray[np.float32]
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def n_voxels(self) -> int:
        return len(self.path)

    @property
    def n_corners(self) -> int:
        return len(self.sdf)

    @property
    def cube(self) -> Cube:
        """The root cube.

        Raises:
            ValueError: the model has none (`why_invalid`).
        """
        x, y, z = self.center
        return Cube((x, y, z), self.inside_edge, self.outside_level)

    @property
    def edge(self) -> NDArray[np.float32]:
        """(N,) edge of each voxel [world units]."""
        return np.ldexp(np.float32(self.cube.edge), -self.level.astype(np.int32))

    @property
    def lower(self) -> NDArray[np.float64]:
        """(N, 3) lower corner of each voxel in world."""
        return np.asarray(self.cube.origin + decode_paths(self.path) * self.cube.unit)

    @property
    def sh_degree(self) -> int:
        return round(math.sqrt(self.shs.shape[1] + 1)) - 1

    @property
    def base_color(self) -> NDArray[np.float32]:
        """(N, 3) RGB in [0, 1] without its dependence on the direction."""
        return np.asarray(np.clip(0.5 + np.float32(SH_C0) * self.sh0, 0.0, 1.0), np.float32)

    def why_invalid(self) -> str | None:
        """What contradicts the layout above, in a few words; None if nothing does."""
        n = len(self.path)
        shapes = {"level": (n,), "sh0": (n, 3), "sharpness": (17,), "background": (3,)}
        for name, shape in {**shapes, "center": (3,)}.items():
            if np.shape(getattr(self, name)) != shape:
                return f"{name} has the shape {np.shape(getattr(self, name))}, not {shape}"
        if self.shs.ndim != 3 or self.shs.shape[::2] != (n, 3):
            return f"shs has the shape {self.shs.shape}, not ({n}, K, 3)"
        if self.shs.shape[1] not in (0, 3, 8, 15):
            return f"{self.shs.shape[1]} higher spherical harmonics make no degree of 0 to 3"
        if not np.isfinite(self.center).all():
            return "center holds numbers that are not finite"
        try:
            _ = self.cube
        except ValueError:
            return "the cube has no extent"
        if (wrong := why_no_octree(self.path, self.level)) is not None:
            return wrong
        if len(self.sdf) != (m := len(corner_keys(self.path, self.level))):
            return f"{len(self.sdf)} signed distances for {m} corners"
        for name in ("sdf", "sh0", "shs", "sharpness", "background"):
            if not np.isfinite(getattr(self, name)).all():
                return f"{name} holds numbers that are not finite"
        return None


def decode_paths(path: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lattice coordinates (N, 3) of the lower corners of cells (N,)."""
    return np.column_stack(morton.lattice_of(path))


def encode_paths(lattice: NDArray[np.integer]) -> NDArray[np.int64]:
    """Paths (N,) of the cells of level 16 at lattice coordinates (N, 3), each 0 to 2**16 - 1.

    The path of a cell of a coarser level is that of its lower corner.
    """
    x, y, z = np.moveaxis(lattice.astype(np.int64), -1, 0)
    return np.asarray(morton.path_of(x, y, z))


def cell_size(level: NDArray[np.integer]) -> NDArray[np.int64]:
    """Edge of cells of the given levels on the lattice."""
    return np.left_shift(np.int64(1), MAX_LEVEL - level.astype(np.int64))


def encode_corners(lattice: NDArray[np.integer]) -> NDArray[np.int64]:
    """Corner keys of lattice coordinates (..., 3), each 0 to 2**16."""
    x, y, z = np.moveaxis(lattice.astype(np.int64), -1, 0)
    return np.asarray(morton.key_of(x, y, z))


def decode_corners(key: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lattice coordinates (..., 3) of corner keys."""
    return np.stack(morton.coordinates_of(key), axis=-1)


def corner_keys(path: NDArray[np.int64], level: NDArray[np.int8]) -> NDArray[np.int64]:
    """(M,) keys of all corners of leaves, sorted and each once: the order of `sdf`."""
    keys = _keys(path, level).reshape(-1)
    if len(keys) == 0:
        return keys
    keys.sort()
    once: NDArray[np.int64] = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
    return once


def corners(
    path: NDArray[np.int64], level: NDArray[np.int8]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Corners of leaves: their keys (M,), and the index (N, 8) int32 of those of each leaf."""
    unique = corner_keys(path, level)
    index = np.empty((len(path), 8), np.int32)
    step = 1 << 20
    for i in range(0, len(path), step):
        index[i : i + step] = np.searchsorted(
            unique, _keys(path[i : i + step], level[i : i + step])
        )
    return unique, index


def why_no_octree(path: NDArray[np.int64], level: NDArray[np.int8]) -> str | None:
    """Why cells are no leaves of one octree, in sorted order; None if they are."""
    if len(path) == 0:
        return None
    if level.min() < 0 or level.max() > MAX_LEVEL:
        return f"levels reach from {level.min()} to {level.max()}, not within 0 to {MAX_LEVEL}"
    # The paths a cell of the finest level below this one could have.
    extent = np.left_shift(np.int64(1), 3 * (MAX_LEVEL - level.astype(np.int64)))
    if path.min() < 0 or path.max() >= 1 << PATH_BITS or (path & (extent - 1)).any():
        return "paths have bits outside of their levels"
    if (path[1:] < path[:-1] + extent[:-1]).any():
        return "voxels overlap or are not in order"
    return None


def _keys(path: NDArray[np.int64], level: NDArray[np.int8]) -> NDArray[np.int64]:
    """(N, 8) keys of the corners of each cell."""
    return encode_corners(decode_paths(path))[:, None] + (
        encode_corners(CORNER_OFFSETS) * cell_size(level)[:, None]
    )
