"""Triangle meshes and point clouds in world coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Texture:
    """A texture atlas.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        uv: (F, 3, 2) float32 texture coordinates of each face's corners; u right, v *up*, both in
            [0, 1] (OBJ's convention; glTF's v points down, which `io.gltf` accounts for).
    """

    image: NDArray[np.uint8]
    uv: NDArray[np.float32]


@dataclass(frozen=True)
class TriMesh:
    """A triangle mesh.

    Attributes:
        vertices: (V, 3) float32 in world [m where the frame is metric].
        faces: (F, 3) int32, counter-clockwise seen from outside.
        colors: (V, 3) uint8 RGB or None.
        texture: atlas with per-corner coordinates or None.
        face_source: (F,) uint8 `core.surface_source.SurfaceSource` of each face; None: all are
            measured.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    colors: NDArray[np.uint8] | None = None
    texture: Texture | None = None
    face_source: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class PointCloud:
    """A coloured point cloud.

    Attributes:
        positions_in_world: (N, 3) float32 or float64.
        colors: (N, 3) uint8 RGB.
        normals: (N, 3) float32 unit, or None.
        confidence: (N,) float32 in [0, 1], or None.
    """

    positions_in_world: NDArray[np.floating]
    colors: NDArray[np.uint8]
    normals: NDArray[np.float32] | None = None
    confidence: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.positions_in_world)
