"""Score what the step `surface` of runs made, before it is simplified, against a truth.

    python benchmarks/surface_scores.py TRUTH RUN [RUN ...]

TRUTH is the folder `truth` of a synthetic set. One JSON line a run: heights from above (NMAD,
median difference, filled cells) and F-scores, laid over the truth by the cameras. Of several runs
also the heights of the cells that all of them fill: a surface with more of the difficult places is
not worse for it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.evaluate.against_truth import _alignment, _true_cameras
from voxterra.evaluate.align import truth_from_world
from voxterra.evaluate.raster import drape, score_heights
from voxterra.evaluate.run_folder import read_run_cameras, read_run_frame
from voxterra.evaluate.surface import score_surface
from voxterra.io.arrays import read_mesh
from voxterra.io.truth.raster import read_truth_raster
from voxterra.io.truth.surface import read_truth_surface

SAMPLES = 60_000


def heights_and_scores(
    run: Path, truth: Path, reference: Any
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    mesh, true = read_mesh(run / "stages/surface/mesh.npz"), _true_cameras(truth, None)
    assert true.frame is not None and read_run_frame(run) is not None
    transform = truth_from_world(read_run_cameras(run), true, "cameras")
    heights, _ = drape(mesh, transform, true.frame, reference.grid)
    align = _alignment(run, truth, "cameras", None)
    surface = read_truth_surface(truth, min_views=3)
    figures = score_surface(mesh, surface, align, align="cameras", samples=SAMPLES).to_dict()
    out = {f"F@{t['distance']:g}": round(t["f_score"], 4) for t in figures["thresholds"]}
    return heights, {**out, "chamfer": round(figures["chamfer"], 4), "faces": len(mesh.faces)}


def height_figures(heights: NDArray[np.float64], reference: Any) -> dict[str, float]:
    score = score_heights(heights, reference, align="cameras", remove_offset=False).to_dict()
    names = ("filled", "nmad_m", "median_m", "median_abs_m", "rmse_m", "abs_p90_m")
    return {name: round(score[name], 4) for name in names}


def main() -> None:
    truth, runs = Path(sys.argv[1]), [Path(arg) for arg in sys.argv[2:]]
    reference = read_truth_raster(truth, min_views=3)
    drawn = []
    for run in runs:
        heights, figures = heights_and_scores(run, truth, reference)
        drawn.append(heights)
        print(json.dumps({"run": run.name, **height_figures(heights, reference), **figures}))
    if len(runs) > 1:
        everywhere = np.all([np.isfinite(heights) for heights in drawn], axis=0)
        for run, heights in zip(runs, drawn):
            common = height_figures(np.where(everywhere, heights, np.nan), reference)
            print(json.dumps({"run": run.name, "cells": "that all fill", **common}))


if __name__ == "__main__":
    main()
