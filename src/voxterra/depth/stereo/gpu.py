"""The kernels of stereo on an NVIDIA GPU, and what of a level's views is kept there.

A photo is a source of many others, so its pixels and planes go to the GPU once a level, and those
used longest ago are dropped when they would fill it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voxterra.depth.stereo.cpu import Bytes, Float, OnCpu
from voxterra.depth.stereo.geometry import maps_between
from voxterra.depth.stereo.level import Level, LevelImages
from voxterra.errors import VoxterraError, is_out_of_memory
from voxterra.kernels.stereo import patchmatch_cuda as pm
from voxterra.kernels.stereo.hypotheses import Matching, Search

logger = logging.getLogger(__name__)

_CACHE_SHARE = 0.4
"""Part of the GPU's free memory for views that may be asked for again."""


class OnGpu:
    """Stereo of the views of a level; functions and arguments as `OnCpu` has them.

    Args:
        otherwise: does the photos that the GPU's memory does not hold, and all where its driver
            cannot run the kernels; None: that is an error.
    """

    def __init__(
        self,
        level: Level,
        images: LevelImages | None,
        coarse: Level | None,
        otherwise: OnCpu | None = None,
        device: str = "cuda",
    ):
        self._level, self._images, self._coarse = level, images, coarse
        self._otherwise, self._device = otherwise, torch.device(device)
        self._kept: OrderedDict[tuple[str, int], Tensor] = OrderedDict()
        self._bytes, self._most = 0, _room(self._device)
        self._failed: VoxterraError | None = None
        self._warned: set[str] = set()

    @property
    def compiled(self) -> bool:
        """Whether the kernels are ready to run."""
        return pm.EVALUATE.loaded

    def solve(
        self,
        index: int,
        chosen: tuple[int, ...],
        start: Float | None,
        matching: Matching,
        searches: list[Search],
    ) -> tuple[Float, Float]:
        arguments = index, chosen, start, matching, searches
        if self._failed is None:
            try:
                return self._solve(*arguments)
            except (RuntimeError, VoxterraError) as error:
                self._after(error, index, chosen)
        return self._instead().solve(*arguments)

    def check(
        self,
        index: int,
        chosen: tuple[int, ...],
        planes: Float,
        max_error_px: float,
        max_relative: float,
    ) -> tuple[Bytes, Bytes, Float]:
        arguments = index, chosen, planes, max_error_px, max_relative
        if self._failed is None:
            try:
                return self._check(*arguments)
            except (RuntimeError, VoxterraError) as error:
                self._after(error, index, chosen)
        return self._instead().check(*arguments)

    def give_back(self) -> None:
        """Free the GPU's memory, also for others."""
        self._kept.clear()
        self._bytes = 0
        with suppress(RuntimeError):  # a GPU so full that CUDA cannot start on it
            torch.cuda.empty_cache()

    def _check(
        self,
        index: int,
        chosen: tuple[int, ...],
        planes: Float,
        max_error_px: float,
        max_relative: float,
    ) -> tuple[Bytes, Bytes, Float]:
        sources = self._sources(index, chosen, images=None, planes_of=self._level)
        found = pm.check_consistency(self._up(planes), sources, max_error_px, max_relative)
        agree, look, mean_w = (t.cpu().numpy() for t in found)
        return agree, look, mean_w

    def _solve(
        self,
        index: int,
        chosen: tuple[int, ...],
        start: Float | None,
        matching: Matching,
        searches: list[Search],
    ) -> tuple[Float, Float]:
        view = self._level.views[index]
        height, width = view.height, view.width
        sources = self._sources(index, chosen, self._images, self._coarse)
        reference = self._quads(index).view(height, width)
        if start is None:
            planes = torch.empty((height, width, 3), device=self._device)
            pm.upsample_planes(self._coarse_planes(index), planes.view(-1, 3), height, width)
        else:
            planes = self._up(start)
        costs = torch.empty((height, width), device=self._device)
        view_costs = torch.empty((height, width, len(chosen)), device=self._device)
        values = self._up(pm.matching_values(matching))
        pm.evaluate(reference, planes, costs, view_costs, sources, values)
        for k, search in enumerate(searches):
            pm.sweep(reference, planes, costs, view_costs, sources, values, search, k % 2)
        return planes.cpu().numpy(), costs.cpu().numpy()

    def _sources(
        self,
        index: int,
        chosen: tuple[int, ...],
        images: LevelImages | None,
        planes_of: Level | None,
    ) -> pm.GpuSources:
        """`geometry.source_views` on the GPU."""
        meta, forward, backward = maps_between(index, chosen, self._level)
        pixels = int((meta[:, 1] * meta[:, 2]).sum())
        planes = torch.zeros((1 if planes_of is None else pixels, 3), device=self._device)
        quads = torch.zeros(1, dtype=torch.int32, device=self._device)
        if images is not None:
            quads = torch.cat([self._quads(j) for j in chosen])
        for j, (start, width, height) in zip(chosen, meta.tolist()):
            place = planes[start : start + width * height]
            if planes_of is self._coarse and planes_of is not None:
                pm.upsample_planes(self._coarse_planes(j), place, height, width)
            elif planes_of is not None:
                place.copy_(self._own_planes(j).view(-1, 3))
        return pm.GpuSources(quads, planes, self._up(meta), self._up(forward), self._up(backward))

    def _quads(self, index: int) -> Tensor:
        images = self._images
        assert images is not None
        return self._keep("quads", index, lambda: images.quads(index).reshape(-1).view(np.int32))

    def _coarse_planes(self, index: int) -> Tensor:
        coarse = self._coarse
        assert coarse is not None
        return self._keep("coarse", index, lambda: coarse.planes(index))

    def _own_planes(self, index: int) -> Tensor:
        return self._keep("own", index, lambda: self._level.planes(index))

    def _keep(self, kind: str, index: int, read: Callable[[], NDArray[Any]]) -> Tensor:
        """A view's array on the GPU, read from disk only if it is not there."""
        key = (kind, index)
        if key not in self._kept:
            self._kept[key] = self._up(read())
            self._bytes += self._kept[key].nbytes
            while self._bytes > self._most and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        self._kept.move_to_end(key)
        return self._kept[key]

    def _up(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def _full(self, index: int, chosen: tuple[int, ...]) -> VoxterraError:
        view = self._level.views[index]
        return VoxterraError(
            f"The GPU's memory does not hold {len(chosen) + 1} photos of "
            f"{view.width}x{view.height} for stereo.",
            where=view.name,
            next_step="Give --depth.device auto, smaller depth maps (--depth.max-size), or fewer "
            "--depth.sources.",
        )

    def _after(
        self, error: RuntimeError | VoxterraError, index: int, chosen: tuple[int, ...]
    ) -> None:
        """Raise what the GPU could not do, unless the CPU is there to take over."""
        if isinstance(error, VoxterraError):
            self._failed = error  # the driver's, and so of all photos
        elif is_out_of_memory(error):
            error = self._full(index, chosen)
        else:
            raise error
        if self._otherwise is None:
            raise error
        self.give_back()
        if error.what not in self._warned:
            self._warned.add(error.what)
            logger.warning("%s The CPU takes over.", error.what)

    def _instead(self) -> OnCpu:
        assert self._otherwise is not None
        return self._otherwise


def _room(device: torch.device) -> int:
    if device.type != "cuda":
        return 1 << 30
    try:
        return int(_CACHE_SHARE * torch.cuda.mem_get_info(device)[0])
    except RuntimeError as error:  # so full that CUDA cannot start on it: each photo will say so
        if is_out_of_memory(error):
            return 0
        raise
