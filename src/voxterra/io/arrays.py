"""Meshes and clouds between stages: `.npz` files, exact and quick to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from voxterra.core.mesh import PointCloud, Texture, TriMesh
from voxterra.errors import FormatError
from voxterra.io.files.atomic import atomic_path
from voxterra.io.files.npz import read_npz


def write_mesh(mesh: TriMesh, path: Path) -> None:
    """Write a mesh, its colours, its texture and what its faces rest on to `path` (`.npz`).

    Raises:
        OutputError: it cannot be written.
    """
    arrays = {
        "vertices": mesh.vertices,
        "faces": mesh.faces,
        "colors": mesh.colors,
        "face_source": mesh.face_source,
    }
    if mesh.texture is not None:
        arrays |= {"texture_image": mesh.texture.image, "texture_uv": mesh.texture.uv}
    _write(path, "mesh", arrays)


def read_mesh(path: Path) -> TriMesh:
    """Read a mesh of `write_mesh`.

    Raises:
        FormatError: not such a file.
    """
    arrays = _read(path, "mesh", ("vertices", "faces"))
    texture = None
    if "texture_image" in arrays and "texture_uv" in arrays:
        texture = Texture(arrays["texture_image"], arrays["texture_uv"])
    return TriMesh(
        arrays["vertices"],
        arrays["faces"],
        arrays.get("colors"),
        texture,
        arrays.get("face_source"),
    )


def write_cloud(cloud: PointCloud, path: Path) -> None:
    """Write a point cloud to `path` (`.npz`).

    Raises:
        OutputError: it cannot be written.
    """
    _write(path, "cloud", dict(vars(cloud)))


def read_cloud(path: Path) -> PointCloud:
    """Read a cloud of `write_cloud`.

    Raises:
        FormatError: not such a file.
    """
    arrays = _read(path, "cloud", ("positions_in_world", "colors"))
    return PointCloud(
        arrays["positions_in_world"],
        arrays["colors"],
        arrays.get("normals"),
        arrays.get("confidence"),
    )


def _write(path: Path, kind: str, arrays: dict[str, Any]) -> None:
    present = {name: array for name, array in arrays.items() if array is not None}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, kind=np.array(kind), **present)


def _read(path: Path, kind: str, needed: tuple[str, ...]) -> dict[str, Any]:
    try:
        arrays = read_npz(path)
        if str(arrays.pop("kind")) != kind:
            raise ValueError("another kind of file")
        missing = [name for name in needed if name not in arrays]
        if missing:
            raise ValueError(f"without {missing[0]}")
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(
            f"This is not a readable {kind} of a run ({error}).",
            where=str(path),
            next_step="Do the step that made it again: voxterra run --out DIR --from surface.",
        ) from error
    return arrays
