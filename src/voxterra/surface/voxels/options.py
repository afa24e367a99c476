"""Options of a training, from where they are given: defaults, a preset, config files, command line.

A later source overrides an earlier one. Config files are YAML; their sections (`model:`, `data:`,
`regularizer:` ...) are headings only, since SVRaster's and SVRecon's users have files with them.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import logging
import math
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from voxterra.core.options import with_values
from voxterra.core.wording import nearest
from voxterra.errors import FormatError, UsageError
from voxterra.surface.voxels import config as config_module
from voxterra.surface.voxels.config import VoxelConfig

logger = logging.getLogger(__name__)

PRESETS = Path(__file__).parent / "presets"
# Where a number must lie: (lowest, highest).
_RANGES: dict[str, tuple[float, float]] = {
    "ss": (1.0, 4.0),
    "seed": (0, 2**31 - 1),
    "bound_scale": (1e-6, math.inf),
    "outside_level": (0, 12),
    "init_level": (1, 16),
    "init_n_level": (0, 16),
    "max_level": (1, 16),
    "max_voxels": (8, math.inf),
    "n_iter": (1, math.inf),
    "sh_degree": (0, 3),
    "n_samp_per_vox": (1, 16),
    "adapt_every": (1, math.inf),
    "subdivide_share": (0.0, 1.0),
    "sharpness": (1e-3, math.inf),
    "sharpness_growth": (1e-3, math.inf),
    "optim_beta1": (0.0, 0.9999999),
    "optim_beta2": (0.0, 0.9999999),
    "optim_eps": (1e-30, math.inf),
}


@dataclass(frozen=True)
class Training:
    """What one training is to do.

    Attributes:
        source_path: folder of the photos with their cameras, or of a run.
        image_dir_name: folder of the photos in it.
        config: all options, resolved.
    """

    source_path: Path | None
    image_dir_name: str
    config: VoxelConfig


def resolve(
    values: Mapping[str, Any],
    *,
    preset: str | None = None,
    cfg_files: Iterable[Path] = (),
    base: Training = Training(None, "images", VoxelConfig()),
    where: str = "options",
) -> Training:
    """Options by precedence: `base`, then the preset, then config files in order, then `values`.

    Args:
        values: by name, those of `VoxelConfig` with `source_path` and `image_dir_name`.
        preset: name of a file in `presets/`.
        cfg_files: YAML files.
        base: what holds where nobody says otherwise.
        where: names `values` in errors.

    Raises:
        UsageError: an unknown option (with the nearest known one, and the file), a value of a
            wrong kind or out of its range, or an unknown preset.
        FormatError: a file is no YAML.
    """
    sources = [*_sources(preset, cfg_files), (where, values)]
    training = _layered(base, sources)
    _check_background(training.config, sources)
    return replace(training, config=checked(training.config))


def unchecked(
    preset: str | None = None,
    cfg_files: Iterable[Path] = (),
    *,
    base: Training = Training(None, "images", VoxelConfig()),
) -> Training:
    """What a command line starts from: `base`, then the preset, then config files in order. Values
    may contradict each other; `resolve` checks them together with those of the command line.

    Raises:
        UsageError, FormatError: as of `resolve`.
    """
    return _layered(base, _sources(preset, cfg_files))


def _sources(preset: str | None, cfg_files: Iterable[Path]) -> list[tuple[str, Mapping[str, Any]]]:
    """Values, each with where they come from."""
    sources: list[tuple[str, Mapping[str, Any]]] = []
    if preset is not None:
        sources.append((f"the preset {preset}", read_values(preset_file(preset))))
    return sources + [(str(file), read_values(Path(file))) for file in cfg_files]


def _layered(base: Training, sources: Sequence[tuple[str, Mapping[str, Any]]]) -> Training:
    for name, given in sources:
        base = _with(base, given, name)
    return base


def _check_background(
    config: VoxelConfig, sources: Sequence[tuple[str, Mapping[str, Any]]]
) -> None:
    """Refuse a background of both colours, and say where each comes from.

    Raises:
        UsageError: it is white and black.
    """
    if not (config.white_background and config.black_background):
        return
    by = dict.fromkeys(("white_background", "black_background"), "the training so far")
    for name, given in sources:
        by |= {key: name for key in by if key in {str(k).replace("-", "_") for k in given}}
    order = ["the training so far", *(name for name, _ in sources)]
    first = min(by, key=lambda key: order.index(by[key]))
    raise UsageError(
        "The background cannot be white and black: "
        f"white comes from {by['white_background']}, black from {by['black_background']}.",
        where="--white_background, --black_background",
        next_step=f"Add --no_{first} to take off what comes from {by[first]}.",
    )


def preset_names() -> tuple[str, ...]:
    """The presets there are."""
    return tuple(sorted(path.stem for path in PRESETS.glob("*.yaml")))


def preset_file(name: str) -> Path:
    """The file of a preset.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in preset_names():
        raise UsageError(
            f"There is no preset '{name}'{nearest(name, preset_names())}",
            where="--preset",
            next_step=f"Give one of: {', '.join(preset_names())}.",
        )
    return PRESETS / f"{name}.yaml"


def read_values(file: Path) -> dict[str, Any]:
    """Values of a YAML file by option, its sections flattened.

    Raises:
        FormatError: not a readable YAML file of a mapping.
        UsageError: an option stands there twice with different values.
    """
    import yaml

    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        if not isinstance(data, dict):
            raise ValueError("it holds no options")
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(
            f"The config file cannot be read: {reason}.",
            where=str(file),
            next_step="Give a YAML file such as `n_iter: 8000`, with or without sections.",
        ) from error
    return dict(_flat(data, file))


_WITHOUT_EFFECT = {"subdivide_save_gpu": False}
"""Options that published configs set, kept so that they can be read."""


def checked(config: VoxelConfig) -> VoxelConfig:
    """The options, if all of them can be.

    Raises:
        UsageError: a number out of its range, or a bound that holds nothing.
    """
    for field in fields(VoxelConfig):
        value = getattr(config, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        low, high = _RANGES.get(field.name, (0.0, math.inf))
        if not (math.isfinite(value) and low <= value <= high):
            limit = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
            raise UsageError(
                f"{value:g} is no value for {field.name}.",
                where=f"--{field.name}",
                next_step=f"Give {limit}: {option_help()[field.name]}",
            )
    for name, default in _WITHOUT_EFFECT.items():
        if getattr(config, name) != default:
            logger.warning("--%s has no effect here (docs/voxels.md).", name)
    for name in ("max_level", "init_level", "init_n_level"):
        inside = getattr(config, name)
        if config.outside_level + inside > 16:
            raise UsageError(
                f"{config.outside_level} levels outside and {inside} inside of the bound are "
                "more than the 16 there are.",
                where=f"--outside_level, --{name}",
                next_step="Lower one of them.",
            )
    box = config.bound
    if box is not None and not all(
        math.isfinite(a) and math.isfinite(b) and a < b for a, b in zip(box[:3], box[3:])
    ):
        raise UsageError(
            "The bound is no box.",
            where="--bound",
            next_step="Give x_min y_min z_min x_max y_max z_max in world, each min below its max.",
        )
    return config


def _with(training: Training, values: Mapping[str, Any], where: str) -> Training:
    """`training` with further values."""
    kinds = option_kinds()
    values = {str(key).replace("-", "_"): value for key, value in values.items()}
    for name in values:
        if name not in kinds:
            raise UsageError(
                f"There is no option '{name}'{nearest(name, kinds)}",
                where=where,
                next_step="voxterra train --help lists the options.",
            )
    values = {name: _number(value, kinds[name]) for name, value in values.items()}
    out = training
    if (source := values.pop("source_path", None)) is not None:
        out = replace(out, source_path=Path(str(source)))
    if (folder := values.pop("image_dir_name", None)) is not None:
        out = replace(out, image_dir_name=str(folder))
    return replace(out, config=with_values(out.config, values, where=where))


def _number(value: Any, kind: Any) -> Any:
    """What people mean by numbers: YAML takes 1e-8 for text, and 8000.0 is an integer too."""
    if kind is float and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    if kind is int and isinstance(value, str | float):
        try:
            number = float(value)
        except ValueError:
            return value
        return int(number) if number.is_integer() else value
    if isinstance(value, list | tuple):
        return [_number(v, float) for v in value]
    return value


def _flat(data: Mapping[str, Any], file: Path) -> Iterable[tuple[str, Any]]:
    seen: dict[str, Any] = {}
    for key, value in data.items():
        pairs = _flat(value, file) if isinstance(value, dict) else [(str(key), value)]
        for name, inner in pairs:
            if name in seen and seen[name] != inner:
                raise UsageError(
                    f"The option '{name}' stands there twice, as {seen[name]} and as {inner}.",
                    where=str(file),
                    next_step="Leave one of them.",
                )
            seen[name] = inner
    return seen.items()


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
