"""A product of your own: a hillshade of the surface model, as one class.

python examples/06_exporter.py [--photos demo/photos] [--out runs/demo]

Works on a copy of the run that 01_run_demo.py left in `--out`, and adds the product to it; what
the run has made already stays as it is.
"""

import argparse
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio

import voxterra as vt

REPO = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class HillshadeOptions:
    """Options appear in the command line, in YAML and in the fingerprint by themselves."""

    azimuth_deg: float = 315.0
    """Where the light comes from, clockwise from north."""

    height_deg: float = 45.0
    """Of the light above the horizon."""


class Hillshade:
    """`hillshade.tif`, of what the exporter `dsm` has written."""

    name = "hillshade"
    group = "raster"
    license = "Apache-2.0"
    version = 1
    needs = ("dsm",)  # the names of inputs, such as "mesh" or "cameras", or of other exporters
    options = HillshadeOptions

    def requires(self, options):
        if not 0 < options.height_deg <= 90:
            raise vt.errors.UsageError("The light of a hillshade stands 0 to 90 degrees high.")

    def export(self, inputs, options, out_dir, progress):
        progress(0.0, "hillshade")
        with rasterio.open(inputs.path("dsm.tif")) as dsm:
            heights = dsm.read(1, masked=True).filled(np.nan)
            profile = dsm.profile | {"count": 1, "dtype": "uint8", "nodata": 0}
        to_south, to_east = np.gradient(heights, profile["transform"].a * inputs.frame.map_unit_m())
        turn, up = np.radians(options.azimuth_deg), np.radians(options.height_deg)
        light = np.sin(up) - np.cos(up) * (to_east * np.sin(turn) - to_south * np.cos(turn))
        shade = light / np.sqrt(1 + to_east**2 + to_south**2)
        grey = np.where(np.isnan(shade), 0, np.clip(1 + 254 * shade, 1, 255)).astype(np.uint8)
        path = out_dir / "hillshade.tif"
        with rasterio.open(path, "w", **profile) as file:
            file.write(grey, 1)
        return (vt.plugins.Product(path.name, path, "raster", "Hillshade of the surface model"),)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, default=REPO / "demo" / "photos")
    parser.add_argument("--out", type=Path, default=REPO / "runs" / "demo")
    args = parser.parse_args()

    vt.plugins.EXPORTERS.register("hillshade", Hillshade)
    out = args.out.with_name(args.out.name + "-hillshade")
    if args.out.exists() and not out.exists():
        shutil.copytree(args.out, out)

    config = vt.preset("preview")
    evening = replace(config.plugins, hillshade=HillshadeOptions(azimuth_deg=270, height_deg=20))
    for asked in (config, replace(config, plugins=evening)):
        for event in vt.run(args.photos, out, asked, until="products"):
            if isinstance(event, vt.events.StageFinished):
                print(f"{event.stage}: {event.summary} ({event.seconds:.1f} s)")
        with rasterio.open(out / "products" / "hillshade.tif") as hillshade:
            grey = hillshade.read(1, masked=True).mean()
            print(f"hillshade.tif: {hillshade.width} x {hillshade.height}, mean grey {grey:.0f}")


if __name__ == "__main__":
    main()
