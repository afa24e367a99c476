"""Octrees of voxels with shared corners: what the rest of the engine imports.

`octree_lattice` holds the cube and the integers, `octree_build` the octree, `octree_query` what
can be asked of it.
"""

from voxterra.surface.voxels.octree_build import Octree, make_octree, uniform
from voxterra.surface.voxels.octree_lattice import LATTICE, MAX_LEVEL, Cube, exact_cube

__all__ = [
    "LATTICE",
    "MAX_LEVEL",
    "Cube",
    "Octree",
    "exact_cube",
    "make_octree",
    "uniform",
]
