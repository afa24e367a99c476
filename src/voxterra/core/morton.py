"""Codes of an octree's cells and corners: plain shifts and masks for NumPy, torch and Numba.

The root cube is divided 2**16 times along each axis at most: the lattice. A cell of level l is a
`path` of 48 bits, 3 a level, level 1 in the top 3; of the 3 bits x, y, z are 4, 2, 1; bits below
the cell's own level are 0. So paths are the Morton order, and the interleaved bits of the cell's
lower corner on the lattice. A corner is a point of the lattice, 0 to 2**16 on each axis, with the
key `(x << 34) | (y << 17) | z`.

All values are int64: NumPy arrays, torch tensors, or Numba's scalars (`kernels.voxels.lookup`
compiles `spread` and `compact`).
"""

from __future__ import annotations

from typing import Any

MAX_LEVEL = 16
"""Finest level; the root has level 0."""
LATTICE = 1 << MAX_LEVEL
"""Finest cells along a side of the root cube."""
PATH_BITS = 3 * MAX_LEVEL
KEY_BITS = MAX_LEVEL + 1
"""Bits of a coordinate in a corner's key."""
KEY_MASK = (1 << KEY_BITS) - 1


def spread(v: Any) -> Any:
    """Bit k of numbers of 16 bits to bit 3k."""
    v = (v | (v << 16)) & 0xFF0000FF
    v = (v | (v << 8)) & 0xF00F00F00F
    v = (v | (v << 4)) & 0xC30C30C30C3
    return (v | (v << 2)) & 0x249249249249


def compact(v: Any) -> Any:
    """Inverse of `spread`; other bits are ignored."""
    v = v & 0x249249249249
    v = (v | (v >> 2)) & 0xC30C30C30C3
    v = (v | (v >> 4)) & 0xF00F00F00F
    v = (v | (v >> 8)) & 0xFF0000FF
    return (v | (v >> 16)) & 0xFFFF


def path_of(x: Any, y: Any, z: Any) -> Any:
    """Path (level 16) of the finest cells at lattice coordinates 0 to 2**16 - 1.

    The path of a cell of a coarser level is that of its lower corner.
    """
    return (spread(x) << 2) | (spread(y) << 1) | spread(z)


def lattice_of(path: Any) -> tuple[Any, Any, Any]:
    """Lattice coordinates (x, y, z) of the lower corners of cells."""
    return compact(path >> 2), compact(path >> 1), compact(path)


def key_of(x: Any, y: Any, z: Any) -> Any:
    """Keys of corners at lattice coordinates 0 to 2**16.

    Keys add as coordinates do, as long as the sums are lattice coordinates too.
    """
    return (x << (2 * KEY_BITS)) | (y << KEY_BITS) | z


def coordinates_of(key: Any) -> tuple[Any, Any, Any]:
    """Lattice coordinates (x, y, z) of corners."""
    return key >> (2 * KEY_BITS), (key >> KEY_BITS) & KEY_MASK, key & KEY_MASK
