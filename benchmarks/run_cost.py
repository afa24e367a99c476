"""How well the estimate before a run meets the runs that were measured.

    python benchmarks/run_cost.py

Prints seconds and peak memory of every result of `run_set.py` in `results/`, as estimated from the
number and size of the photos and as measured. Rates: `voxterra/pipeline/costs/rates.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from measure import read_result
from sets import ROWS
from voxterra.pipeline.costs.estimate import Estimate, PhotoSizes, estimate
from voxterra.pipeline.recipe.presets import preset

SIZES = {
    "demo": PhotoSizes(12, 1600, 900),
    "smoke_berlin": PhotoSizes(3, 1600, 1200),
    "uav_brighton_beach": PhotoSizes(18, 1600, 900),
    "uav_brighton_beach_preview": PhotoSizes(18, 1600, 900),
    "synthetic_uav": PhotoSizes(24, 1024, 768),
    "fountain_p11": PhotoSizes(11, 1536, 1024),
    "indoor_rgbd_7scenes": PhotoSizes(40, 640, 480),
}


@dataclass(frozen=True)
class Compared:
    """A run as estimated and as measured.

    Attributes:
        name: of the result file.
        estimated: of the stages that were measured.
        seconds: measured, without loading the program.
        memory_bytes: measured, the largest of the stages.
        cold: kernels were compiled in the run, which the estimate leaves out.
    """

    name: str
    estimated: Estimate
    seconds: float
    memory_bytes: float
    cold: bool


def compared() -> Iterator[Compared]:
    """Every result whose photos' size is known."""
    for name, row in ROWS.items():
        result: dict[str, Any] = read_result(name)
        stages = result.get("stages")
        if not stages or name not in SIZES or row.options:
            continue
        config = replace(preset(row.preset), backend="fusion")
        cores = int(result["machine"]["cores"])
        yield Compared(
            name,
            estimate(SIZES[name], config, cores, tuple(stages)),
            sum(stage["seconds"] for stage in stages.values()),
            max(stage["peak_rss_bytes"] for stage in stages.values()),
            bool(result.get("cold_kernels")),
        )


def main() -> None:
    print(f"{'run':<28} {'seconds: estimated, measured':>30} {'GB: estimated, measured':>26}")
    for run in compared():
        cold = " (compiling)" if run.cold else ""
        print(
            f"{run.name:<28} {run.estimated.seconds:>17.0f} {run.seconds:>12.0f} "
            f"{run.estimated.memory_bytes / 1e9:>15.1f} {run.memory_bytes / 1e9:>10.1f}{cold}"
        )


if __name__ == "__main__":
    main()
