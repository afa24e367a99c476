"""Runs of the surface with voxels, from depth maps of a small scene instead of photos.

As a program (`python voxel_run.py SOURCE OUT`) it does such a run, so that a test can kill it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from voxterra.core.camera import PinholeView
from voxterra.io.depth_store import color_path, depth_path, write_depth, write_image, write_views
from voxterra.pipeline.config import RunConfig
from voxterra.pipeline.run import run
from voxterra.pipeline.stage import Stage, StageContext, StageOutput
from voxterra.pipeline.stages import STAGES
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.testing import checker, look_at, photograph, plane_mesh

WIDTH, HEIGHT = 96, 72
TINY = VoxelConfig(
    n_iter=40, ss=1.0, sh_degree=0, outside_level=2, max_level=5, max_voxels=20_000, save_every=10,
    view_every=0, device="cpu",
)  # fmt: skip


def views() -> list[PinholeView]:
    places = [(0, 0), (-2, -2), (2, -2), (2, 2), (-2, 2)]
    return [
        look_at(f"{i}.jpg", (x, y, 7), (0.3 * x, 0.3 * y, 0), width=WIDTH, height=HEIGHT,
                focal_px=90.0)
        for i, (x, y) in enumerate(places)
    ]  # fmt: skip


def depth(ctx: StageContext) -> StageOutput:
    """A patterned plane with a step, seen from above."""
    mesh = plane_mesh(6.0, 60)
    mesh.vertices[:, 2] = np.where(np.abs(mesh.vertices[:, :2]).max(1) < 1.0, 0.8, 0.0)
    maps = photograph(mesh, views(), lambda points: checker(points, 2.0))
    for index in range(len(maps.views)):
        write_depth(maps.load(index), depth_path(ctx.out, index))
        write_image(maps.load_color(index), color_path(ctx.out, index))
    write_views(maps.views, ctx.out)
    return StageOutput("depth maps of a step")


def stages(names: Sequence[str] = ("surface",)) -> tuple[Stage, ...]:
    """The fabricated depth stage, and those of Voxterra that follow it."""
    rest = tuple(stage for stage in STAGES if stage.name in names)
    return (Stage("depth", ("source",), ("depth",), depth), *rest)


def config(**voxels: object) -> RunConfig:
    """Options of a tiny run with voxels."""
    return replace(RunConfig(), backend="voxels", voxels=replace(TINY, **voxels))  # type: ignore[arg-type]


if __name__ == "__main__":
    long = config(n_iter=int(sys.argv[3]))
    for event in run(Path(sys.argv[1]), Path(sys.argv[2]), long, stages=stages()):
        print(event, flush=True)
