"""Where to train, and how much fits there."""

from __future__ import annotations

import logging

import torch

from voxterra.errors import MissingPartError, UsageError
from voxterra.surface.voxels.config import VoxelConfig

logger = logging.getLogger(__name__)


def choose_device(config: VoxelConfig) -> torch.device:
    """The device that `config.device` asks for; auto: a GPU where kernels can run on one.

    Raises:
        UsageError: CUDA is asked for and torch sees no GPU.
        MissingPartError: CUDA is asked for and numba-cuda is not installed.
    """
    if config.device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        if config.device == "cuda":
            raise UsageError(
                "torch sees no NVIDIA GPU.",
                where="--device cuda",
                next_step="Train on the CPU (--device cpu), or install torch for your GPU's CUDA.",
            )
        return torch.device("cpu")
    try:
        from voxterra.kernels.voxels.cuda import ops_cuda  # noqa: F401
    except ImportError as error:
        if config.device == "cuda":
            raise MissingPartError(
                f"The GPU kernels cannot be loaded: {error}.",
                where="--device cuda",
                next_step="pip install 'voxterra[voxels,gpu]'",
            ) from error
        logger.warning("A GPU is there, but its kernels cannot be loaded (%s).", error)
        return torch.device("cpu")
    return torch.device("cuda")


def voxel_bytes(degree: int) -> int:
    """Memory that training takes for each voxel, by estimate [bytes].

    Parameters and two moments of colours and (about 1.2) corners, records and their gradients,
    octree tables and entries; what the split of a level needs on top.
    """
    colors = 3 * (degree + 1) ** 2
    return 4 * (3 * colors + 4 * 2 + 20 + 16 + 40) + 4 * colors


def fitting_voxels(config: VoxelConfig, device: torch.device, known: int = 0) -> int:
    """`config.max_voxels`, or as many as the GPU's free memory takes, with a warning.

    `known` voxels are on the GPU already.
    """
    if device.type != "cuda":
        return config.max_voxels
    free, _ = torch.cuda.mem_get_info(device)
    fits = known + int(0.8 * free / voxel_bytes(config.sh_degree))
    if fits < config.max_voxels:
        logger.warning(
            "Only %.1f GB of the GPU's memory are free: at most %d voxels instead of %d.",
            free / 1e9, fits, config.max_voxels,
        )  # fmt: skip
        return fits
    return config.max_voxels
