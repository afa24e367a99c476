"""Options of training voxels by preset and kind of machine: all of them in one table."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any, Literal

from voxterra.core.options import with_values
from voxterra.surface.voxels.config import VoxelConfig

Machine = Literal["cpu", "gpu"]

# Only what differs from `VoxelConfig`. A CPU trains on smaller photos, for fewer iterations, and
# writes a checkpoint about every minute.
VOXEL_PRESETS: dict[str, dict[Machine, dict[str, Any]]] = {
    "preview": {
        "cpu": {"n_iter": 600, "res_width": 480, "ss": 1.0, "sh_degree": 1,
                "max_voxels": 500_000, "save_every": 100, "view_every": 200},
        "gpu": {"n_iter": 2000, "res_width": 960, "ss": 1.0, "sh_degree": 2,
                "max_voxels": 2_000_000},
    },
    "standard": {
        "cpu": {"n_iter": 1500, "res_width": 640, "ss": 1.0, "sh_degree": 1,
                "max_voxels": 1_000_000, "save_every": 100, "view_every": 500},
        "gpu": {"res_width": 1600, "ss": 1.0},
    },
    "high": {
        "cpu": {"n_iter": 4000, "res_width": 960, "ss": 1.0, "sh_degree": 2,
                "max_voxels": 2_000_000, "save_every": 50, "view_every": 500},
        "gpu": {"n_iter": 16_000, "res_width": 2400, "ss": 1.0, "max_voxels": 8_000_000},
    },
}  # fmt: skip


def voxel_preset(name: str, machine: Machine) -> VoxelConfig:
    """Options of the preset `name` on a machine without a GPU ("cpu") or with one ("gpu")."""
    return with_values(VoxelConfig(), VOXEL_PRESETS[name][machine], where=f"preset {name}")


def this_machine() -> Machine:
    """Which column fits here: "gpu" where the system shows an NVIDIA GPU.

    Costs no import and touches no driver; whether torch can use the GPU is another question.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return "cpu"
    there = shutil.which("nvidia-smi") is not None
    if sys.platform == "linux" and not Path("/dev/dxg").exists():  # WSL has that instead
        there = any(Path("/dev").glob("nvidia[0-9]*"))
    return "gpu" if there else "cpu"
