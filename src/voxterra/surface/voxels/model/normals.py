"""Normals of the surface that sparse voxels hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxterra.core.voxels import VoxelModel, cell_size, corner_keys
from voxterra.kernels.voxels.lookup import corner_table, mean_gradients


def normals_at(model: VoxelModel, points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Unit normals of a model's surface: the direction in which the signed distance grows.

    Args:
        model: sparse voxels.
        points: (P, 3) in world, such as the vertices of its mesh.

    Returns:
        (P, 3) float32; 0 where no voxel holds the point or the distance does not change.
    """
    cube = model.cube
    on_lattice = (np.asarray(points, np.float64) - cube.origin) / cube.unit
    gradient = np.empty((len(points), 3), np.float32)
    finest = int(cell_size(model.level.max(initial=0)))
    # Vertices lie within rounding of the edges of their voxels.
    reach = 0.01 * finest
    keys = corner_keys(model.path, model.level)
    table = corner_table(keys, finest, cube.inside)
    mean_gradients(model.path, model.level, keys, table, model.sdf, on_lattice, reach, gradient)
    length = np.linalg.norm(gradient, axis=1, keepdims=True)
    return np.asarray(gradient / np.where(length > 0, length, 1), np.float32)
