"""The surface model of the exact synthetic scene against its exact surface model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio

from voxterra.core.geo import GeoFrame
from voxterra.core.surface_source import SurfaceSource
from voxterra.io.geotiff import read_raster
from voxterra.io.ply import read_ply
from voxterra.products.dsm import surface_raster

# The truth's heights take the geoid as constant; over the scene it changes by millimetres.
FRAME = GeoFrame("geo", 9.9158, 51.5413, 198.46, "EPSG:25832")


def test_true_mesh_gives_the_true_dsm(shared_data: Callable[[str], Path]) -> None:
    truth_dir = shared_data("synthetic_uav") / "truth"
    mesh, _ = read_ply(truth_dir / "mesh.ply")
    bands, grid, _, nodata = read_raster(truth_dir / "dsm.tif")
    truth = np.where(bands[0] == nodata, np.nan, bands[0])
    on_map = FRAME.to_map(mesh.vertices.astype(np.float64))
    surface = surface_raster(on_map, mesh.faces, grid, 0.0)
    error = np.abs(surface.heights_m - truth)[np.isfinite(truth)]
    assert np.isfinite(error).all()
    assert np.median(error) < 0.004 and np.quantile(error, 0.99) < 0.01


def test_what_photos_miss_is_filled_and_marked(shared_data: Callable[[str], Path]) -> None:
    truth_dir = shared_data("synthetic_uav") / "truth"
    mesh, properties = read_ply(truth_dir / "mesh.ply")
    bands, grid, _, nodata = read_raster(truth_dir / "dsm.tif")
    truth = np.where(bands[0] == nodata, np.nan, bands[0])
    on_map = FRAME.to_map(mesh.vertices.astype(np.float64))
    seen = mesh.faces[properties["views"] >= 3]
    surface = surface_raster(on_map, seen, grid, 60.0)
    filled = surface.source == SurfaceSource.FILLED
    error = np.abs(surface.heights_m - truth)
    assert filled.sum() > 5000
    # Mostly ground beside buildings: the low side of the rim is right.
    assert np.nanmedian(error[filled]) < 0.1
    assert np.nanmedian(error[surface.source == SurfaceSource.MEASURED]) < 0.004
    assert np.isnan(surface.heights_m[surface.source == SurfaceSource.NONE]).all()
    with rasterio.open(truth_dir / "views.tif") as views:
        wanted = (views.read(1) >= 3) & np.isfinite(truth)
    assert np.isfinite(surface.heights_m[wanted]).mean() > 0.97
