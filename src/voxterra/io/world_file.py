"""A picture with a world file: six numbers beside it that say where its pixels lie."""

from __future__ import annotations

from pathlib import Path

from voxterra.core.raster import ColorRaster
from voxterra.io.files.atomic import atomic_path


def write_png(raster: ColorRaster, path: Path) -> Path:
    """A PNG, red, green, blue, alpha, and its world file (`.pgw`), whose path is returned.

    Format of the world file: pixel width, two rotations, minus the pixel height, and x and y of the
    centre of the upper-left pixel, a line each, in units of the raster's grid.

    Raises:
        OutputError: a file cannot be written.
    """
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(raster.rgba).save(temporary, format="PNG")
    grid, beside = raster.grid, path.with_suffix(".pgw")
    x, y = grid.left + grid.cell_size / 2, grid.top - grid.cell_size / 2
    numbers = (grid.cell_size, 0.0, 0.0, -grid.cell_size, x, y)
    with atomic_path(beside) as temporary:
        temporary.write_text("".join(f"{number:.10f}\n" for number in numbers), encoding="ascii")
    return beside
