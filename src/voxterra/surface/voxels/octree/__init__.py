"""Octrees of voxels with shared corners: what the rest of the engine imports.

`lattice` has the integer lattice of the cube, `octree` the octree, `query` what can be asked of it,
`refinement` how it changes, `differences` rows for finite differences, `footprint` the size of a
pixel in it.
"""

from voxterra.core.morton import LATTICE, MAX_LEVEL
from voxterra.core.voxels import Cube
from voxterra.surface.voxels.octree.differences import Stencils, stencils
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
