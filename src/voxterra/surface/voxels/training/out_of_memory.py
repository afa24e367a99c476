"""What a training does when memory is full, a GPU's or the machine's: it continues with less, and
logs a warning.

In turn: memory that torch keeps for later is given back, then that of recorded losses, the images
of a GPU move to the CPU, renders get as small as the images (`ss` 1), images half as large. A start
that does not fit is made with fewer voxels; a split is halved, and at last left out.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import torch

from voxterra.errors import ReconstructionError, is_out_of_memory
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.device import free_bytes, memory_of, state_bytes, voxel_bytes
from voxterra.surface.voxels.model.render import kernel_view
from voxterra.surface.voxels.octree import Cube
from voxterra.surface.voxels.training.cuda_graphs import Recorder
from voxterra.surface.voxels.training.neighbor_terms import Companions, make_companions
from voxterra.surface.voxels.training.state import TrainState, consistent, contents, state_of
from voxterra.surface.voxels.training.step import Tables
from voxterra.surface.voxels.training.targets import Prior, Target, halved, pixel_bytes

logger = logging.getLogger(__name__)

Full = (MemoryError, RuntimeError)
"""To catch where memory may be full; `reason_of` lets pass what is another error."""
T = TypeVar("T")

_SMALLEST_SIDE = 100
"""Images are not made smaller than this [px]."""
_FREED_AT_MOST = 20
"""Where giving memory back is not enough this often, something else has to go."""


@dataclass
class Resources:
    """What a training keeps beside its state, and can do with less of.

    Attributes:
        targets: the training views.
        companions: what multi-view terms need of them.
        max_voxels: no more than this many voxels.
        losses: the losses, with what was recorded of them.
        tables: of the octree as it is; None: to be made.
        freed: how often memory was given back.
    """

    targets: tuple[Target, ...]
    companions: Companions | None
    max_voxels: int
    losses: Recorder = field(default_factory=Recorder)
    tables: Tables | None = None
    freed: int = 0

    @property
    def device(self) -> torch.device:
        """Where the training runs."""
        return self.targets[0].kernel.camera.device


def reason_of(error: BaseException) -> str:
    """What a full memory was asked for, in a line; any other error is raised again."""
    if not is_out_of_memory(error):
        raise error
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def free() -> None:
    """Give back what torch keeps for later."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def within_memory(
    work: Callable[[], T], resources: Resources, cube: Cube, config: VoxelConfig, where: str
) -> T:
    """Result of `work`, which is done again with less in memory while the memory is full.

    Raises:
        ReconstructionError: there is nothing left to do without.
    """
    failed = 0
    while True:
        try:
            return work()
        except Full as error:
            reason = reason_of(error)
        # Only out here are the tensors of what failed gone.
        free()
        failed, resources.freed = failed + 1, resources.freed + 1
        if failed == 1 and resources.freed <= _FREED_AT_MOST:
            continue
        instead = _relieve(resources, cube, config)
        if instead is None:
            raise too_full(where, resources.max_voxels, reason, resources.device)
        logger.warning(
            "%s is full at %s: continues with %s.", _whole(resources.device), where, instead
        )


def with_fewer_voxels(
    work: Callable[[int], T], max_voxels: int, device: torch.device
) -> tuple[T, int]:
    """The start of a training, with the voxels there may be: half as many while memory is full.

    Raises:
        ReconstructionError: it is full with an eighth of them, too.
    """
    for last in (False, False, False, True):
        try:
            return work(max_voxels), max_voxels
        except Full as error:
            reason = reason_of(error)
        free()
        if last:
            break
        max_voxels = max(1, max_voxels // 2)
        logger.warning(
            "%s is full at the start: continues with at most %d voxels.", _whole(device), max_voxels
        )
    raise too_full("the start of the training", max_voxels, reason, device)


def too_full(where: str, max_voxels: int, reason: str, device: torch.device) -> ReconstructionError:
    """The error when nothing helps."""
    other = "train on the CPU (--device cpu)" if device.type == "cuda" else "close other programs"
    return ReconstructionError(
        f"{_whole(device)} is too small for this training ({reason}).",
        where=where,
        next_step=f"Take smaller images (--res_downscale 2) or fewer voxels (--max_voxels "
        f"{max(1, max_voxels // 2)}), or {other}.",
    )


def _whole(device: torch.device) -> str:
    """Whose memory, to begin a sentence with."""
    text = memory_of(device)
    return text[0].upper() + text[1:]


def _relieve(resources: Resources, cube: Cube, config: VoxelConfig) -> str | None:
    """Do without something more; what that is, or None if nothing is left."""
    targets = resources.targets
    if resources.losses.drop():
        free()
        return "losses computed step by step"
    if any(target.rgb.device.type != "cpu" for target in targets):
        resources.targets = tuple(_on_cpu(target) for target in targets)
        instead = "the images in the CPU's memory"
    elif any(t.kernel.width > t.view.width or t.kernel.height > t.view.height for t in targets):
        resources.targets = tuple(
            replace(t, kernel=kernel_view(t.view, cube, t.kernel.camera.device)) for t in targets
        )
        instead = "renders as small as the images (--ss 1)"
    elif min(min(target.rgb.shape[:2]) for target in targets) >= 2 * _SMALLEST_SIDE:
        resources.targets = tuple(halved(target, cube) for target in targets)
        view = max((target.view for target in resources.targets), key=lambda v: v.width * v.height)
        instead = f"images half as large ({view.width}x{view.height} at most)"
    else:
        return None
    if resources.companions is not None:
        resources.companions = None
        free()
        resources.companions = make_companions(resources.targets, cube, config)
    return instead


def _on_cpu(target: Target) -> Target:
    prior = target.prior
    if prior is not None:
        prior = Prior(prior.depth.cpu(), prior.normal.cpu(), prior.confidence.cpu())
    mask = None if target.mask is None else target.mask.cpu()
    ignored = None if target.ignored is None else target.ignored.cpu()
    return replace(target, rgb=target.rgb.cpu(), mask=mask, ignored=ignored, prior=prior)


def adapted(state: TrainState, work: Callable[[int], T], resources: Resources) -> T | None:
    """Result of an adaptation of `state`, which is given the voxels that there may be.

    While the memory is full, the voxels may grow by half as many; None: it was left out.

    Raises:
        ReconstructionError: it failed halfway, and what it began with is not known.
    """
    kept = None
    if tight(state, resources):
        try:
            kept = _copied(state)
        except Full as error:  # the machine has no room for it: it may do without
            reason_of(error)
    before = state.voxels.octree
    for attempt in range(4):
        try:
            return work(resources.max_voxels)
        except Full as error:
            reason = reason_of(error)
        resources.losses.drop()
        free()
        if not (state.voxels.octree is before and consistent(state)):
            if kept is not None:
                _restore(state, kept)
                before = state.voxels.octree
            elif not consistent(state):
                where = f"iteration {state.iteration}"
                raise too_full(where, resources.max_voxels, reason, resources.device)
        if attempt:
            grow = max(0, resources.max_voxels - len(state.voxels)) // 2 if attempt < 2 else 0
            _at_most(resources, len(state.voxels) + grow, state.iteration)
    logger.warning("Voxels are neither split nor pruned at iteration %d.", state.iteration)
    return None


def _at_most(resources: Resources, voxels: int, iteration: int) -> None:
    less, resources.max_voxels = (
        voxels < 0.99 * resources.max_voxels,
        min(resources.max_voxels, voxels),
    )
    if less:
        logger.warning(
            "%s is full at iteration %d: continues with at most %d voxels.",
            _whole(resources.device), iteration, voxels,
        )  # fmt: skip


def tight(state: TrainState, resources: Resources) -> bool:
    """Whether an adaptation, which renders all views, may not fit.

    Free memory lies in pieces, so that half of it is counted.
    """
    device = state.voxels.device
    available = free_bytes(device) if device.type == "cuda" else None
    if available is None:
        return False
    degree = state.voxels.degree
    needed = resources.max_voxels * voxel_bytes(degree, device) - len(state.voxels) * state_bytes(
        degree
    )
    needed += pixel_bytes(resources.targets)
    return needed > 0.5 * available


def _copied(state: TrainState) -> dict[str, Any]:
    """The contents of a state, copied to the CPU."""
    return {k: _moved(v, torch.device("cpu")) for k, v in contents(state).items()}


def _restore(state: TrainState, kept: dict[str, Any]) -> None:
    """Make the state what it was when it was copied, in place."""
    device = state.voxels.device
    curves, neighbors = state.curves, state.neighbors
    for name in ("sdf", "sh0", "shs"):  # make room first
        state.moments.pop(name, None)
        setattr(state.voxels, name, getattr(state.voxels, name).new_empty(0))
    free()
    whole = state_of({k: _moved(v, device) for k, v in kept.items()})
    for part in fields(TrainState):
        setattr(state, part.name, getattr(whole, part.name))
    state.curves, state.neighbors = curves, neighbors


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device, copy=True)
    if isinstance(value, dict):
        return {k: _moved(v, device) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(_moved(v, device) for v in value)
    return value
