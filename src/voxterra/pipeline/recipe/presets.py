"""Presets: quick look, usual quality, and the best this machine's time allows."""

from __future__ import annotations

from dataclasses import replace

from voxterra.core.options import with_values
from voxterra.core.wording import nearest
from voxterra.errors import UsageError
from voxterra.pipeline.recipe.config import RunConfig
from voxterra.pipeline.recipe.voxel_presets import this_machine, voxel_preset

# Only what differs from the stages' own defaults, which are those of "standard"; the options of
# training voxels stand in `voxel_presets`.
PRESETS: dict[str, dict[str, dict[str, object]]] = {
    "preview": {
        "sfm": {"max_image_size": 1000, "max_features": 4096},
        "depth": {"max_size": 800, "color_max_size": 2000},
        "surface": {"voxel_factor": 2.0},
        "mesh": {"max_faces": 300_000},
        "texture": {"max_atlas_px": 4096},
    },
    "standard": {},
    "high": {
        "sfm": {"max_image_size": 3200, "max_features": 12_000},
        "depth": {"max_size": 3200},
        "mesh": {"max_faces": 3_000_000},
        "texture": {"max_atlas_px": 16_384},
    },
}


def preset(name: str) -> RunConfig:
    """Options of a preset: `preview`, `standard` or `high`.

    Those of training voxels are for the kind of machine that this is.

    Raises:
        UsageError: there is no such preset.
    """
    if name not in PRESETS:
        raise UsageError(
            f"There is no preset '{name}'{nearest(name, PRESETS)}",
            where="--preset",
            next_step=f"The presets are: {', '.join(PRESETS)}.",
        )
    config = with_values(RunConfig(), PRESETS[name], where=f"preset {name}")
    return replace(config, voxels=voxel_preset(name, this_machine()))
