"""What changes over a training: weights, rates, levels, sharpness.

Options count iterations of a training of 8000; `Schedule` turns them into those of `n_iter`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from voxterra.surface.voxels.config import VoxelConfig

REFERENCE = 8000
"""Iterations that the options are stated for."""


@dataclass(frozen=True)
class Schedule:
    """The options of one training as functions of its iteration."""

    config: VoxelConfig

    def step(self, reference: float) -> int:
        """Iteration of this training that stands for `reference` of 8000."""
        return round(reference * self.config.n_iter / REFERENCE)

    def reference(self, iteration: int) -> float:
        """Iteration of 8000 that `iteration` of this training stands for."""
        return iteration * REFERENCE / self.config.n_iter

    def grid_factor(self, iteration: int) -> float:
        """Decay of the lattice terms: every 2000 of 8000, twice."""
        return self.config.grid_decay ** min(2, int(self.reference(iteration) // 2000))

    def rate_factor(self, iteration: int) -> float:
        """Factor on the learning rates: 1, falling exponentially over the last quarter."""
        share = max(0.0, iteration / self.config.n_iter - 0.75) / 0.25
        return math.pow(self.config.lr_decay, share)

    def sharpness(self, iteration: int) -> float:
        """Sharpness times the edge of a voxel."""
        share = min(1.0, iteration / max(1, self.config.n_iter - 1))
        return self.config.sharpness * math.pow(self.config.sharpness_growth, share)

    def learns_sharpness(self, iteration: int) -> bool:
        """Whether the factor on the sharpness is learned at this iteration."""
        late = self.reference(iteration) >= self.config.sharpness_from
        return late and self.config.sharpness_lr > 0.0

    def adapts(self, iteration: int) -> bool:
        """Whether voxels are split and pruned after `iteration` iterations."""
        every = max(1, self.step(self.config.adapt_every))
        return iteration % every == 0 and 0 < iteration <= self.step(self.config.adapt_until)

    def splits_surface(self, iteration: int) -> bool:
        """Whether all voxels that the surface crosses are split, or those with priority."""
        # Half an interval of slack: which adaptation is the last must not hang on rounding.
        slack = 0.5 * self.config.adapt_every
        return self.reference(iteration) <= self.config.surface_split_until + slack
