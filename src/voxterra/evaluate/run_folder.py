"""Read the parts of a finished run to score: cameras, mesh, DSM and depth maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from voxterra.core.geo import GeoFrame
from voxterra.core.raster import SurfaceRaster
from voxterra.core.sites import FOLDER_OF_COMPONENTS, Site
from voxterra.core.surface_source import SurfaceSource
from voxterra.errors import FormatError, InputError
from voxterra.io.truth.cameras import PosedCameras, posed_cameras, read_truth_cameras
from voxterra.io.truth.raster import read_heights


def is_run(path: Path) -> bool:
    """True for the output folder of `voxterra run`."""
    return (path / "stages").is_dir()


def read_run_cameras(path: Path) -> PosedCameras:
    """Cameras of the largest component of a run, of a COLMAP model, or of `transforms.json`.

    Raises:
        InputError: no cameras there.
    """
    path = Path(path)
    if not is_run(path):
        return read_truth_cameras(path)
    from voxterra.io.colmap.model import read_colmap

    georef = path / "stages" / "georef"
    if (georef / "component_0").is_dir():
        return posed_cameras(read_colmap(georef / "component_0"), read_run_frame(path))
    model = path / "stages" / "sfm" / "component_0"
    if model.is_dir():
        return posed_cameras(read_colmap(model))
    raise InputError(
        "This run has no cameras.",
        where=str(path),
        next_step="Let it get there: voxterra run --out DIR --until sfm.",
    )


def read_run_frame(path: Path) -> GeoFrame | None:
    """Read the frame of a run's world, or None if it was not georeferenced.

    Raises:
        FormatError: georeference.json is damaged.
    """
    import json

    file = path / "stages" / "georef" / "georeference.json"
    if not file.is_file():
        return None
    try:
        return GeoFrame.from_dict(json.loads(file.read_text(encoding="utf-8"))["frame"])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"The georeference cannot be read: {error}.",
            where=str(file),
            next_step="Do that step again: voxterra georef RUN.",
        ) from error


def find_product(path: Path, *names: str) -> Path:
    """The file itself, or the first of `names` that the run's products hold.

    Raises:
        InputError: none of them is there.
    """
    path = Path(path)
    if path.is_file():
        return path
    for folder in (path / "products", path, *_products_of_component(path)):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    raise InputError(
        f"There is no {' or '.join(names)} here.",
        where=str(path),
        next_step="Give the output folder of a finished run, or the file itself.",
    )


def _products_of_component(path: Path) -> tuple[Path, ...]:
    """Folder of the products of another site of a run."""
    path = path.absolute()
    if path.parent.name != FOLDER_OF_COMPONENTS or not path.name.isdigit():
        return ()
    return (path.parent.parent / "products" / Site((int(path.name) - 1,)).folder,)


def find_depth(path: Path) -> Path:
    """Folder of the depth maps of a run, or the folder itself.

    Raises:
        InputError: no such folder.
    """
    folder = path / "stages" / "depth" if is_run(path) else path
    if not (folder / "views.json").is_file():
        raise InputError(
            "There are no depth maps here.",
            where=str(folder),
            next_step="Give the output folder of a run that got as far as depth, or a folder of "
            "depth maps like its stages/depth (views.json and one .npz a view).",
        )
    return folder


def read_dsm(path: Path) -> tuple[SurfaceRaster, str]:
    """A DSM and its horizontal CRS; where it has no second band, every known cell is measured.

    Raises:
        FormatError: not a north-up raster of square cells.
    """
    from voxterra.io.geotiff import read_raster

    heights, grid, crs = read_heights(path)
    bands = read_raster(path)[0]
    known = np.isfinite(heights)
    source = (
        bands[1].astype(np.uint8) if len(bands) > 1 else known * np.uint8(SurfaceSource.MEASURED)
    )
    return SurfaceRaster(grid, heights.astype(np.float32), source), crs
