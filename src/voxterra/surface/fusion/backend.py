"""The surface backend `fusion`: depth maps, fused."""

from __future__ import annotations

from dataclasses import replace

from voxterra.core.costs import Cost
from voxterra.core.machine import Machine
from voxterra.core.progress import Progress
from voxterra.surface.backend import SurfaceInputs, SurfaceResult, SurfaceWork
from voxterra.surface.fusion.config import FusionConfig

EXTRACT_S_PER_M_FACES = 2.2
"""Extracting a million faces from the fused volume [s], on 2 cores; see `pipeline.costs.rates`."""

_PRESETS = {"preview": FusionConfig(voxel_factor=2.0)}


class FusionBackend:
    """Truncated signed distances of depth maps, meshed."""

    name = "fusion"
    license = "Apache-2.0"
    needs: tuple[str, ...] = ()
    version = 2
    options = FusionConfig

    def preset(self, name: str, machine: Machine) -> FusionConfig:
        return _PRESETS.get(name, FusionConfig())

    def check(self, options: FusionConfig) -> None:
        pass  # its numbers are checked with those of the other stages

    def requires(self, options: FusionConfig) -> None:
        pass

    def estimate(self, work: SurfaceWork, options: FusionConfig) -> Cost:
        return Cost(EXTRACT_S_PER_M_FACES * work.m_faces, 0.0)

    def run(
        self, inputs: SurfaceInputs, options: FusionConfig, progress: Progress
    ) -> SurfaceResult:
        from voxterra.imaging.exposure import levelled
        from voxterra.surface.fusion.fuse import fuse

        options = replace(options, bounds_m=inputs.bounds_m)
        mesh = fuse(levelled(inputs.maps), options, work_dir=inputs.work, progress=progress)
        return SurfaceResult(mesh, made_by="fusion of depth maps")
