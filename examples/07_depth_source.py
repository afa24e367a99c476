"""A depth source of your own: fills what stereo left empty, from the sparse points.

python examples/07_depth_source.py [--photos demo/photos] [--out runs/demo]

Works on a copy of the run that 01_run_demo.py left in `--out`, and makes small depth maps again.
"""

import argparse
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.interpolate import griddata

import voxterra as vt

REPO = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class InterpolatedOptions:
    """Options appear in the command line, in YAML and in the fingerprint by themselves."""

    confidence: float = 0.2
    """Of a filled pixel; at most 0.3 counts."""


class Interpolated:
    """Interpolates the inverse depth of the sparse points that a photo shows."""

    name = "interpolated"
    license = "Apache-2.0"
    metric = False  # the world gives the scale
    needs_gpu = False
    version = 1
    options = InterpolatedOptions

    estimate = None  # it measures nothing ...
    start = None  # ... and proposes nothing that stereo starts from

    def requires(self, options):
        pass  # raise vt.errors.MissingPartError where a package or a GPU is missing

    def fill(self, inputs, maps, options, progress):
        for done, index in enumerate(inputs.todo):
            progress(done / len(inputs.todo), f"filling {done + 1}/{len(inputs.todo)}")
            task = inputs.tasks[index]
            view, points = task.map_view, task.points
            pixels = points.pixels * view.width / task.view.width
            x, y = np.meshgrid(np.arange(view.width) + 0.5, np.arange(view.height) + 0.5)
            inverse = griddata(pixels, 1 / points.depths, (x, y))  # NaN beyond the outermost
            depth = np.nan_to_num(1 / inverse).astype(np.float32)
            normal = np.zeros((*depth.shape, 3), np.float32)  # not known
            yield index, vt.DepthMap(view, depth, normal, options.confidence * (depth > 0))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, default=REPO / "demo" / "photos")
    parser.add_argument("--out", type=Path, default=REPO / "runs" / "demo")
    args = parser.parse_args()

    vt.plugins.DEPTH_SOURCES.register("interpolated", Interpolated)
    out = args.out.with_name(args.out.name + "-filled")
    if args.out.exists() and not out.exists():
        shutil.copytree(args.out, out)

    config = vt.preset("preview")
    config = replace(config, depth=replace(config.depth, fill="interpolated", max_size=160))
    for event in vt.run(args.photos, out, config, until="depth"):
        if isinstance(event, vt.events.StageFinished):
            print(f"{event.stage}: {event.summary} ({event.seconds:.0f} s)")

    maps = vt.DepthStore(out / "stages" / "depth")
    for index, view in enumerate(maps.views):
        depth_map = maps.load(index)
        filled = depth_map.source == maps.source_names.index("interpolated")
        print(f"{view.name}: {filled.sum():,} of {filled.size:,} pixels filled")


if __name__ == "__main__":
    main()
