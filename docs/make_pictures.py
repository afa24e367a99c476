"""Make the pictures of the README from a finished run.

python docs/make_pictures.py runs/demo docs/pictures
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LightSource
from numpy.typing import NDArray

from voxterra.io.arrays import read_mesh
from voxterra.io.depth_store import DepthStore
from voxterra.io.geotiff import read_raster
from voxterra.testing import look_at, render_textured


def render_mesh(run: Path, width: int = 1500, height: int = 900) -> NDArray[np.uint8]:
    """The textured mesh, seen from the south at 35 degrees above the horizon, on white."""
    mesh = read_mesh(run / "stages" / "mesh" / "mesh.npz")
    low, high = np.quantile(mesh.vertices, [0.02, 0.98], axis=0)
    middle, size = (low + high) / 2, float(np.linalg.norm((high - low)[:2]))
    away = size * 1.15 * np.array([0.25, -np.cos(np.radians(38)), np.sin(np.radians(38))])
    view = look_at(
        "view", middle + away, middle, width=2 * width, height=2 * height, focal_px=2.2 * width
    )
    picture, shown = render_textured(mesh, view)
    picture[~shown] = 255
    small = picture.reshape(height, 2, width, 2, 3).mean((1, 3)).astype(np.uint8)
    rows, columns = np.flatnonzero(shown.any(1)) // 2, np.flatnonzero(shown.any(0)) // 2
    return small[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def shaded(heights: NDArray[np.float64], cell_size: float) -> NDArray[np.float64]:
    """Heights as colours with hill shading; white where nothing is known."""
    low, high = np.nanquantile(heights, [0.01, 0.99])
    picture = LightSource(315, 45).shade(
        np.nan_to_num(heights, nan=float(low)),
        plt.get_cmap("terrain"),
        dx=cell_size,
        dy=cell_size,
        vmin=float(low - 0.3 * (high - low)),
        vmax=float(high),
        blend_mode="soft",
    )
    picture[np.isnan(heights)] = 1
    return picture


def main(run: Path, out: Path) -> None:
    """Draw photos, mesh, orthophoto, surface model and one depth map of `run` on one sheet."""
    out.mkdir(parents=True, exist_ok=True)
    store = DepthStore(run / "stages" / "depth")
    ortho, _, _, _ = read_raster(run / "products" / "ortho.tif")
    dsm, grid, _, nodata = read_raster(run / "products" / "dsm.tif")
    heights = np.where(dsm[0] == nodata, np.nan, dsm[0])
    depth = store.load(len(store.views) // 2).depth

    figure = plt.figure(figsize=(14, 11), facecolor="white", layout="constrained")
    rows = figure.subfigures(3, 1, height_ratios=[1, 4.2, 3.6])
    some = np.linspace(0, len(store.views) - 1, 6).astype(int)
    for axis, index in zip(rows[0].subplots(1, 6), some):
        axis.imshow(store.load_color(int(index)))
    rows[1].subplots().imshow(render_mesh(run))
    pictures = {
        "true orthophoto": np.moveaxis(ortho[:4], 0, -1).astype(np.uint8),
        "surface model": shaded(heights, grid.cell_size),
        "depth of one photo": np.where(depth > 0, depth, np.nan),
    }
    for axis, (title, picture) in zip(rows[2].subplots(1, 3), pictures.items()):
        axis.imshow(picture, cmap="viridis_r")
        axis.set_title(title, fontsize=13)
    for row in rows:
        for axis in row.axes:
            axis.axis("off")
    figure.savefig(out / "demo.jpg", dpi=80, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
