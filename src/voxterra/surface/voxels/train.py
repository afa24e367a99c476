"""Train sparse voxels with signed distances on photos (SVRecon, arXiv 2511.17364).

From a first surface (fused depth, sparse points, masks or a sphere), each iteration renders one
photo's view, compares, and moves distances and colours by their gradients; every so often voxels
far from the surface are dropped and those that it crosses are split. docs/voxels.md says more.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from voxterra.core.progress import Progress, no_progress, part
from voxterra.core.voxels import VoxelModel
from voxterra.errors import Cancelled
from voxterra.io.files.json_file import write_json
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.device import fitting_voxels, require_devices
from voxterra.surface.voxels.model import pictures
from voxterra.surface.voxels.model.render import Voxels, render_view, to_model
from voxterra.surface.voxels.octree import Cube
from voxterra.surface.voxels.scene.scene import Scene, usable_scene
from voxterra.surface.voxels.start.bounds import main_bound
from voxterra.surface.voxels.start.first_state import start
from voxterra.surface.voxels.training.adapt import adapt
from voxterra.surface.voxels.training.free_space import FreeSpace, clear_free_space
from voxterra.surface.voxels.training.neighbor_terms import make_companions, neighbor_terms
from voxterra.surface.voxels.training.objective import Objective
from voxterra.surface.voxels.training.out_of_memory import (
    Full,
    Resources,
    adapted,
    free,
    reason_of,
    too_full,
    with_fewer_voxels,
    within_memory,
)
from voxterra.surface.voxels.training.schedule import Schedule
from voxterra.surface.voxels.training.state import TrainState, checkpoint_of, resumed, save_state
from voxterra.surface.voxels.training.step import make_tables, require_finite, step
from voxterra.surface.voxels.training.targets import Target, make_targets, pixel_bytes

logger = logging.getLogger(__name__)

SAVE_SECONDS = 60.0
"""A checkpoint is written when the last is this old, whatever `save_every`."""
CHECKED_EVERY = 100
"""Iterations between readings of the statistics; reading makes a GPU wait."""
TIMED = 20
"""Iterations whose time gives the time left."""
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
        resume: from the last checkpoint in `out`, if there is one.
        progress: called with the iteration, PSNR and voxels.
        started: called with the model before the first iteration.

    Raises:
        TooFewPhotosError: fewer than two views to train on.
        InputError: unusable cameras, priors or masks, or a checkpoint that is damaged or of other
            photos.
        UsageError: the bound misses the scene, the device is not there, or an option that cannot
            change in a resumed training did.
        ReconstructionError: nothing to start from, the training diverged, or memory is too small.
    """
    device = require_devices(config)
    scene = usable_scene(scene)
    try:
        state = None if out is None or not resume else resumed(scene, config, out, device)
        known = 0 if state is None else len(state.voxels)
        if resume:
            place = "at the start" if state is None else f"at iteration {state.iteration}"
            progress(START_SHARE if state else 0.0, f"resumes {place}")
        cube = main_bound(scene, config) if state is None else state.voxels.octree.cube
        targets, held_out = make_targets(scene, cube, config, device)
        companions = make_companions(targets, cube, config)
        shown = held_out[:1]  # in the pictures of the progress; the others would fill memory
        del held_out
        max_voxels = fitting_voxels(config, device, known, pixel_bytes(targets))
        if state is None:
            state, max_voxels = _started(scene, cube, targets, config, device, max_voxels, progress)
        source = scene.source
        resources = Resources(targets, companions, max_voxels)
        # What lies on a GPU now need not lie here too, and `resources` may let go of what it has.
        del scene, targets, companions
        if started is not None:
            started(state.voxels)
        _iterate(state, resources, shown, config, out, progress)
        _clear(state, resources, config)
    except Full as error:
        raise too_full("train", config.max_voxels, reason_of(error), device) from error
    model = to_model(state.voxels)
    metadata = {"source": source, "iterations": state.iteration}
    return replace(model, metadata=metadata)


def _started(
    scene: Scene,
    cube: Cube,
    targets: tuple[Target, ...],
    config: VoxelConfig,
    device: torch.device,
    max_voxels: int,
    progress: Progress,
) -> tuple[TrainState, int]:
    """The first state, and how many voxels there may be, of which memory may have less."""
    share = part(progress, 0.0, START_SHARE)

    def begin(most: int) -> TrainState:
        return start(scene, cube, targets, config, device, most, share)

    state, max_voxels = with_fewer_voxels(begin, max_voxels, device)
    state.views = tuple(target.view.name for target in targets)
    return state, max_voxels


def _iterate(
    state: TrainState,
    resources: Resources,
    shown: Sequence[Target],
    config: VoxelConfig,
    out: Path | None,
    progress: Progress,
) -> None:
    schedule, cube = Schedule(config), state.voxels.octree.cube
    saved, read_every = time.monotonic(), max(1, min(CHECKED_EVERY, config.n_iter // 20))
    # The latest iterations show how long one takes: the first ones compile kernels, and splits make
    # all later ones longer.
    times = deque([saved], maxlen=1 + TIMED)
    while state.iteration < config.n_iter:
        chosen = state.next_view(len(resources.targets))
        once = partial(_once, state, resources, chosen, config)
        objective = within_memory(once, resources, cube, config, f"iteration {state.iteration}")
        at, last = state.iteration, state.iteration == config.n_iter
        due = time.monotonic() - saved > SAVE_SECONDS
        saves = last or due or bool(config.save_every and at % config.save_every == 0)
        if at % CHECKED_EVERY == 0 or saves:
            require_finite(state, objective, resources.targets[chosen].view.name)
        if at % read_every == 0 or last:
            _read(state, objective)
        if schedule.adapts(at) and not last:
            _adapt(state, resources, config)
        if out is not None:
            _write(state, resources.targets, shown, config, out, saves)
            saved = time.monotonic() if saves else saved
        try:
            times.append(time.monotonic())
            _report(state, config, (times[-1] - times[0]) / (len(times) - 1), progress)
        except Cancelled:
            if out is not None and not saves:
                require_finite(state, objective, resources.targets[chosen].view.name)
                save_state(state, checkpoint_of(out))
            raise


def _once(state: TrainState, resources: Resources, chosen: int, config: VoxelConfig) -> Objective:
    if resources.tables is None:
        resources.tables = make_tables(state.voxels)
    target = resources.targets[chosen]
    extra = neighbor_terms(state, target, resources.companions, config)
    return step(state, target, resources.tables, config, extra, resources.losses)


def _clear(state: TrainState, resources: Resources, config: VoxelConfig) -> None:
    """Take false surfaces out of the finished model; what only training needs goes first."""
    resources.tables = None
    resources.losses.drop()
    state.moments.clear()
    cube = state.voxels.octree.cube

    def clear() -> FreeSpace:
        return clear_free_space(state.voxels, [target.kernel for target in resources.targets])

    within_memory(clear, resources, cube, config, "the end of the training")


def _read(state: TrainState, objective: Objective) -> None:
    """Add the statistics to the curves."""
    at = state.iteration
    state.curves.setdefault("PSNR [dB]", []).append((at, float(objective.psnr)))
    state.curves.setdefault("voxels", []).append((at, float(len(state.voxels))))
    if state.sharpness is not None:
        factor = float(state.sharpness.log.exp())
        state.curves.setdefault("learned factor on the sharpness", []).append((at, factor))
    for name, term in objective.terms.items():
        state.curves.setdefault(name, []).append((at, float(term)))


def _report(state: TrainState, config: VoxelConfig, seconds: float, progress: Progress) -> None:
    """Show how far the training is; `seconds` for an iteration. Reads nothing from a GPU."""
    at, recent = state.iteration, [v for _, v in state.curves.get("PSNR [dB]", [])[-10:]]
    psnr = f"PSNR {np.mean(recent):.1f} dB, " if recent else ""
    progress(
        START_SHARE + (1 - START_SHARE) * at / config.n_iter,
        f"{at}/{config.n_iter}, {psnr}{len(state.voxels):,} voxels, "
        f"{seconds * (config.n_iter - at):.0f} s left",
    )


def _adapt(state: TrainState, resources: Resources, config: VoxelConfig) -> None:
    resources.tables = None  # of other voxels soon, and what they take is needed here
    kernels, views = [t.kernel for t in resources.targets], [t.view for t in resources.targets]
    done = adapted(state, lambda most: adapt(state, kernels, views, config, most), resources)
    if done is not None:
        logger.info(
            "iteration %d: %d voxels, %d pruned, %d split, now %d",
            state.iteration, done.before, done.pruned, done.split, done.after,
        )  # fmt: skip


def _write(
    state: TrainState,
    targets: Sequence[Target],
    shown: Sequence[Target],
    config: VoxelConfig,
    out: Path,
    saves: bool,
) -> None:
    """Checkpoint, pictures and statistics, where they are due."""
    at, last = state.iteration, state.iteration == config.n_iter
    if last or (config.view_every and at % config.view_every == 0):
        _picture(state, (*shown, targets[0])[0], _folder(out, "pg_view") / f"{at:06d}.png")
        pictures.draw_curves(state.curves, _folder(out, "test_stat") / "curves.png")
        write_json(state.curves, _folder(out, "test_stat") / "train.json")
    if saves:
        save_state(state, checkpoint_of(out))


def _picture(state: TrainState, target: Target, path: Path) -> None:
    try:
        with torch.no_grad():
            rendered = render_view(state.voxels, target.view)
        pictures.write_png(pictures.panel(rendered, target.color), path)
    except Full as error:
        reason_of(error)
        free()
        logger.warning("Memory has no room for the picture %s.", path.name)


def _folder(out: Path, name: str) -> Path:
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
