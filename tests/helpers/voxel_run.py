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
from voxterra.core.mesh import TriMesh
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.io.colmap.model import write_colmap
from voxterra.io.depth_store import color_path, depth_path, write_depth, write_image, write_views
from voxterra.pipeline.engine.stage import Stage, StageContext, StageOutput
from voxterra.pipeline.recipe.config import RunConfig
from voxterra.pipeline.recipe.stages import STAGES
from voxterra.pipeline.run import run
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


def block() -> TriMesh:
    """A plane with a step."""
    mesh = plane_mesh(6.0, 60)
    mesh.vertices[:, 2] = np.where(np.abs(mesh.vertices[:, :2]).max(1) < 1.0, 0.8, 0.0)
    return mesh


def georef(ctx: StageContext) -> StageOutput:
    """Cameras, and sparse points on the block: every 17th vertex, seen by all that look at it."""
    seen = views()
    points = block().vertices[::17].astype(np.float64)
    xy = np.stack([view.project(points)[0] for view in seen], axis=1)  # (P, V, 2)
    inside = ((xy >= 0) & (xy < [WIDTH, HEIGHT])).all(2)
    count = inside.sum(1)
    sparse = SparsePoints(
        points[count > 1],
        np.full((int((count > 1).sum()), 3), 128, np.uint8),
        np.full(int((count > 1).sum()), 0.5),
        np.concatenate([[0], np.cumsum(count[count > 1])]).astype(np.int64),
        np.nonzero(inside[count > 1])[1].astype(np.int32),
        xy[count > 1][inside[count > 1]],
    )
    images = tuple(Image(view.name, 1, view.cam_from_world) for view in seen)
    found = Reconstruction({1: seen[0].camera}, images, sparse)
    write_colmap(found, ctx.out / "component_0")
    return StageOutput("cameras and points of a step")


def depth(ctx: StageContext) -> StageOutput:
    """A patterned plane with a step, seen from above."""
    maps = photograph(block(), views(), lambda points: checker(points, 2.0))
    for index in range(len(maps.views)):
        write_depth(maps.load(index), depth_path(ctx.out, index))
        write_image(maps.load_color(index), color_path(ctx.out, index))
    write_views(maps.views, ctx.out)
    return StageOutput("depth maps of a step")


def stages(names: Sequence[str] = ("surface",)) -> tuple[Stage, ...]:
    """The fabricated georef and depth stages, and those of Voxterra that follow it."""
    rest = tuple(stage for stage in STAGES if stage.name in names)
    return (
        Stage("georef", ("source",), ("georef",), georef),
        Stage("depth", ("georef",), ("depth",), depth),
        *rest,
    )


def config(**voxels: object) -> RunConfig:
    """Options of a tiny run with voxels."""
    return replace(RunConfig(), backend="voxels", voxels=replace(TINY, **voxels))  # type: ignore[arg-type]


if __name__ == "__main__":
    long = config(n_iter=int(sys.argv[3]))
    for event in run(Path(sys.argv[1]), Path(sys.argv[2]), long, stages=stages()):
        print(event, flush=True)
