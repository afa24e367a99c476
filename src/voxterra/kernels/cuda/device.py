"""The choice between CPU and GPU, the same for all kernels."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import Literal

from voxterra.core.machine import shows_gpu
from voxterra.errors import MissingPartError, UsageError

logger = logging.getLogger(__name__)


def choose_device(
    asked: Literal["auto", "cpu", "cuda"], kernels: str, *, flag: str = "--device"
) -> Literal["cpu", "cuda"]:
    """Where to work; auto: on a GPU where torch sees one and the kernels can be loaded.

    Without a GPU in sight torch, which takes long to import, is not asked.

    Args:
        asked: the option's value.
        kernels: name of the module that holds the CUDA kernels.
        flag: the option, for messages.

    Raises:
        UsageError: CUDA is asked for and torch sees no GPU.
        MissingPartError: CUDA is asked for, and torch or numba-cuda is not installed.
    """
    must = asked == "cuda"
    if asked == "cpu" or not (must or shows_gpu()):
        return "cpu"
    try:
        require_torch_gpu(flag=flag)
    except (MissingPartError, UsageError):
        if must:
            raise
        return "cpu"
    try:
        require_kernels(kernels, flag=flag)
    except MissingPartError as error:
        if must:
            raise
        logger.warning("This machine has a GPU, but works on the CPU: %s", error.what)
        return "cpu"
    return "cuda"


def require_torch_gpu(*, flag: str = "--device") -> None:
    """Find out whether torch can use a GPU.

    Raises:
        MissingPartError: torch is not installed.
        UsageError: torch sees no GPU.
    """
    if not installed("torch"):
        raise MissingPartError(
            "Work on a GPU needs PyTorch, which is not installed.",
            where=f"{flag} cuda",
            next_step=f"pip install 'voxterra[voxels,gpu]', or give {flag} cpu.",
        )
    import torch

    if not torch.cuda.is_available():
        raise UsageError(
            "torch sees no NVIDIA GPU.",
            where=f"{flag} cuda",
            next_step=f"Work on the CPU ({flag} cpu), or install torch for your GPU's CUDA.",
        )


def require_kernels(kernels: str, *, flag: str = "--device") -> None:
    """Load the module that holds CUDA kernels.

    Raises:
        MissingPartError: numba-cuda, or what it needs, is not installed.
    """
    try:
        importlib.import_module(kernels)
    except (ImportError, MissingPartError) as error:
        raise MissingPartError(
            f"The GPU kernels cannot be loaded: {getattr(error, 'what', error)}.",
            where=f"{flag} cuda",
            next_step="pip install 'voxterra[voxels,gpu]'",
        ) from error


def installed(module: str) -> bool:
    """Whether a package is there, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # a module that is being taken for missing
        return False
