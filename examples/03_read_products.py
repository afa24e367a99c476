"""What a run made, opened with everyday libraries: rasterio, laspy, trimesh.

Run 01_run_demo.py first.    python examples/03_read_products.py [--out runs/demo]
"""

import argparse
import json
from pathlib import Path

import laspy
import numpy as np
import pyproj
import rasterio
import trimesh

REPO = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, help="not used here")
    parser.add_argument("--out", type=Path, default=REPO / "runs" / "demo")
    products = parser.parse_args().out / "products"

    with rasterio.open(products / "dsm.tif") as dsm:
        heights = dsm.read(1, masked=True)
        print(f"dsm.tif: {dsm.width} x {dsm.height} cells of {dsm.res[0]:.3f}")
        print(f"  {pyproj.CRS(dsm.crs.to_wkt()).name}")
        print(f"  heights {heights.min():.2f} to {heights.max():.2f} m")
    with rasterio.open(products / "ortho.tif") as ortho:
        seen = (ortho.read(4) > 0).mean()
        print(f"ortho.tif: {ortho.width} x {ortho.height}, {seen:.0%} of it seen in photos")
    cloud = laspy.read(products / "cloud.laz")
    print(f"cloud.laz: {len(cloud):,} points, {cloud.header.parse_crs().name}")
    mesh = trimesh.load(products / "scene.glb", force="mesh")
    print(f"scene.glb: {len(mesh.faces):,} faces, {np.round(mesh.extents, 1)} m")
    metadata = json.loads((products / "metadata.json").read_text())
    print(f"metadata.json: {', '.join(metadata)}")


if __name__ == "__main__":
    main()
