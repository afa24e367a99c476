"""Wavefront OBJ with its material library and texture image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import TriMesh
from voxterra.io.files.atomic import atomic_path
from voxterra.io.metadata import frame_comments

_ROWS_AT_ONCE = 50_000


def write_obj(
    mesh: TriMesh,
    path: Path,
    frame: GeoFrame,
    *,
    jpeg_quality: int = 90,
    accuracy: str | None = None,
) -> tuple[Path, ...]:
    """The mesh in world axes (z up), with `.mtl` and `_texture.jpg` beside it when it is textured.

    Without a texture, vertex colours follow the coordinates (a common extension).
    `accuracy`, a line that says how well coordinates are known, stands in the opening comments.

    Returns:
        The files written, the `.obj` last.

    Raises:
        OutputError: a file cannot be written.
    """
    path, written = Path(path), []
    lines = [f"# {line}" for line in frame_comments(frame, accuracy)]
    if mesh.texture is not None:
        material, image = path.with_suffix(".mtl"), path.with_name(f"{path.stem}_texture.jpg")
        _write_image(mesh.texture.image, image, jpeg_quality)
        _write_text(material, _material(image.name))
        written += [image, material]
        lines += [f"mtllib {material.name}", "usemtl photos"]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="ascii") as file:
        file.write("\n".join([*lines, "o surface"]) + "\n")
        file.writelines(_vertex_lines(mesh))
        if mesh.texture is None:
            file.writelines(_rows("f %d %d %d\n", mesh.faces + 1))
        else:
            corners = np.ascontiguousarray(mesh.texture.uv, np.float32).reshape(-1, 2)
            packed, index = np.unique(corners.view(np.uint64)[:, 0], return_inverse=True)
            file.writelines(_rows("vt %.6f %.6f\n", packed.view(np.float32).reshape(-1, 2)))
            pairs = np.stack([mesh.faces.reshape(-1), index.reshape(-1)], axis=1) + 1
            file.writelines(_rows("f %d/%d %d/%d %d/%d\n", pairs.reshape(-1, 6)))
    return (*written, path)


def _vertex_lines(mesh: TriMesh) -> Iterator[str]:
    if mesh.texture is not None or mesh.colors is None:
        return _rows("v %.8g %.8g %.8g\n", mesh.vertices)
    colored = np.column_stack([mesh.vertices, mesh.colors / 255.0])
    return _rows("v %.8g %.8g %.8g %.4f %.4f %.4f\n", colored)


def _rows(form: str, table: NDArray[Any]) -> Iterator[str]:
    for start in range(0, len(table), _ROWS_AT_ONCE):
        chunk = table[start : start + _ROWS_AT_ONCE]
        yield (form * len(chunk)) % tuple(chunk.reshape(-1).tolist())


def _material(image: str) -> str:
    # illum 0 = colour alone: photographs already hold their light.
    return f"newmtl photos\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 0\nmap_Ka {image}\nmap_Kd {image}\n"


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="ascii")


def _write_image(image: NDArray[np.uint8], path: Path, quality: int) -> None:
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, "JPEG", quality=quality)
