"""Options of a run's training of voxels by preset and kind of machine: all in one table."""

from __future__ import annotations

from typing import Any

from voxterra.core.machine import Machine
from voxterra.core.options import with_values
from voxterra.surface.voxels.config import VoxelConfig

# A run's training starts from depth maps that are good already: voxels of two pixels around their
# surface at once, so sharp that they lie where the photos say (thick ones came out 1 to 2 cm low),
# and small steps. What holds it: the start itself as a measurement, a Laplacian that does not fade
# (together they average the noise of stereo out of open ground, which photos alone roughen), and
# neighbouring views. Chosen by hand on synthetic_uav; docs/backends.md has the figures.
_FROM_DEPTH: dict[str, Any] = {
    "ss": 1.0, "init_pixels": 2.0, "init_band": 0.2, "sharpness": 7.0, "adapt_every": 8000,
    "geo_lr": 0.005, "prior_until": 8000, "lambda_prior_depth": 3.0, "lambda_start": 0.3,
    "lambda_ls_density": 0.1, "grid_decay": 1.0, "lambda_ge_density": 0.01,
    "lambda_normal_dmean": 0.01, "lambda_normal_dmed": 0.01, "lambda_mv_ncc": 0.3,
}  # fmt: skip

# In few iterations the noise of the photos does not average out of the surface.
_FEW_ITERATIONS: dict[str, Any] = {
    "lambda_normal_dmean": 0.1, "lambda_normal_dmed": 0.1,
}  # fmt: skip

# Only what differs from `VoxelConfig` and from the above. A CPU trains on smaller photos, for fewer
# iterations.
VOXEL_PRESETS: dict[str, dict[Machine, dict[str, Any]]] = {
    "preview": {
        "cpu": {"n_iter": 240, "res_width": 720, "sh_degree": 1,
                "max_voxels": 3_400_000, "view_every": 125},
        "gpu": {"n_iter": 2000, "res_width": 960, "sh_degree": 2, "max_voxels": 4_000_000},
    },
    "standard": {
        "cpu": {"n_iter": 800, "res_width": 800, "sh_degree": 1,
                "max_voxels": 4_000_000, "view_every": 200},
        "gpu": {"n_iter": 5000, "res_width": 1600, "max_voxels": 8_000_000},
    },
    "high": {
        "cpu": {"n_iter": 4000, "res_width": 960, "sh_degree": 2,
                "max_voxels": 6_000_000, "view_every": 500},
        "gpu": {"n_iter": 16_000, "res_width": 2400, "max_voxels": 16_000_000},
    },
}  # fmt: skip
for _machines in VOXEL_PRESETS.values():
    for _machine, _options in _machines.items():
        few = _FEW_ITERATIONS if _machine == "cpu" else {}
        _machines[_machine] = _FROM_DEPTH | few | _options


def voxel_preset(name: str, machine: Machine) -> VoxelConfig:
    """Options of the preset `name` on a machine without a GPU ("cpu") or with one ("gpu")."""
    return with_values(VoxelConfig(), VOXEL_PRESETS[name][machine], where=f"preset {name}")
