"""Presets: quick preview, standard quality, and high quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from voxterra.core.machine import Machine, this_machine
from voxterra.core.options import with_values
from voxterra.core.wording import nearest
from voxterra.errors import UsageError
from voxterra.pipeline.folder.run_file import read_run_file
from voxterra.pipeline.folder.workspace import Workspace
from voxterra.pipeline.recipe.config import PresetName, RunConfig, recorded_config
from voxterra.pipeline.recipe.plugins import (
    backend_of,
    backend_sections,
    options_of,
    with_options,
)
from voxterra.pipeline.recipe.surface_files import backend_that_made
from voxterra.surface.backend import BACKENDS

# Only what differs from the stages' own defaults, which are those of "standard". Each surface
# backend has presets of its own (`SurfaceBackend.preset`).
PRESETS: dict[PresetName, dict[str, dict[str, object]]] = {
    "preview": {
        "sfm": {"max_image_size": 1000, "max_features": 4096},
        "depth": {"max_size": 800, "color_max_size": 2000},
        "mesh": {"max_faces": 400_000},
        "texture": {"max_atlas_px": 4096},
    },
    "standard": {},
    "high": {
        "sfm": {"max_image_size": 3200, "max_features": 12_000},
        "depth": {"max_size": 3200},
        "mesh": {"max_faces": 4_000_000},
        "texture": {"max_atlas_px": 16_384},
    },
}

DEFAULT_BACKEND = "fusion"
"""What `--backend auto` means where no surface is there yet. Another one is to be chosen where it
was measured to make the better surface in the same time (docs/backends.md)."""


def preset(name: PresetName, machine: Machine | None = None) -> RunConfig:
    """Options of a preset: `preview`, `standard` or `high`.

    Args:
        name: of the preset.
        machine: the kind of machine that backends run on; None: this one.

    Raises:
        UsageError: there is no such preset.
    """
    if name not in PRESETS:
        raise UsageError(
            f"There is no preset '{name}'{nearest(name, PRESETS)}",
            where="--preset",
            next_step=f"The presets are: {', '.join(PRESETS)}.",
        )
    machine = machine or this_machine()
    config = with_values(RunConfig(), PRESETS[name], where=f"preset {name}")
    config = replace(config, preset=name, machine=machine)
    for backend in BACKENDS.available().values():
        config = with_options(config, backend.name, backend.preset(name, machine))
    return config


def settled(config: Any, workspace: Workspace) -> Any:
    """A `RunConfig` as it holds on this machine: no "auto", and the preset's options of the
    backend for this kind of machine.

    A surface that is in the run folder decides first. So a run that was trained on another machine
    stays as it is when the same command is given on this one.
    """
    made = backend_that_made(workspace)
    if config.backend == "auto":
        config = replace(config, backend=made or DEFAULT_BACKEND)
    recorded = read_run_file(workspace.root).get("config", {}) if made == config.backend else {}
    return _for_machine(config, recorded)


def _for_machine(config: Any, recorded: Mapping[str, Any]) -> Any:
    """Options of the backend that are the preset's, as the preset has them for the machine that
    made the surface from the same preset (`recorded`, the options of that run), or else for this
    one; options that differ from the preset stay as they are."""
    backend, options = backend_of(config), options_of(config, config.backend)
    if options is None:
        return config
    given = _changes(options, backend.preset(config.preset, config.machine))
    on: dict[str, Machine] = {"cpu": "cpu", "cuda": "gpu"}
    here = on.get(getattr(options, "device", "auto")) or this_machine()
    if recorded.get("preset") == config.preset and recorded.get("machine") in ("cpu", "gpu"):
        earlier = recorded_config(_known(recorded), where="the recorded options")
        its_own = backend.preset(earlier.preset, earlier.machine)
        before = _changes(options_of(earlier, config.backend), its_own)
        if _counting(before, options) == _counting(given, options):
            here = earlier.machine
    fresh = replace(backend.preset(config.preset, here), **given)
    return replace(with_options(config, config.backend, fresh), machine=here)


def _changes(options: Any, base: Any) -> dict[str, Any]:
    """Values of `options` that differ from those of `base`, by name."""
    return {k: v for k, v in vars(options).items() if v != getattr(base, k)}


def _counting(values: Mapping[str, Any], options: Any) -> dict[str, Any]:
    """Options that the result depends on."""
    names = {f.name for f in fields(options) if f.metadata.get("affects_result", True)}
    return {name: value for name, value in values.items() if name in names}


def _known(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded options of backends, with the preset and machine they started from."""
    names = ("preset", "machine", "plugins", "surface", *backend_sections(but=""))
    return {name: recorded[name] for name in names if name in recorded}
