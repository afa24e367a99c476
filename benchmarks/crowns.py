"""How a surface model has large tree crowns, which no reference cloud has.

    python benchmarks/crowns.py runs/demo            # demo or uav_brighton_beach

The crowns are outlined by hand in the photos (`crowns.json`, pixels of the photos as delivered). Of
the rays through an outline, the share that meets the surface model more than 2 m above the ground,
by source, and the share that meets it lower, which is a sheet of ground in the crown. The ground is
the lowest fifth of the model within 12 m.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import rasterio

import voxterra as vt
from voxterra.core.surface_source import SurfaceSource

OUTLINES = Path(__file__).with_name("crowns.json")
TALL_M, AROUND_M, STEP_PX = 2.0, 12.0, 8
HEIGHTS_M = np.arange(-3.0, 25.0, 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a finished run folder")
    run = parser.parse_args().run
    record = json.loads((run / "products" / "metadata.json").read_text())
    frame = vt.GeoFrame.from_dict(record["frame"])
    views = {view.name: view for view in vt.DepthStore(run / "stages" / "depth").views}
    with rasterio.open(run / "products" / "dsm.tif") as dsm:
        heights, source = dsm.read(1, masked=True).filled(np.nan), dsm.read(2).astype(int)
        to_cell = ~dsm.transform
    names = [s.name.lower() for s in SurfaceSource if s]
    print(
        f"{'':14s}  ground  > 2 m  " + "  ".join(f"{n:>8s}" for n in names) + "    lower  nothing"
    )
    for name, outline in json.loads(OUTLINES.read_text()).items():
        if outline["photo"] not in views:
            continue
        view = views[outline["photo"]]
        origin, rays = rays_of(view, np.array(outline["polygon"], np.int32))
        ground, met = met_by(rays, origin, frame, heights, source, to_cell)
        tall = met[:, 0] > TALL_M
        shares = [float((tall & (met[:, 1] == s)).mean()) for s in SurfaceSource if s]
        nothing = np.isnan(met[:, 0]).mean()
        print(f"{name:14s}  {ground:6.1f}  {tall.mean():5.0%}  "
              + "  ".join(f"{share:8.0%}" for share in shares)
              + f"  {1 - tall.mean() - nothing:7.0%}  {nothing:7.0%}")  # fmt: skip


def rays_of(view: vt.PinholeView, polygon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Camera centre (3,) and directions (N, 3) in world of pixels inside an outline."""
    camera = view.camera
    mask = np.zeros((camera.height, camera.width), np.uint8)
    cv2.fillPoly(mask, [polygon], 1)
    row, column = np.nonzero(mask)
    some = (row % STEP_PX == 0) & (column % STEP_PX == 0)
    pixels = np.column_stack([column, row])[some] + 0.5
    lens = pycolmap.Camera(model=camera.model, width=camera.width, height=camera.height,
                           params=list(camera.params))  # fmt: skip
    in_cam = np.column_stack([lens.cam_from_img(pixels), np.ones(len(pixels))])
    return view.center_in_world, in_cam @ view.cam_from_world[:, :3]


def met_by(rays, origin, frame, heights, source, to_cell):
    """Height of the ground [m], and (N, 2) height above it and source of what each ray meets."""
    level = origin[2] + rays[:, 2] * np.nanmedian(-origin[2] / rays[:, 2])  # z = 0 of the world
    center = frame.to_map(
        (origin + rays * ((level - origin[2]) / rays[:, 2])[:, None]).mean(0)[None]
    )[0]
    column, row = (int(v) for v in to_cell * (center[0], center[1]))
    reach = int(AROUND_M * abs(to_cell.a))
    around = heights[max(row - reach, 0) : row + reach, max(column - reach, 0) : column + reach]
    ground = float(np.nanquantile(around, 0.2))
    at_ground = frame.from_map(np.array([[center[0], center[1], ground]]))[0, 2]
    met = np.full((len(rays), 2), np.nan)
    for above in HEIGHTS_M[::-1]:  # from above, until something is met
        scale = (at_ground + above - origin[2]) / rays[:, 2]
        x, y, z = frame.to_map(origin + rays * scale[:, None]).T
        column, row = (np.floor(v).astype(int) for v in to_cell * (x, y))
        inside = (row >= 0) & (row < heights.shape[0]) & (column >= 0) & (column < heights.shape[1])
        row, column = np.where(inside, row, 0), np.where(inside, column, 0)
        hit = inside & np.isnan(met[:, 0]) & (heights[row, column] >= z)
        met[hit] = np.column_stack([np.full(hit.sum(), above), source[row, column][hit]])
    return ground, met


if __name__ == "__main__":
    main()
