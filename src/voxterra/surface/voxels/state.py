"""All that a training changes, and its checkpoints."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from voxterra.errors import FormatError
from voxterra.io.atomic import atomic_path
from voxterra.surface.voxels.losses.exposure import Exposures
from voxterra.surface.voxels.octree import Cube, make_octree
from voxterra.surface.voxels.render import Voxels

VERSION = 1
MAX_LEVELS = 17


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
        neighbors: (V, 4) int32 views that each training view is compared with, -1 = none; None
            before the multi-view terms begin.
        start_level: octree level of the finest voxels at the start.
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
    neighbors: Tensor | None = None
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
    """Write a checkpoint, atomically.

    Raises:
        OutputError: the file system refuses.
    """
    voxels, cube = state.voxels, state.voxels.octree.cube
    data = {
        "version": VERSION,
        "cube": (tuple(cube.center), cube.inside_edge, cube.outside_level),
        "path": voxels.octree.path,
        "level": voxels.octree.level,
        "parameters": {
            name: getattr(voxels, name) for name in ("sdf", "sh0", "shs", "sharpness", "background")
        },
        "moments": state.moments,
        "iteration": state.iteration,
        "priority": state.priority,
        "order": state.order,
        "generator": state.generator.get_state(),
        "start_level": state.start_level,
        "exposure": None if state.exposure is None else asdict(state.exposure),
        "neighbors": state.neighbors,
        "curves": state.curves,
    }
    with atomic_path(path) as temporary:
        torch.save(data, temporary)


def load_state(path: Path, device: torch.device) -> TrainState:
    """Read a checkpoint of `save_state`.

    Raises:
        FormatError: not a checkpoint of this version.
    """
    try:
        data = torch.load(path, map_location=device, weights_only=True)
        if data["version"] != VERSION:
            raise ValueError(f"version {data['version']}, not {VERSION}")
        center, edge, outside = data["cube"]
        octree = make_octree(Cube(tuple(center), edge, outside), data["path"], data["level"])
        generator = torch.Generator()
        generator.set_state(data["generator"].cpu())
        return TrainState(
            voxels=Voxels(octree, **data["parameters"]),
            moments={k: (m, v) for k, (m, v) in data["moments"].items()},
            iteration=data["iteration"],
            priority=data["priority"],
            order=data["order"],
            generator=generator,
            start_level=data["start_level"],
            exposure=None if data["exposure"] is None else Exposures(**data["exposure"]),
            neighbors=_on_cpu(data.get("neighbors")),
            curves=data["curves"],
        )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError) as error:
        raise FormatError(
            f"This checkpoint cannot be used ({type(error).__name__}: {error}).",
            where=str(path),
            next_step="Delete it to resume from an older one, or train anew without --resume.",
        ) from error


def _on_cpu(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.cpu()
