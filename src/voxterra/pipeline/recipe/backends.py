"""What makes the surface: `fusion` of depth maps, or `voxels` trained on the photos.

docs/backends.md tells which is when, with the measured figures that the rule stands on.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from typing import Any, Literal

from voxterra.errors import MissingPartError, UsageError
from voxterra.pipeline.folder.run_file import read_run_file
from voxterra.pipeline.folder.workspace import Workspace
from voxterra.pipeline.recipe.voxel_presets import (
    VOXEL_PRESETS,
    Machine,
    this_machine,
    voxel_preset,
)
from voxterra.surface.voxels.config import VoxelConfig

Backend = Literal["auto", "fusion", "voxels"]

MODEL_FILE = "model.npz"
"""In the folder of the surface stage, where voxels made the surface."""

VOXELS_VERSION = 6
"""Raise it when voxels come out otherwise for the same input; fused surfaces stay as they are (the
stage's `code_version` counts for both)."""

# Where to train, and what is kept and shown meanwhile: the result is the same.
_NO_RESULT = {"device", "data_device", "save_every", "view_every", "subdivide_save_gpu"}
# Options of fusion that its point cloud depends on; runs with voxels have that cloud too.
_OF_CLOUD = (
    "voxel_size_m",
    "voxel_factor",
    "min_views",
    "max_footprint_voxels",
    "bounds_m",
    "cloud_voxel_size_m",
    "max_points",
    "cloud_tolerance",
    "cloud_neighbors",
)


def choose_backend() -> Literal["fusion", "voxels"]:
    """What `--backend auto` means where no surface is there yet.

    Voxels are to be chosen where they were measured to make the better surface in the same time;
    no kind of machine has shown that yet (docs/backends.md).
    """
    return "fusion"


def settled(config: Any, workspace: Workspace) -> Any:
    """A `RunConfig` as it holds on this machine: no "auto", and the preset's options of training
    for this kind of machine.

    A surface that is in the run folder already decides first. So a run that was trained on
    another machine stays as it is when the same command is given on this one.
    """
    record = workspace.record("surface")
    made = None if record is None else "voxels" if MODEL_FILE in record.files else "fusion"
    if config.backend == "auto":
        config = replace(config, backend=made or choose_backend())
    if config.backend == "voxels":
        options = read_run_file(workspace.root).get("config", {}) if made == "voxels" else {}
        voxels = _for_machine(config.voxels, options.get("voxels"))
        config = replace(config, voxels=voxels)
    return config


def surface_options(config: Any) -> dict[str, Any]:
    """What the surface depends on among the options of a run, by section, for its fingerprint.

    Fusion does not depend on how voxels would be trained, nor the other way round. Where a
    training runs makes no difference, so that a run may move between machines.
    """
    if config.backend != "voxels":
        return {"surface": config.surface}
    return {
        "backend": "voxels",
        "version": VOXELS_VERSION,
        "surface": {name: getattr(config.surface, name) for name in _OF_CLOUD},
        "voxels": _counting(config.voxels),
    }


def require_voxels(config: Any) -> None:
    """Find out, before hours of other work, whether voxels can be trained here as asked for.

    Raises:
        MissingPartError: torch, or the GPU kernels that are asked for, are not installed.
        UsageError: a GPU is asked for and there is none.
    """
    if config.backend != "voxels":
        return
    try:
        found = importlib.util.find_spec("torch") is not None
    except ValueError:  # a module that is being taken for missing
        found = False
    if not found:
        raise MissingPartError(
            "The backend voxels needs PyTorch, which is not installed.",
            where="--backend voxels",
            next_step="pip install 'voxterra[voxels]' (for an NVIDIA GPU: 'voxterra[voxels,gpu]'), "
            "or give --backend fusion.",
        )
    if "cuda" in (config.voxels.device, config.voxels.data_device):
        from voxterra.surface.voxels.device import require_devices

        with named_as_in_a_run():
            require_devices(config.voxels)


@contextmanager
def named_as_in_a_run() -> Iterator[None]:
    """Options of `voxterra train` in errors get the names that they have in a run."""
    try:
        yield
    except (UsageError, MissingPartError) as error:
        words = (error.where or "").replace("--", "").split(", ")
        flags = ", ".join(
            " ".join((f"--voxels.{name.replace('_', '-')}", *value))
            for name, *value in (word.split() for word in words)
        )
        step = re.sub(
            r"--(\w+)", lambda m: f"--voxels.{m[1].replace('_', '-')}", error.next_step or ""
        )
        raise type(error)(error.what, where=flags, next_step=step) from error


def _for_machine(voxels: VoxelConfig, recorded: Mapping[str, Any] | None) -> VoxelConfig:
    """Options that are a preset's, as the preset has them for the machine of the earlier training
    (`recorded`, its options) or else for this one; other options as they are."""
    base = _preset_of(_counting(voxels))
    if base is None:
        return voxels
    name, machine, given = base
    here: Machine = {"auto": this_machine(), "cpu": "cpu", "cuda": "gpu"}[voxels.device]
    earlier = None if recorded is None else _preset_of(_counting(recorded))
    if earlier is not None and (earlier[0], earlier[2]) == (name, given):
        here = earlier[1]
    before, own = voxel_preset(name, machine), vars(voxels)
    changed = {k: v for k, v in own.items() if v != getattr(before, k)}
    return replace(voxel_preset(name, here), **changed)


def _preset_of(values: Mapping[str, Any]) -> tuple[str, Machine, dict[str, Any]] | None:
    """The preset and kind of machine that options come from, and those that differ from it.

    The nearest counts; None where two are equally near, or options that come from no preset are.
    """

    def changed(base: VoxelConfig) -> dict[str, Any]:
        before = _counting(base)
        return {k: v for k, v in values.items() if v != before[k]}

    found = [
        (name, machine, changed(voxel_preset(name, machine)))
        for name, machines in VOXEL_PRESETS.items()
        for machine in machines
    ]
    nearest, second = sorted(found, key=lambda one: len(one[2]))[:2]
    others = min(len(second[2]), len(changed(VoxelConfig())))
    return nearest if len(nearest[2]) < others else None


def _counting(voxels: VoxelConfig | Mapping[str, Any]) -> dict[str, Any]:
    """Values that the result depends on, JSON-like."""
    values = asdict(voxels) if isinstance(voxels, VoxelConfig) else voxels
    names = [f.name for f in fields(VoxelConfig) if f.name in values and f.name not in _NO_RESULT]
    plain = ((name, values[name]) for name in names)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain}
