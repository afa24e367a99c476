"""A surface backend of your own: a height field of the sparse points, as one class.

python examples/05_backend.py [--photos demo/photos] [--out runs/demo]

Works on a copy of the run that 01_run_demo.py left in `--out`, and makes its surface again.
"""

import argparse
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.interpolate import griddata
from scipy.spatial import Delaunay

import voxterra as vt

REPO = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class HeightFieldOptions:
    """Options appear in the command line, in YAML and in the fingerprint by themselves."""

    cells: int = 60
    """Cells along the longer side."""


class HeightField:
    """Interpolates the sparse points from above."""

    name = "height-field"
    license = "Apache-2.0"
    needs = ()
    version = 1
    options = HeightFieldOptions

    def preset(self, name, machine):
        return HeightFieldOptions(cells={"preview": 40, "high": 200}.get(name, 60))

    def check(self, options):
        if options.cells < 2:
            raise vt.errors.UsageError("A height field needs 2 cells or more.")

    def requires(self, options):
        pass  # raise vt.errors.MissingPartError where a package or a GPU is missing

    def estimate(self, work, options):
        return vt.plugins.Cost(seconds=1.0, memory_bytes=0.0)

    def run(self, inputs, options, progress):
        progress(0.0, "interpolating")  # call it often: it stops the run when the user asks for it
        points = np.vstack([c.points.positions_in_world for c in inputs.components()])
        low, high = np.percentile(points, [2, 98], axis=0)
        step = (high - low)[:2].max() / options.cells
        x, y = np.meshgrid(*(np.arange(low[i], high[i], step) for i in (0, 1)))
        z = griddata(points[:, :2], points[:, 2], (x, y))
        vertices = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
        vertices = vertices[np.isfinite(vertices[:, 2])].astype(np.float32)
        faces = Delaunay(vertices[:, :2]).simplices.astype(np.int32)
        mesh = vt.TriMesh(vertices, faces, np.full((len(vertices), 3), 128, np.uint8))
        made_by = f"height field of {len(points):,} sparse points"
        return vt.plugins.SurfaceResult(mesh, made_by=made_by, facts={"points": len(points)})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, default=REPO / "demo" / "photos")
    parser.add_argument("--out", type=Path, default=REPO / "runs" / "demo")
    args = parser.parse_args()

    vt.plugins.BACKENDS.register("height-field", HeightField)
    out = args.out.with_name(args.out.name + "-height-field")
    if args.out.exists() and not out.exists():
        shutil.copytree(args.out, out)

    config = replace(vt.preset("preview"), backend="height-field")
    for event in vt.run(args.photos, out, config, until="mesh"):
        if isinstance(event, vt.events.StageFinished):
            print(f"{event.stage}: {event.summary} ({event.seconds:.0f} s)")


if __name__ == "__main__":
    main()
