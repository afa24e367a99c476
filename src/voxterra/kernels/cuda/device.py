"""Whether kernels can run on an NVIDIA GPU here."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import Literal

from voxterra.errors import MissingPartError, UsageError

logger = logging.getLogger(__name__)


def choose_device(
    asked: Literal["auto", "cpu", "cuda"], kernels: str, *, flag: str = "--device"
) -> Literal["cpu", "cuda"]:
    """Where to work; auto: on a GPU where torch sees one and the kernels can be loaded.

    Args:
        asked: the option's value.
        kernels: name of the module that holds the CUDA kernels.
        flag: the option, for messages.

    Raises:
        UsageError: CUDA is asked for and torch sees no GPU.
        MissingPartError: CUDA is asked for, and torch or numba-cuda is not installed.
    """
    must = asked == "cuda"
    if asked == "cpu":
        return "cpu"
    if not _installed("torch"):
        if must:
            raise MissingPartError(
                "Work on a GPU needs PyTorch, which is not installed.",
                where=f"{flag} cuda",
                next_step=f"pip install 'voxterra[voxels,gpu]', or give {flag} cpu.",
            )
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        if must:
            raise UsageError(
                "torch sees no NVIDIA GPU.",
                where=f"{flag} cuda",
                next_step=f"Work on the CPU ({flag} cpu), or install torch for your GPU's CUDA.",
            )
        return "cpu"
    try:
        importlib.import_module(kernels)
    except (ImportError, MissingPartError) as error:
        reason = getattr(error, "what", error)
        if must:
            raise MissingPartError(
                f"The GPU kernels cannot be loaded: {reason}.",
                where=f"{flag} cuda",
                next_step="pip install 'voxterra[voxels,gpu]'",
            ) from error
        logger.warning(
            "A GPU is there, but its kernels cannot be loaded (%s); the CPU works instead.", reason
        )
        return "cpu"
    return "cuda"


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # a module that is being taken for missing
        return False
