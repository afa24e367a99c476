"""All that a training changes, and its checkpoints."""

from __future__ import annotations

import logging
import os
import pickle
import struct
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voxterra.errors import FormatError, InputError, UsageError, is_out_of_memory
from voxterra.io.files.atomic import atomic_path
from voxterra.io.files.disk import cannot_write
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.losses import exposure
from voxterra.surface.voxels.losses.exposure import Exposures
from voxterra.surface.voxels.model.render import Voxels
from voxterra.surface.voxels.model.sharpness import LEVELS, SharpnessFactor
from voxterra.surface.voxels.octree import Cube, make_octree
from voxterra.surface.voxels.scene.scene import Scene
from voxterra.surface.voxels.training.anchor import Anchor

logger = logging.getLogger(__name__)

VERSION = 1
_DAMAGE = (
    OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, AttributeError, IndexError,
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error,
)  # fmt: skip


@dataclass
class TrainState:
    """Parameters, Adam's moments and whatever else the next iteration depends on.

    Attributes:
        voxels: the model.
        moments: first and second moments of Adam by parameter: "sdf", "sh0", "shs".
        iteration: iterations done.
        priority: (N,) float32 sum of |alpha dL/dalpha| since voxels were last split.
        order: indices of the training views still to come in this round.
        generator: draws the rounds and the samples; on the CPU, so that it is the same everywhere.
        exposure: affine exposures of the training views with their moments, or None.
        anchor: the start's distances, where the training is held by them, or None.
        sharpness: learned factor on the sharpness, or None.
        neighbors: (V, 4) int32 views that each training view is compared with, -1 = none; None
            before the multi-view terms begin.
        start_level: octree level of the finest voxels at the start.
        views: names of the training views, in their order.
        curves: what the loss curves show, by name: (iteration, value) pairs.
    """

    voxels: Voxels
    moments: dict[str, tuple[Tensor, Tensor]]
    iteration: int
    priority: Tensor
    order: list[int]
    generator: torch.Generator
    start_level: int
    exposure: Exposures | None = None
    anchor: Anchor | None = None
    sharpness: SharpnessFactor | None = None
    neighbors: Tensor | None = None
    views: tuple[str, ...] = ()
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def next_view(self, count: int) -> int:
        """Index of the view to train on: every view once a round, in random order."""
        if not self.order:
            self.order = torch.randperm(count, generator=self.generator).tolist()
        return self.order.pop()


def fresh_moments(voxels: Voxels) -> dict[str, tuple[Tensor, Tensor]]:
    """Zero moments for the model's parameters."""
    parameters = {"sdf": voxels.sdf, "sh0": voxels.sh0, "shs": voxels.shs}
    return {k: (torch.zeros_like(p), torch.zeros_like(p)) for k, p in parameters.items()}


def save_state(state: TrainState, path: Path) -> None:
    """Write a checkpoint, atomically; the one that was there stays as `previous(path)`.

    Raises:
        OutputError: the file system refuses.
    """
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            torch.save(contents(state), file)
            if path.exists():
                os.replace(path, previous(path))
    except RuntimeError as error:  # torch's own, over what the file system said
        if not isinstance(error.__context__, OSError):
            raise
        raise cannot_write(error.__context__, path) from error


def previous(path: Path) -> Path:
    """Where the checkpoint before that at `path` is."""
    return path.with_name(f"{path.stem}_before{path.suffix}")


def contents(state: TrainState) -> dict[str, Any]:
    """All of a state as tensors and plain types."""
    voxels, cube = state.voxels, state.voxels.octree.cube
    return {
        "version": VERSION,
        "cube": (tuple(cube.center), cube.inside_edge, cube.outside_level),
        "path": voxels.octree.path,
        "level": voxels.octree.level,
        "parameters": {
            name: getattr(voxels, name) for name in ("sdf", "sh0", "shs", "sharpness", "background")
        },
        "moments": dict(state.moments),
        "iteration": state.iteration,
        "priority": state.priority,
        "order": list(state.order),
        "generator": state.generator.get_state(),
        "start_level": state.start_level,
        "exposure": None if state.exposure is None else asdict(state.exposure),
        "anchor": None if state.anchor is None else asdict(state.anchor),
        "sharpness": None if state.sharpness is None else asdict(state.sharpness),
        "neighbors": state.neighbors,
        "views": list(state.views),
        "curves": state.curves,
    }


def state_of(data: dict[str, Any]) -> TrainState:
    """The state whose `contents` these are.

    Raises:
        ValueError: they contradict each other.
    """
    center, edge, outside = data["cube"]
    octree = make_octree(Cube(tuple(center), edge, outside), data["path"], data["level"])
    generator = torch.Generator()
    generator.set_state(data["generator"].cpu())
    exposure, sharpness, anchor = data["exposure"], data.get("sharpness"), data.get("anchor")
    state = TrainState(
        voxels=Voxels(octree, **data["parameters"]),
        moments={k: (m, v) for k, (m, v) in data["moments"].items()},
        iteration=data["iteration"],
        priority=data["priority"],
        order=list(data["order"]),
        generator=generator,
        start_level=data["start_level"],
        exposure=None if exposure is None else Exposures(**exposure),
        anchor=None if anchor is None else Anchor(**anchor),
        sharpness=None if sharpness is None else SharpnessFactor(**sharpness),
        neighbors=_on_cpu(data.get("neighbors")),
        views=tuple(data.get("views", ())),
        curves=data["curves"],
    )
    if not consistent(state):
        raise ValueError("its parts do not belong together")
    return state


def consistent(state: TrainState) -> bool:
    """Whether all parameters and moments are as long as the octree says."""
    voxels, octree = state.voxels, state.voxels.octree
    n, shs = len(octree.path), voxels.shs.shape
    return (
        voxels.sdf.shape == (octree.corner_count,)
        and voxels.sh0.shape == (n, 3)
        and len(shs) == 3
        and shs[0] == n
        and shs[2] == 3
        and shs[1] + 1 == (voxels.degree + 1) ** 2
        and voxels.sharpness.shape == (LEVELS,)
        and voxels.background.shape == (3,)
        and state.priority.shape == (n,)
        and (
            state.anchor is None
            or state.anchor.sdf.shape == state.anchor.trust.shape == voxels.sdf.shape
        )
        and (state.sharpness is None or state.sharpness.log.shape == (1,))
        and all(
            moment.shape == getattr(voxels, name).shape
            for name in ("sdf", "sh0", "shs")
            for moment in state.moments[name]
        )
    )


def load_state(path: Path, device: torch.device) -> TrainState:
    """Read a checkpoint of `save_state`.

    Raises:
        FormatError: it is damaged, or no checkpoint of this version.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not look at the checksums
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"the checksum of {damaged} is wrong")
        data = torch.load(path, map_location=device, weights_only=True)
        if data["version"] != VERSION:
            raise ValueError(f"version {data['version']}, not {VERSION}")
        return state_of(data)
    except _DAMAGE as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise FormatError(
            f"This checkpoint cannot be used ({type(error).__name__}: {reason}).",
            where=str(path),
            next_step="Delete it: the training then resumes from the checkpoint before it, or "
            "starts over where there is none.",
        ) from error


def load_latest(path: Path, device: torch.device) -> TrainState | None:
    """The last checkpoint, or the one before it where the last is damaged; None: there is none.

    Raises:
        FormatError: all that are there are damaged.
    """
    there = [file for file in (path, previous(path)) if file.exists()]
    for file in there:
        try:
            return load_state(file, device)
        except FormatError as error:
            if file is there[-1]:
                raise
            logger.warning("%s %s: resumes from the one before.", error.what, error.where)
    return None


def _on_cpu(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.cpu()


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
            next_step=f"Resume with --sh_degree {state.voxels.degree}, or start over "
            "(--overwrite).",
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
        next_step="Give the same photos and the same --eval and --test_every, or start over "
        "(--overwrite).",
    )
