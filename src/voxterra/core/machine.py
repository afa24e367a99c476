"""What kind of machine this is, and what room its disks have."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Literal

Machine = Literal["cpu", "gpu"]


def this_machine() -> Machine:
    """The column of a preset that fits here: "gpu" where the system shows an NVIDIA GPU."""
    return "gpu" if shows_gpu() else "cpu"


def shows_gpu() -> bool:
    """Whether the system shows an NVIDIA GPU.

    Costs no import and touches no driver; whether torch can use the GPU is another question.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return False
    if sys.platform == "linux" and not Path("/dev/dxg").exists():  # WSL has that instead
        return any(Path("/dev").glob("nvidia[0-9]*"))
    return shutil.which("nvidia-smi") is not None


def disk_free_bytes(folder: Path) -> int | None:
    """Space left where `folder` is or will be; None where it is unknown."""
    place = Path(folder).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def gigabytes(size: float) -> str:
    """Such as "12 kB", "34 MB", "3.2 GB" or "24 GB"."""
    if size < 1e6:
        return f"{size / 1e3:.0f} kB"
    if size < 0.1e9:
        return f"{size / 1e6:.0f} MB"
    return f"{size / 1e9:.1f} GB" if size < 9.95e9 else f"{size / 1e9:.0f} GB"
