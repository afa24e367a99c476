"""Where stereo is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from voxterra.depth.config import DepthConfig
from voxterra.depth.stereo.cpu import OnCpu
from voxterra.depth.stereo.level import Level, LevelImages
from voxterra.kernels.cuda.device import choose_device

if TYPE_CHECKING:
    from voxterra.depth.stereo.gpu import OnGpu


@contextmanager
def stereo_on(
    config: DepthConfig, level: Level, images: LevelImages | None, coarse: Level | None
) -> Iterator[OnCpu | OnGpu]:
    """The kernels for the views of `level` on the device that `config` asks for.

    With "auto", what the GPU cannot do is done on the CPU.

    Raises:
        UsageError: CUDA is asked for and torch sees no GPU.
        MissingPartError: CUDA is asked for, and torch or numba-cuda is not installed.
    """
    on_cpu = OnCpu(level, images, coarse)
    if not uses_gpu(config):
        yield on_cpu
        return
    from voxterra.depth.stereo.gpu import OnGpu

    on_gpu = OnGpu(level, images, coarse, on_cpu if config.device == "auto" else None)
    try:
        yield on_gpu
    finally:
        on_gpu.give_back()


def uses_gpu(config: DepthConfig) -> bool:
    """Whether stereo goes to a GPU; raises as `stereo_on` does."""
    kernels = "voxterra.kernels.stereo.patchmatch_cuda"
    return choose_device(config.device, kernels, flag="--depth.device") == "cuda"
