"""The losses of a view as CUDA graphs: recorded once, replayed in every iteration after.

Losses are hundreds of small operations on images. A GPU does them in a few milliseconds, but
starting each takes the host 10 to 20 microseconds, which is longer. A graph starts them all at
once. It reads and writes fixed memory: inputs are copied into it before a replay, and a result
holds until the next one.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.training.objective import Extra, Objective, image_loss, phase
from voxterra.surface.voxels.training.targets import Target

logger = logging.getLogger(__name__)

SEEN_BEFORE = 3
"""Losses are recorded once views of the same shape came this often."""
GRAPHS = 4
"""Graphs kept at most; views of still other shapes are computed step by step."""
WARM = 2
"""Runs before a recording, in which libraries set themselves up."""
_OF_TARGET = ("camera", "rgb", "mask", "ignored", "prior", "sparse_xy", "sparse_depth")


@dataclass(frozen=True)
class _Inputs:
    """What `image_loss` reads and an iteration changes."""

    full: Tensor
    background: Tensor
    matrix: Tensor | None
    target: Target
    extra: tuple[Extra, ...]

    def tensors(self) -> Iterator[Tensor]:
        for value in (self.full, self.background, self.matrix, *self.extra):
            yield from _tensors(value)
        for name in _OF_TARGET:
            yield from _tensors(getattr(self.target, name))

    def copied(self) -> _Inputs:
        """The same in memory of its own, on the device of the render."""
        device = self.full.device
        parts = {name: _copied(getattr(self.target, name), device) for name in _OF_TARGET}
        return _Inputs(
            self.full.detach().clone(),
            self.background.clone(),
            _copied(self.matrix, device),
            replace(self.target, **parts),
            tuple(_copied(extra, device) for extra in self.extra),
        )


@dataclass(frozen=True)
class _Recorded:
    graph: torch.cuda.CUDAGraph
    inputs: _Inputs
    objective: Objective


@dataclass
class Recorder:
    """`image_loss`, from graphs where views come again in the same shape on a GPU.

    Attributes:
        usable: False once a recording failed; everything is computed step by step then.
    """

    usable: bool = True
    _graphs: dict[Any, _Recorded] = field(default_factory=dict)
    _seen: Counter[Any] = field(default_factory=Counter)

    def __call__(
        self,
        full: Tensor,
        target: Target,
        background: Tensor,
        config: VoxelConfig,
        iteration: int,
        matrix: Tensor | None = None,
        extra: tuple[Extra, ...] = (),
    ) -> Objective:
        """See `image_loss`; the result may be overwritten by the next call."""
        eager = (full, target, background, config, iteration, matrix, extra)
        if not self.usable or not full.is_cuda:
            return image_loss(*eager)
        inputs = _Inputs(full, background, matrix, target, extra)
        key = phase(config, iteration), tuple((t.shape, t.dtype) for t in inputs.tensors())
        recorded = self._graphs.get(key)
        if recorded is None:
            self._seen[key] += 1
            if self._seen[key] < SEEN_BEFORE or not self._has_room(key):
                return image_loss(*eager)
            recorded = self._record(inputs, config, iteration)
            if recorded is None:
                return image_loss(*eager)
            self._graphs[key] = recorded
        for fixed, given in zip(recorded.inputs.tensors(), inputs.tensors()):
            fixed.copy_(given, non_blocking=True)
        recorded.graph.replay()
        return recorded.objective

    def drop(self) -> bool:
        """Give up all graphs and their memory, for good; whether there were any."""
        had, self.usable = bool(self._graphs), False
        self._graphs.clear()
        return had

    def _has_room(self, key: Any) -> bool:
        """Whether one more graph may be kept; those of an earlier phase go."""
        for other in [other for other in self._graphs if other[0] != key[0]]:
            del self._graphs[other]
        return len(self._graphs) < GRAPHS

    def _record(self, given: _Inputs, config: VoxelConfig, iteration: int) -> _Recorded | None:
        try:
            inputs = given.copied()
            arguments = (
                inputs.full, inputs.target, inputs.background, config, iteration, inputs.matrix,
                inputs.extra,
            )  # fmt: skip
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM):
                    image_loss(*arguments)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                objective = image_loss(*arguments)
            return _Recorded(graph, inputs, objective)
        except RuntimeError as error:  # no memory for it, or an operation that cannot be recorded
            self.drop()
            reason = str(error).splitlines()[0]
            logger.info("Losses are computed step by step: no CUDA graph (%s).", reason)
            torch.cuda.synchronize()
            return None


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif is_dataclass(value):
        for part in fields(value):
            yield from _tensors(getattr(value, part.name))


def _copied(value: Any, device: torch.device) -> Any:
    """A tensor, or a dataclass of tensors and plain values, with tensors of its own."""
    if isinstance(value, Tensor):
        return value.detach().to(device, copy=True)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {part.name: getattr(value, part.name) for part in fields(value)}
        return replace(value, **{k: _copied(v, device) for k, v in parts.items()})
    return value
