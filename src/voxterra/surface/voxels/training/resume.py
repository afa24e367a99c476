"""A training that goes on: its last checkpoint, if it is of these photos and options."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from voxterra.errors import InputError, UsageError
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.losses import exposure
from voxterra.surface.voxels.scene.scene import Scene
from voxterra.surface.voxels.training.state import TrainState, load_latest

logger = logging.getLogger(__name__)


def checkpoint_of(out: Path) -> Path:
    """The last checkpoint of a model folder."""
    return out / "checkpoints" / "last.pt"


def resumed(
    scene: Scene, config: VoxelConfig, out: Path, device: torch.device
) -> TrainState | None:
    """The state of the last checkpoint in `out` that can be read; None: there is none.

    Raises:
        FormatError: every checkpoint is damaged.
        InputError: it was trained on other photos.
        UsageError: it was trained with options that cannot change on the way.
    """
    checkpoint = checkpoint_of(out)
    state = load_latest(checkpoint, device)
    if state is None:
        return None
    _check_views(state, scene, checkpoint)
    if state.voxels.degree != config.sh_degree:
        raise UsageError(
            f"The colours of the checkpoint have degree {state.voxels.degree}, not "
            f"{config.sh_degree}.",
            where=f"--sh_degree, {checkpoint}",
            next_step=f"Go on with --sh_degree {state.voxels.degree}, or train anew (--overwrite).",
        )
    if not config.exposure:
        state.exposure = None
    elif state.exposure is None:
        state.exposure = exposure.create(len(scene.training), device)
    if state.iteration >= config.n_iter:
        logger.warning(
            "The checkpoint has %d iterations already; --n_iter %d asks for no more.",
            state.iteration, config.n_iter,
        )  # fmt: skip
    return state


def _check_views(state: TrainState, scene: Scene, checkpoint: Path) -> None:
    names = tuple(view.view.name for view in scene.training)
    if not state.views or state.views == names:
        state.views = names
        return
    more, fewer = set(names) - set(state.views), set(state.views) - set(names)
    changed = [f"{len(more)} are new ({min(more)})"] if more else []
    changed += [f"{len(fewer)} are gone ({min(fewer)})"] if fewer else []
    raise InputError(
        "The checkpoint was trained on other photos: "
        f"{' and '.join(changed) or 'their order differs'}.",
        where=str(checkpoint),
        next_step="Give the same photos and the same --eval and --test_every, or train anew "
        "(--overwrite).",
    )
