"""The kernels of stereo on the CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxterra.depth.stereo.geometry import source_views
from voxterra.depth.stereo.level import Level, LevelImages
from voxterra.kernels.stereo import patchmatch as pm
from voxterra.kernels.stereo.hypotheses import Matching, Search
from voxterra.kernels.stereo.planes import check_consistency, upsample_planes

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]


class OnCpu:
    """Stereo of the views of a level; `OnGpu` has the same functions.

    Args:
        level: its views, and its planes where they are to be checked.
        images: pixels of the views; None where planes are only checked.
        coarse: the level before, to start from; None at the first.
    """

    def __init__(self, level: Level, images: LevelImages | None, coarse: Level | None):
        self._level, self._images, self._coarse = level, images, coarse

    @property
    def compiled(self) -> bool:
        """Whether the kernels are ready to run."""
        return bool(pm.sweep.signatures)

    def solve(
        self,
        index: int,
        chosen: tuple[int, ...],
        start: Float | None,
        matching: Matching,
        searches: list[Search],
    ) -> tuple[Float, Float]:
        """Planes (H, W, 3) and costs (H, W) of view `index`, matched against the views `chosen`.

        Args:
            start: (H, W, 3) planes to start from; None: those of the level before.
            searches: one a sweep; the colours take turns.
        """
        assert self._images is not None
        view = self._level.views[index]
        gray = self._images.gray(index)
        if start is None:
            assert self._coarse is not None
            start = upsample_planes(self._coarse.planes(index), view.height, view.width)
        planes = start
        sources = source_views(index, chosen, self._level, self._images, self._coarse)
        costs = np.empty((view.height, view.width), np.float32)
        view_costs = np.empty((view.height, view.width, len(chosen)), np.float32)
        pm.evaluate(gray, planes, costs, view_costs, sources, matching)
        for k, search in enumerate(searches):
            pm.sweep(gray, planes, costs, view_costs, sources, matching, search, k % 2)
        return planes, costs

    def check(
        self,
        index: int,
        chosen: tuple[int, ...],
        planes: Float,
        max_error_px: float,
        max_relative: float,
    ) -> tuple[Bytes, Bytes, Float]:
        """`kernels.stereo.planes.check_consistency` of view `index` with the views `chosen`."""
        sources = source_views(index, chosen, self._level, planes_of=self._level)
        limits = np.float32(max_error_px), np.float32(max_relative)
        found: tuple[Bytes, Bytes, Float] = check_consistency(planes, sources, *limits)
        return found
