"""Where stereo is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxterra.depth.config import DepthConfig
from voxterra.depth.level import Level, LevelImages
from voxterra.depth.on_cpu import OnCpu
from voxterra.kernels.cuda_device import choose_device, shows_gpu

if TYPE_CHECKING:
    from voxterra.depth.on_gpu import OnGpu


def stereo_on(
    config: DepthConfig, level: Level, images: LevelImages | None, coarse: Level | None
) -> OnCpu | OnGpu:
    """The kernels for the views of `level` on the device that `config` asks for.

    With "auto", photos that the GPU's memory does not hold are done on the CPU.

    Raises:
        UsageError: CUDA is asked for and torch sees no GPU.
        MissingPartError: CUDA is asked for, and torch or numba-cuda is not installed.
    """
    on_cpu = OnCpu(level, images, coarse)
    if not uses_gpu(config):
        return on_cpu
    from voxterra.depth.on_gpu import OnGpu

    return OnGpu(level, images, coarse, on_cpu if config.device == "auto" else None)


def uses_gpu(config: DepthConfig) -> bool:
    """Whether stereo goes to a GPU; raises as `stereo_on` does."""
    # Without a GPU in sight torch, which takes long to import, is not asked.
    if config.device == "auto" and not shows_gpu():
        return False
    kernels = "voxterra.kernels.patchmatch_cuda"
    return choose_device(config.device, kernels, flag="--depth.device") == "cuda"
