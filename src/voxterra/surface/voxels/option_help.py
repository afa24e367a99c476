"""What the options of `VoxelConfig` are called, which belong together, and what they do."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import typing
from dataclasses import fields
from pathlib import Path
from typing import Any

from voxterra.surface.voxels import config as config_module
from voxterra.surface.voxels.config import VoxelConfig

# First option of each group, for people who read the help; the order is that of VoxelConfig.
_GROUP_STARTS = {
    "res_downscale": "images",
    "bound_mode": "bound and start",
    "n_iter": "procedure",
    "geo_lr": "optimiser",
    "photo_loss": "losses",
}


def option_groups() -> dict[str, list[str]]:
    """Names of all options of `VoxelConfig` by group."""
    groups: dict[str, list[str]] = {}
    title = next(iter(_GROUP_STARTS.values()))
    for field in fields(VoxelConfig):
        title = _GROUP_STARTS.get(field.name, title)
        groups.setdefault(title, []).append(field.name)
    return groups


@functools.cache
def option_help() -> dict[str, str]:
    """What each option does: the docstrings below the fields of `VoxelConfig`, on one line."""
    tree = ast.parse(inspect.getsource(config_module))
    body = next(
        n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "VoxelConfig"
    )
    out = {}
    for field, text in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            out[field.target.id] = " ".join(str(text.value.value).split())
    return out


def option_kinds() -> dict[str, Any]:
    """Annotated types of all options, with `source_path` and `image_dir_name`."""
    return {"source_path": Path, "image_dir_name": str, **typing.get_type_hints(VoxelConfig)}
