"""Read and write options as plain values of YAML and JSON.

A group of options is a frozen dataclass; a run's options are such groups, and a few without one.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from voxterra.core.options import plain, with_values
from voxterra.errors import FormatError, InputError, UsageError
from voxterra.io.files.atomic import atomic_path

T = TypeVar("T")


def path_options(options: Any, prefix: str = "") -> dict[str, Path]:
    """Files and folders named by a run's options, by "group.option"."""
    found: dict[str, Path] = {}
    for option in fields(options):
        name, value = f"{prefix}{option.name}", getattr(options, option.name)
        if is_dataclass(value):
            found |= path_options(value, f"{name}.")
        elif isinstance(value, Path):
            found[name] = value
    return found


def write_options(options: Any, path: Path) -> None:
    """Write options as YAML.

    Raises:
        OutputError: it cannot be written.
    """
    import yaml

    with atomic_path(path) as temporary:
        temporary.write_text(yaml.safe_dump(plain(options), sort_keys=False), encoding="utf-8")


def _reason(error: Exception) -> str:
    """In one line, with the place in the file where that is known."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if isinstance(error, UnicodeDecodeError):
        return "it is not text (UTF-8)"
    if isinstance(error, RecursionError):
        return "its values are nested too deep"
    if mark is None or problem is None:
        return " ".join(str(error).split())
    return f"{problem}, in line {mark.line + 1}, column {mark.column + 1}"


def read_options(path: Path, base: T) -> T:
    """Read options from a YAML file; all others stay as in `base`.

    Raises:
        UsageError: unknown option (the nearest known one is named) or a value of a wrong type.
        InputError, FormatError: as of `read_values`.
    """
    return with_values(base, read_values(path), where=str(path))


def read_values(path: Path) -> dict[str, Any]:
    """Read a YAML file of options.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not YAML, or no mapping.
    """
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"The config file cannot be read: {error.strerror or error}.",
            where=str(path),
            next_step="Check the path; a run leaves its options in config.yaml of its folder.",
        ) from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise FormatError(
            f"The config file is not YAML: {_reason(error)}.",
            where=str(path),
            next_step="Give a YAML file such as `depth: {max_size: 800}`.",
        ) from error
    if not isinstance(data or {}, dict):
        raise UsageError(
            f"The config file holds no options, but {data!r}.",
            where=str(path),
            next_step="Give a mapping, such as `depth: {max_size: 800}`.",
        )
    return dict(data or {})
