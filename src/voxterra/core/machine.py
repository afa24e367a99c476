"""What kind of machine this is."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def shows_gpu() -> bool:
    """Whether the system shows an NVIDIA GPU.

    Costs no import and touches no driver; whether torch can use the GPU is another question.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return False
    if sys.platform == "linux" and not Path("/dev/dxg").exists():  # WSL has that instead
        return any(Path("/dev").glob("nvidia[0-9]*"))
    return shutil.which("nvidia-smi") is not None
