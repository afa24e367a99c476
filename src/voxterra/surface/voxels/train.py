"""Train sparse voxels with signed distances on photos (SVRecon, arXiv 2511.17364).

From a first surface (fused depth, sparse points, masks or a sphere), each iteration renders one
photo's view, compares, and moves distances and colours by their gradients; every so often voxels
far from the surface are dropped and those that it crosses are split. docs/voxels.md tells more.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from voxterra.core.progress import Progress, no_progress, part
from voxterra.core.voxels import VoxelModel
from voxterra.errors import InputError
from voxterra.io.atomic import atomic_path
from voxterra.surface.voxels import report
from voxterra.surface.voxels.adapt import adapt
from voxterra.surface.voxels.bounds import main_bound
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.device import choose_device, fitting_voxels
from voxterra.surface.voxels.neighbor_terms import make_companions, neighbor_terms
from voxterra.surface.voxels.objective import Objective
from voxterra.surface.voxels.render import Voxels, render_view, to_model
from voxterra.surface.voxels.scene import Scene
from voxterra.surface.voxels.schedule import Schedule
from voxterra.surface.voxels.start import start
from voxterra.surface.voxels.state import TrainState, load_state, save_state
from voxterra.surface.voxels.step import Tables, make_tables, require_finite, step
from voxterra.surface.voxels.targets import Target, make_targets

logger = logging.getLogger(__name__)

TOLD_EVERY = 100
"""Iterations between readings of the statistics; reading makes a GPU wait."""
START_SHARE = 0.1
"""Share of the progress bar for the start."""


def train(
    scene: Scene,
    config: VoxelConfig = VoxelConfig(),
    *,
    out: Path | None = None,
    resume: bool = False,
    progress: Progress = no_progress,
    started: Callable[[Voxels], None] | None = None,
) -> VoxelModel:
    """Train a voxel model of the scene.

    Args:
        scene: photos with poses, and what else is known.
        config: options.
        out: folder for checkpoints, pictures and statistics; None: nothing is written.
        resume: go on from the last checkpoint in `out`, if there is one.
        progress: told the iteration, PSNR and voxels.
        started: called with the model before the first iteration.

    Raises:
        InputError: too few views, or unusable priors or masks.
        UsageError: the bound misses the scene, or the device is not there.
        ReconstructionError: nothing to start from, or the training diverged.
    """
    device = choose_device(config)
    if sum(not view.held_out for view in scene.views) < 2:
        raise InputError(
            "Training needs at least two views.",
            where=scene.source,
            next_step="Add photos, or hold fewer out (--test_every).",
        )
    checkpoint = None if out is None else out / "checkpoints" / "last.pt"
    if resume and checkpoint is not None and checkpoint.exists():
        state = load_state(checkpoint, device)
        train_targets, test_targets = make_targets(scene, state.voxels.octree.cube, config, device)
        max_voxels = fitting_voxels(config, device)
    else:
        cube = main_bound(scene, config)
        train_targets, test_targets = make_targets(scene, cube, config, device)
        max_voxels = fitting_voxels(config, device)
        state = start(
            scene, cube, train_targets, config, device, max_voxels,
            part(progress, 0.0, START_SHARE),
        )  # fmt: skip
    if started is not None:
        started(state.voxels)
    _iterate(state, train_targets, test_targets, config, max_voxels, out, progress)
    model = to_model(state.voxels)
    metadata = {"source": scene.source, "iterations": state.iteration}
    return replace(model, metadata=metadata)


def _iterate(
    state: TrainState,
    targets: Sequence[Target],
    held_out: Sequence[Target],
    config: VoxelConfig,
    max_voxels: int,
    out: Path | None,
    progress: Progress,
) -> None:
    schedule, tables = Schedule(config), make_tables(state.voxels)
    companions = make_companions(targets, state.voxels.octree.cube, config)
    begun, first = time.monotonic(), state.iteration
    while state.iteration < config.n_iter:
        target = targets[state.next_view(len(targets))]
        extra = neighbor_terms(state, target, companions, config)
        objective = step(state, target, tables, config, extra)
        at = state.iteration
        if at % TOLD_EVERY == 0 or at == config.n_iter:
            _tell(state, objective, target, config, begun, first, progress)
        if schedule.adapts(at) and at < config.n_iter:
            tables = _adapt(state, targets, config, max_voxels)
        if out is not None:
            _write(state, targets, held_out, config, out)


def _tell(
    state: TrainState,
    objective: Objective,
    target: Target,
    config: VoxelConfig,
    begun: float,
    first: int,
    progress: Progress,
) -> None:
    """Read the statistics, check them, add them to the curves, show them."""
    require_finite(state, objective, target.view.name)
    at = state.iteration
    value = float(objective.psnr)
    state.curves.setdefault("PSNR [dB]", []).append((at, value))
    state.curves.setdefault("voxels", []).append((at, float(len(state.voxels))))
    for name, term in objective.terms.items():
        state.curves.setdefault(name, []).append((at, float(term)))
    recent = [v for _, v in state.curves["PSNR [dB]"][-10:]]
    left = (time.monotonic() - begun) / max(1, at - first) * (config.n_iter - at)
    progress(
        START_SHARE + (1 - START_SHARE) * at / config.n_iter,
        f"{at}/{config.n_iter}, PSNR {np.mean(recent):.1f} dB, {len(state.voxels):,} voxels, "
        f"{left:.0f} s left",
    )


def _adapt(
    state: TrainState, targets: Sequence[Target], config: VoxelConfig, max_voxels: int
) -> Tables:
    kernels, views = [t.kernel for t in targets], [t.view for t in targets]
    done = adapt(state, kernels, views, config, max_voxels)
    logger.info(
        "iteration %d: %d voxels, %d pruned, %d split, now %d",
        state.iteration, done.before, done.pruned, done.split, done.after,
    )  # fmt: skip
    return make_tables(state.voxels)


def _write(
    state: TrainState,
    targets: Sequence[Target],
    held_out: Sequence[Target],
    config: VoxelConfig,
    out: Path,
) -> None:
    """Checkpoint, pictures and statistics, where they are due."""
    at, last = state.iteration, state.iteration == config.n_iter
    if last or (config.view_every and at % config.view_every == 0):
        target = (held_out or targets)[0]
        with torch.no_grad():
            rendered = render_view(state.voxels, target.view)
        report.write_png(
            report.panel(rendered, target.color), _folder(out, "pg_view") / f"{at:06d}.png"
        )
        report.draw_curves(state.curves, _folder(out, "test_stat") / "curves.png")
        write_json(state.curves, _folder(out, "test_stat") / "train.json")
    if last or (config.save_every and at % config.save_every == 0):
        save_state(state, _folder(out, "checkpoints") / "last.pt")


def _folder(out: Path, name: str) -> Path:
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_json(data: object, path: Path) -> None:
    """Write JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
