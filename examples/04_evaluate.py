"""Scores in Python: a surface model against a cloud, cameras against cameras.

Real accuracy needs real truth (`voxterra eval --help`). What needs none: a run's DSM, drawn from
its mesh, against its own point cloud; and cameras against their export for Nerfstudio, which must
be the same cameras.

Run 01_run_demo.py first.    python examples/04_evaluate.py [--out runs/demo]
"""

import argparse
import tempfile
from pathlib import Path

from voxterra.evaluate.against_truth import evaluate_poses, evaluate_raster
from voxterra.io.colmap.model import read_colmap
from voxterra.io.nerf import write_transforms

REPO = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, help="not used here")
    parser.add_argument("--out", type=Path, default=REPO / "runs" / "demo")
    run = parser.parse_args().out

    raster = evaluate_raster(run, run / "products" / "cloud.laz", "none")
    score = raster.to_dict()
    print(f"DSM against the cloud: median |d| {score['median_abs_m']:.3f} m")
    print(f"  95 % of {score['scored_cells']:,} cells within {score['abs_p95_m']:.2f} m")

    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "transforms.json"
        model = run / "stages" / "georef" / "component_0"
        write_transforms(read_colmap(model), exported)
        poses = evaluate_poses(model, exported, "none").to_dict()
    print(f"{poses['registered']} cameras survive the export within {poses['center_max']:.1e} m")
    assert poses["center_max"] < 1e-6


if __name__ == "__main__":
    main()
