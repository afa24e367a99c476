"""Octrees of voxels with shared corners: what the rest of the engine imports.

`octree_lattice` holds the cube and the integers, `octree_build` the octree, `octree_query` what
can be asked of it, `octree_split` how it changes, `octree_stencils` rows for finite differences.
"""

from voxterra.surface.voxels.octree.differences import Stencils, stencils
from voxterra.surface.voxels.octree.lattice import LATTICE, MAX_LEVEL, Cube
from voxterra.surface.voxels.octree.octree import Octree, make_octree, uniform
from voxterra.surface.voxels.octree.query import (
    corner_edge,
    corner_positions,
    interpolate,
    locate,
    voxel_centers,
)
from voxterra.surface.voxels.octree.refinement import keep, split, transfer_corners

__all__ = [
    "LATTICE",
    "MAX_LEVEL",
    "Cube",
    "Octree",
    "Stencils",
    "corner_edge",
    "corner_positions",
    "interpolate",
    "keep",
    "locate",
    "make_octree",
    "split",
    "stencils",
    "transfer_corners",
    "uniform",
    "voxel_centers",
]
