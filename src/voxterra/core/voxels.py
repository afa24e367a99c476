"""Sparse voxels: an adaptive octree that carries signed distances and colours.

Layout. A cube with `2**outside_level` times the edge of the main bound is the root, level 0; a cell
of level l has the edge cube / 2**l, down to level 16. A cell is a `path` of 48 bits, 3 a level,
level 1 in the top 3; of the 3 bits x, y, z are 4, 2, 1; bits below the cell's own level are 0.
Paths are hence the Morton order, and the interleaved bits of the cell's lower corner on the
lattice of level 16. Corner c = 4x + 2y + z of a cell lies at (x, y, z) of its edges.

A corner is a point of that lattice, 0 to 2**16 on each axis, with the key
`(x << 34) | (y << 17) | z`. Corners are shared between the cells that touch them and are kept
sorted by key; which corners there are follows from path and level alone (`corners`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_LEVEL = 16
"""Finest level."""
LATTICE = 1 << MAX_LEVEL
"""Edge of the root cell on the corner lattice."""
CORNER_OFFSETS = np.array([[c >> 2 & 1, c >> 1 & 1, c & 1] for c in range(8)], np.int64)
"""(8, 3) position of each corner of a cell, in edges of the cell."""
SH_C0 = 0.28209479177387814
"""Spherical harmonic of degree 0: colour = 0.5 + SH_C0 * sh0."""

_COORDINATE = (1 << 17) - 1
# Steps that spread 16 bits to every third of 48: bits to shift by, and those to keep.
_SPREAD = ((16, 0xFF0000FF), (8, 0xF00F00F00F), (4, 0xC30C30C30C3), (2, 0x249249249249))


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
    def cube_edge(self) -> float:
        """Edge of the root cell [world units]."""
        return self.inside_edge * 2.0**self.outside_level

    @property
    def spacing(self) -> float:
        """Spacing of the corner lattice [world units]."""
        return self.cube_edge / LATTICE

    @property
    def origin(self) -> NDArray[np.float64]:
        """(3,) lattice point (0, 0, 0) in world."""
        return np.asarray(self.center, np.float64) - self.cube_edge / 2

    @property
    def edge(self) -> NDArray[np.float32]:
        """(N,) edge of each voxel [world units]."""
        return np.ldexp(np.float32(self.cube_edge), -self.level.astype(np.int32))

    @property
    def lower(self) -> NDArray[np.float64]:
        """(N, 3) lower corner of each voxel in world."""
        return np.asarray(self.origin + decode_paths(self.path) * self.spacing)

    @property
    def bounds(self) -> NDArray[np.float64]:
        """(2, 3) lower and upper corner of the main bound in world."""
        half = self.inside_edge / 2
        return np.stack([np.asarray(self.center) - half, np.asarray(self.center) + half])

    @property
    def sh_degree(self) -> int:
        return round(np.sqrt(self.shs.shape[1] + 1)) - 1

    @property
    def base_color(self) -> NDArray[np.float32]:
        """(N, 3) RGB in [0, 1] without its dependence on the direction."""
        return np.clip(0.5 + np.float32(SH_C0) * self.sh0, 0.0, 1.0).astype(np.float32)

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
        if not 0 <= self.outside_level < MAX_LEVEL or not 0 < self.inside_edge < np.inf:
            return "the cube has no extent"
        if (wrong := why_no_octree(self.path, self.level)) is not None:
            return wrong
        if len(self.sdf) != (m := len(corner_keys(self.path, self.level))):
            return f"{len(self.sdf)} signed distances for {m} corners"
        for name in ("center", "sdf", "sh0", "shs", "sharpness", "background"):
            if not np.isfinite(getattr(self, name)).all():
                return f"{name} holds numbers that are not finite"
        return None


def decode_paths(path: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lattice coordinates (N, 3) of the lower corners of cells (N,)."""
    return np.column_stack([_compact(path >> 2), _compact(path >> 1), _compact(path)])


def encode_paths(lattice: NDArray[np.integer]) -> NDArray[np.int64]:
    """Paths (N,) of the cells of level 16 at lattice coordinates (N, 3), each 0 to 2**16 - 1.

    The path of a cell of a coarser level is that of its lower corner.
    """
    x, y, z = (_spread(lattice[:, a].astype(np.int64)) for a in range(3))
    return (x << 2) | (y << 1) | z


def cell_size(level: NDArray[np.integer]) -> NDArray[np.int64]:
    """Edge of cells of the given levels on the lattice."""
    return np.left_shift(np.int64(1), MAX_LEVEL - level.astype(np.int64))


def encode_corners(lattice: NDArray[np.integer]) -> NDArray[np.int64]:
    """Corner keys of lattice coordinates (..., 3), each 0 to 2**16."""
    c = lattice.astype(np.int64)
    return (c[..., 0] << 34) | (c[..., 1] << 17) | c[..., 2]


def decode_corners(key: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lattice coordinates (..., 3) of corner keys."""
    return np.stack([key >> 34, (key >> 17) & _COORDINATE, key & _COORDINATE], axis=-1)


def corner_keys(path: NDArray[np.int64], level: NDArray[np.int8]) -> NDArray[np.int64]:
    """(M,) keys of all corners of leaves, sorted and each once: the order of `sdf`."""
    keys = _keys(path, level).reshape(-1)
    if len(keys) == 0:
        return keys
    keys.sort()
    return keys[np.concatenate([[True], keys[1:] != keys[:-1]])]


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
    if path.min() < 0 or path.max() >= 1 << 48 or (path & (extent - 1)).any():
        return "paths have bits outside of their levels"
    if (path[1:] < path[:-1] + extent[:-1]).any():
        return "voxels overlap or are not in order"
    return None


def _keys(path: NDArray[np.int64], level: NDArray[np.int8]) -> NDArray[np.int64]:
    """(N, 8) keys of the corners of each cell."""
    # Keys add as coordinates do: no coordinate reaches 2**17.
    return encode_corners(decode_paths(path))[:, None] + (
        encode_corners(CORNER_OFFSETS) * cell_size(level)[:, None]
    )


def _spread(v: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bit k of numbers of 16 bits to bit 3k."""
    for shift, keep in _SPREAD:
        v = (v | (v << shift)) & keep
    return v


def _compact(v: NDArray[np.int64]) -> NDArray[np.int64]:
    """Inverse of `_spread`; other bits are ignored."""
    v = v & _SPREAD[-1][1]
    for (shift, _), keep in zip(_SPREAD[::-1], [k for _, k in _SPREAD[-2::-1]] + [0xFFFF]):
        v = (v | (v >> shift)) & keep
    return v
