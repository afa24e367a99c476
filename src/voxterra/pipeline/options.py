"""Options as plain values: out of YAML and JSON, and into them.

A group of options is a frozen dataclass; a run's are two levels of them.
"""

from __future__ import annotations

import types
import typing
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from voxterra.errors import FormatError, UsageError
from voxterra.io.atomic import atomic_path
from voxterra.pipeline.names import nearest

T = TypeVar("T")


def plain(value: Any) -> Any:
    """JSON- and YAML-ready form of options; `with_values` reads it back."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return str(value.absolute()) if isinstance(value, Path) else value


def path_options(options: Any) -> dict[str, Path]:
    """The files and folders that a run's options name, by "group.option"."""
    found = {}
    for group in fields(options):
        values = getattr(options, group.name)
        for option in fields(values):
            if isinstance(value := getattr(values, option.name), Path):
                found[f"{group.name}.{option.name}"] = value
    return found


def write_options(options: Any, path: Path) -> None:
    """Write options as YAML.

    Raises:
        OutputError: it cannot be written.
    """
    import yaml

    with atomic_path(path) as temporary:
        temporary.write_text(yaml.safe_dump(plain(options), sort_keys=False), encoding="utf-8")


def read_options(path: Path, base: T) -> T:
    """Options from a YAML file; what it does not name stays as in `base`.

    Raises:
        UsageError: unknown option (the nearest known one is named) or a value of a wrong type.
        FormatError: not a readable YAML file.
    """
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).replace("\n", " ")
        raise FormatError(
            f"The config file cannot be read: {reason}.",
            where=str(path),
            next_step="Give a YAML file such as `depth: {max_size: 800}`.",
        ) from error
    return with_values(base, data or {}, where=str(path))


def with_values(base: T, values: Any, *, where: str, prefix: str = "") -> T:
    """A copy of the config `base` with some values replaced.

    Args:
        base: a frozen dataclass of values and of further such dataclasses.
        values: mapping from option names to values or mappings.
        where: named in errors, with the option.
        prefix: of the option's name.

    Raises:
        UsageError: unknown option or value of a wrong type.
    """
    if not isinstance(values, dict):
        raise UsageError(
            f"Here a group of options is expected, not {values!r}.",
            where=f"{where}: {prefix.rstrip('.') or 'top level'}",
            next_step="Give a mapping, such as `depth: {max_size: 800}`.",
        )
    hints = typing.get_type_hints(type(base))
    known = {f.name for f in fields(base)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in known:
            raise UsageError(
                f"There is no option '{prefix}{key}'{nearest(name, known)}",
                where=where,
                next_step=f"The options here are: {', '.join(sorted(known))}.",
            )
        current = getattr(base, name)
        if is_dataclass(current) and not isinstance(current, type):
            changes[name] = with_values(current, value, where=where, prefix=f"{prefix}{name}.")
        else:
            changes[name] = _converted(value, hints[name], f"{where}: {prefix}{name}")
    return replace(base, **changes)  # type: ignore[type-var]


def _converted(value: Any, hint: Any, where: str) -> Any:
    """`value` as the annotated type; only what loses nothing is converted."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        options = [a for a in args if a is not type(None)]
        for option in options[:-1]:
            try:
                return _converted(value, option, where)
            except UsageError:
                continue
        return _converted(value, options[-1], where)
    if origin is Literal:
        if value in args:
            return value
        choices = ", ".join(str(a) for a in args)
        raise UsageError(
            f"{value!r} is not one of: {choices}.",
            where=where,
            next_step="Give one of them, or leave the option out.",
        )
    if origin is tuple and isinstance(value, list | tuple):
        inner = args[0] if args and args[-1] is Ellipsis else None
        kinds = [inner] * len(value) if inner is not None else list(args)
        if len(kinds) == len(value):
            return tuple(_converted(v, kind, where) for v, kind in zip(value, kinds))
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    wanted = getattr(hint, "__name__", str(hint))
    raise UsageError(
        f"{value!r} is not of the kind that this option takes ({wanted}).",
        where=where,
        next_step="Give a value of that kind, or leave the option out.",
    )
