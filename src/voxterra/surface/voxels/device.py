"""Where to train, how much memory is free there, and how many voxels fit."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from voxterra.errors import MissingPartError
from voxterra.kernels.cuda import device as cuda_device
from voxterra.surface.voxels.config import VoxelConfig

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

KERNELS = "voxterra.kernels.voxels.cuda.ops_cuda"
"""Module of the GPU kernels."""
CPU_BYTES = 520
"""Bytes a voxel that a CPU needs more than a GPU; measured (peak of 0.9 million voxels, degree 3,
four views of 240x180 pixels: 1718 bytes a voxel in all)."""

LIBRARY_BYTES = 250_000_000
"""What CUDA's libraries and kernels take on a GPU once a training runs, beyond what they have taken
when the voxels are counted; measured on an H200 (312 MB beyond CUDA's context)."""
_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def require_torch(*, where: str = "torch", instead: str = "") -> None:
    """Find out whether what trains and renders voxels is installed.

    Args:
        where: what asked for it, for the message.
        instead: what else can be done, for the message.

    Raises:
        MissingPartError: torch is not installed.
    """
    if not cuda_device.installed("torch"):
        raise MissingPartError(
            "Sparse voxels need PyTorch, which is not installed.",
            where=where,
            next_step="pip install 'voxterra[voxels]' (for an NVIDIA GPU: "
            f"'voxterra[voxels,gpu]'){instead}.",
        )


def choose_device(config: VoxelConfig) -> torch.device:
    """The device that `config.device` asks for; auto: a GPU where kernels can run on one.

    Raises:
        UsageError: CUDA is asked for and torch sees no GPU.
        MissingPartError: CUDA is asked for and numba-cuda is not installed.
    """
    import torch

    return torch.device(cuda_device.choose_device(config.device, KERNELS))


def require_devices(config: VoxelConfig) -> torch.device:
    """`choose_device`, and whether the images can lie where they are asked to.

    Raises:
        UsageError: CUDA is asked for, for the training or its images, and torch sees no GPU.
        MissingPartError: as of `choose_device`.
    """
    device = choose_device(config)
    if config.data_device == "cuda":
        cuda_device.require_torch_gpu(flag="--data_device")
    return device


def memory_of(device: torch.device) -> str:
    """Whose memory a training on `device` fills, for messages."""
    return "the GPU's memory" if device.type == "cuda" else "this machine's memory"


def state_bytes(degree: int) -> int:
    """Memory of each voxel of a state, by estimate [bytes]: colours and their two moments, (about
    1.2) corners with theirs, the octree."""
    return 4 * (9 * (degree + 1) ** 2 + 16)


def voxel_bytes(degree: int, device: torch.device) -> int:
    """Memory that training takes for each voxel at most, its state included, by estimate [bytes].

    Most is needed while voxels are dropped or split, for one more copy of the colours, the new
    octree and the corners' way there; measured on a GPU, 1190 to 1220 bytes of 1.15 to 2 million
    voxels of degree 3 (an iteration: 890). On a CPU each entry has a gradient of its own.
    """
    bytes_ = state_bytes(degree) + 4 * (3 * (degree + 1) ** 2 + 100)
    return bytes_ if device.type == "cuda" else bytes_ + CPU_BYTES


def free_bytes(device: torch.device) -> int | None:
    """Memory that may still be taken, what torch keeps for later included; None: not known."""
    if device.type != "cuda":
        return available_bytes()
    import torch

    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def fitting_voxels(
    config: VoxelConfig, device: torch.device, known: int = 0, pixels: int = 0
) -> int:
    """`config.max_voxels`, or as many as the free memory takes, with a warning.

    Args:
        config: how many are wanted, of what degree.
        device: where.
        known: voxels whose state is there already.
        pixels: memory of an iteration's pixels [bytes] (`targets.pixel_bytes`).
    """
    free = free_bytes(device)
    if free is None:
        return config.max_voxels
    usable = 0.8 * free
    # Libraries may be there already, and images can be made smaller: half of it is for voxels.
    if device.type == "cuda":
        usable = 0.8 * (free - min(0.5 * free, LIBRARY_BYTES))
        pixels *= 2  # a recording of the losses has a pool of its own
    usable -= min(0.5 * usable, pixels)
    usable += known * state_bytes(config.sh_degree)
    fits = max(known, int(usable / voxel_bytes(config.sh_degree, device)))
    if fits < config.max_voxels:
        logger.warning(
            "Only %.1f GB of %s are free: at most %d voxels instead of %d.",
            free / 1e9, memory_of(device), fits, config.max_voxels,
        )  # fmt: skip
        return fits
    return config.max_voxels


def available_bytes() -> int | None:
    """The least of what the system has, its control group (a container) and the process's own
    limit (`ulimit -v`) leave; None where the system does not say (not Linux).
    """
    return min((*_of_system(), *_of_groups(), *_of_limit()), default=None)


def _of_system() -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        for line in (_PROC / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _of_groups() -> Iterator[int]:
    """Of the process's control group and those above it; pages of files can be given back."""
    with suppress(OSError, ValueError):
        for line in (_PROC / "self" / "cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds not in ("", "memory"):
                continue
            root, names = _GROUPS, ("memory.max", "memory.current", "inactive_file")
            if kinds == "memory":  # the first version of control groups
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                root = _GROUPS / "memory"
            folder = root / path.lstrip("/")
            for group in (folder, *folder.parents):
                if group == root or root in group.parents:
                    yield from _left(group, *names)


def _left(group: Path, limit: str, used: str, files: str) -> Iterator[int]:
    with suppress(OSError, ValueError):  # "max" is no number: no limit
        most, now = (int((group / name).read_text()) for name in (limit, used))
        given_back = 0
        with suppress(OSError, ValueError):
            entries = dict(
                line.split() for line in (group / "memory.stat").read_text().splitlines()
            )
            given_back = int(entries.get(files, 0))
        yield max(0, most - now + given_back)


def _of_limit() -> Iterator[int]:
    with suppress(ImportError, OSError, ValueError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            pages = int((_PROC / "self" / "statm").read_text().split()[0])
            yield max(0, most - pages * resource.getpagesize())
