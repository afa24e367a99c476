"""The depth sources that the options name, and what they yield, checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from voxterra.core.depth import DepthMap
from voxterra.core.surface_source import SurfaceSource
from voxterra.depth.config import DepthConfig, counting_options
from voxterra.depth.source import DEPTH_SOURCES, DepthInputs, DepthSource
from voxterra.errors import ReconstructionError, UsageError, VoxterraError

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
"""Options of plugins, where none are given."""

_LAST = max(SurfaceSource)

Hook = Literal["estimate", "start", "fill"]

_FLAGS: dict[Hook, str] = {
    "estimate": "--depth.source",
    "start": "--depth.start",
    "fill": "--depth.fill",
}
_LACKING: dict[Hook, str] = {
    "estimate": "measures no depth",
    "start": "proposes nothing to start from",
    "fill": "fills no holes",
}


@dataclass(frozen=True)
class Chosen:
    """A depth source that an option names.

    Attributes:
        name: as the option has it.
        source: the plugin.
        hook: which of its hooks is asked.
        options: instance of its options; None where it has none.
    """

    name: str
    source: DepthSource
    hook: Hook
    options: Any

    def maps(self, inputs: DepthInputs, *arguments: Any) -> Iterator[tuple[int, DepthMap]]:
        """What the hook yields, checked.

        Args:
            inputs: of the hook.
            arguments: the hook's, between `inputs` and the options, then `progress`.

        Raises:
            ReconstructionError: the source fails, or yields what is no depth map.
        """
        *between, progress = arguments
        hook = getattr(self.source, self.hook)
        try:
            for index, found in hook(inputs, *between, self.options, progress):
                yield index, self._checked(inputs, index, found)
        except (VoxterraError, MemoryError):
            raise
        except Exception as error:  # whatever a plugin raises
            if DEPTH_SOURCES.is_built_in(self.name):
                raise  # a fault of ours is not hidden
            raise self._fault(f"failed: {type(error).__name__}: {error}") from error

    def _fault(self, what: str, where: str | None = None) -> ReconstructionError:
        flag = _FLAGS[self.hook]
        return ReconstructionError(
            f"The depth source '{self.name}' {what}",
            where=where or f"{flag} {self.name}",
            next_step=f"Tell the authors of the depth source, or leave {flag} out.",
        )

    def _checked(self, inputs: DepthInputs, index: Any, found: Any) -> DepthMap:
        if index not in inputs.todo:
            raise self._fault(f"yielded photo {index!r}, which was not asked for.")
        task = inputs.tasks[index]
        fault = _fault_of(found, task.size)
        if fault:
            raise self._fault(f"yielded a depth map that cannot be used: {fault}.", task.view.name)
        known = found.depth > 0
        checked: DepthMap = replace(
            found,
            view=task.map_view,
            depth=found.depth.astype(np.float32, copy=False),
            normal=np.where(known[..., None], found.normal, 0).astype(np.float32, copy=False),
            confidence=np.where(known, found.confidence, 0).astype(np.float32, copy=False),
            support=np.where(known, np.maximum(found.support, SurfaceSource.MEASURED), 0).astype(
                np.uint8
            ),
        )
        return checked


def _fault_of(found: Any, size: tuple[int, int]) -> str:
    """What is wrong with a depth map; "" if nothing."""
    if not isinstance(found, DepthMap):
        return f"it is a {type(found).__name__}, not a DepthMap"
    width, height = size
    shapes = {"depth": (height, width), "normal": (height, width, 3), "confidence": (height, width)}
    for name, shape in shapes.items():
        values = getattr(found, name)
        if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
            return f"{name} is no array of floating point numbers"
        if values.shape != shape:
            return f"{name} has the shape {values.shape}, not {shape}"
        if not np.isfinite(values).all():
            return f"{name} holds numbers that are not finite; 0 stands for unknown"
    if (found.depth < 0).any():
        return "it holds depths below 0; 0 stands for unknown"
    if (found.confidence < 0).any() or (found.confidence > 1).any():
        return "it holds confidences outside 0 to 1"
    if found.support.shape != (height, width) or found.support.max(initial=0) > _LAST:
        return f"support is no array of {height} x {width} `SurfaceSource`"
    squared = (found.normal.astype(np.float32) ** 2).sum(-1)
    if not ((np.abs(squared - 1) < 0.1) | (squared == 0)).all():
        return "it holds normals that are not of length 1; 0 stands for unknown"
    return ""


@dataclass(frozen=True)
class ChosenSources:
    """The depth sources of a run; None: no such one is asked for."""

    estimate: Chosen
    start: Chosen | None
    fill: Chosen | None

    @property
    def all(self) -> tuple[Chosen, ...]:
        return tuple(c for c in (self.estimate, self.start, self.fill) if c is not None)

    def require(self) -> None:
        """Raise a `VoxterraError` where this machine cannot run one of them."""
        for chosen in self.all:
            chosen.source.requires(chosen.options)

    def counting(self) -> dict[str, Any]:
        """Versions and options that the maps depend on, of all but stereo, by hook."""
        return {
            chosen.hook: {
                "name": chosen.name,
                "version": chosen.source.version,
                "options": None if chosen.options is None else counting_options(chosen.options),
            }
            for chosen in self.all
            if chosen.name != "stereo"
        }


def chosen_sources(config: DepthConfig, plugins: Mapping[str, Any] = NO_OPTIONS) -> ChosenSources:
    """The depth sources that the options name.

    Args:
        config: names them.
        plugins: instances of the options of plugins, by the plugins' names.

    Raises:
        UsageError: there is no such source, or it has not the hook that is asked for.
        MissingPartError: it is installed but does not load.
    """
    if config.start is not None and config.source != "stereo":
        raise UsageError(
            f"--depth.start proposes depths to stereo; the depth source '{config.source}' takes "
            "none.",
            where="--depth.start",
            next_step="Leave out --depth.start, or --depth.source.",
        )
    return ChosenSources(
        _chosen("estimate", config.source, config, plugins),
        None if config.start is None else _chosen("start", config.start, config, plugins),
        None if config.fill is None else _chosen("fill", config.fill, config, plugins),
    )


def _chosen(hook: Hook, name: str, config: DepthConfig, plugins: Mapping[str, Any]) -> Chosen:
    source = DEPTH_SOURCES.get(name)
    if getattr(source, hook) is None:
        able = [n for n, s in DEPTH_SOURCES.available().items() if getattr(s, hook) is not None]
        raise UsageError(
            f"The depth source '{name}' {_LACKING[hook]}.",
            where=f"{_FLAGS[hook]} {name}",
            next_step=f"Choose one of: {', '.join(able)}."
            if able
            else f"Leave {_FLAGS[hook]} out: no installed depth source does that.",
        )
    options = plugins.get(name)
    if source.options is DepthConfig:  # stereo: the options of the depth stage are its own
        options = config
    elif options is None and source.options is not None:
        options = source.options()
    return Chosen(name, source, hook, options)
