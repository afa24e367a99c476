"""What a run made, opened with the libraries that came with Voxterra: rasterio, laspy, pyproj.

Run 01_run_demo.py first.    python examples/03_read_products.py [--out runs/demo]
"""

import argparse
import json
import struct
from pathlib import Path

import laspy
import pyproj
import rasterio

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
        print(f"  heights {heights.min():.2f} to {heights.max():.2f}")
    with rasterio.open(products / "ortho.tif") as ortho:
        seen = (ortho.read(4) > 0).mean()
        print(f"ortho.tif: {ortho.width} x {ortho.height}, {seen:.0%} of it seen in photos")
    cloud = laspy.read(products / "cloud.laz")
    print(f"cloud.laz: {len(cloud):,} points, {cloud.header.parse_crs().name}")
    gltf = read_gltf(products / "scene.glb")
    parts = [part for mesh in gltf["meshes"] for part in mesh["primitives"]]
    faces = sum(gltf["accessors"][part["indices"]]["count"] // 3 for part in parts)
    print(f"scene.glb: {faces:,} faces, {gltf['asset']['extras']['voxterra']['description']}")
    metadata = json.loads((products / "metadata.json").read_text())
    print(f"metadata.json: {', '.join(metadata)}")


def read_gltf(path: Path) -> dict:
    """The JSON of a GLB file; trimesh, pygltflib and Blender read the mesh itself too."""
    data = path.read_bytes()
    length, kind = struct.unpack_from("<I4s", data, 12)  # after the header of 12 bytes
    assert kind == b"JSON", kind
    return json.loads(data[20 : 20 + length])


if __name__ == "__main__":
    main()
