"""Convert between options (nested frozen dataclasses) and plain values of YAML and JSON."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from voxterra.core.wording import nearest
from voxterra.errors import UsageError

T = TypeVar("T")


def plain(value: Any) -> Any:
    """JSON- and YAML-ready form of options; `with_values` reads it back."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return str(value.absolute()) if isinstance(value, Path) else value


def with_values(base: T, values: Any, *, where: str, prefix: str = "", root: Any = None) -> T:
    """A copy of the config `base` with some values replaced.

    Args:
        base: a frozen dataclass of values and of further such dataclasses.
        values: mapping from option names to values or mappings.
        where: named in errors, with the option.
        prefix: of the option's name.
        root: the whole config that `base` is a group of; None = `base` itself.

    Raises:
        UsageError: unknown option or value of a wrong type.
    """
    if not isinstance(values, dict):
        raise UsageError(
            f"A group of options is expected here, not {values!r}.",
            where=f"{where}: {prefix.rstrip('.') or 'top level'}",
            next_step="Give a mapping, such as `depth: {max_size: 800}`.",
        )
    root = base if root is None else root
    hints = typing.get_type_hints(type(base))
    known = {f.name for f in fields(base)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name in getattr(type(base), "REPLACED", {}):
            raise option_replaced(f"{prefix}{name}", type(base).REPLACED[name], where)  # type: ignore[attr-defined]
        if name not in known:
            raise UsageError(
                f"There is no option '{prefix}{key}'{_nearest_option(name, known, root)}",
                where=where,
                next_step=f"The options here are: {', '.join(sorted(known))}.",
            )
        current = getattr(base, name)
        if is_dataclass(current) and not isinstance(current, type):
            inner = f"{prefix}{name}."
            changes[name] = with_values(current, value, where=where, prefix=inner, root=root)
        else:
            changes[name] = converted(value, hints[name], f"{where}: {prefix}{name}")
    return replace(base, **changes)  # type: ignore[type-var]


def _nearest_option(name: str, known: set[str], root: Any) -> str:
    """End of a sentence with the nearest option, of this group or by its name in another."""
    here = nearest(name, known)
    return here if here != "." else nearest(name, [o for o in _all_options(root) if "." in o])


def _all_options(config: Any, prefix: str = "") -> Iterator[str]:
    for field in fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if is_dataclass(value):
            yield from _all_options(value, f"{name}.")
        else:
            yield name


def option_replaced(old: str, new: str, where: str) -> UsageError:
    """The error for an option of an earlier version.

    A dataclass of options names those in a class variable: `REPLACED = {"products":
    "products.only"}`, from the field's former name to the full name of what replaced it.
    """
    return UsageError(
        f"The option {old} is now {new}.", where=where, next_step=f"Give {new} instead."
    )


def converted(value: Any, hint: Any, where: str) -> Any:
    """Convert `value` to the annotated type, if that loses nothing.

    Raises:
        UsageError: it has another type, or is not one of the choices.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        options = [a for a in args if a is not type(None)]
        for option in options[:-1]:
            try:
                return converted(value, option, where)
            except UsageError:
                continue
        return converted(value, options[-1], where)
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
            return tuple(converted(v, kind, where) for v, kind in zip(value, kinds))
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise UsageError(
        f"{value!r} cannot be the value of this option, which takes {in_words(hint)}.",
        where=where,
        next_step="Give a value of that kind, or leave the option out.",
    )


BOX = "x_min y_min z_min x_max y_max z_max"
"""The numbers of an option that takes six: each of these is a box in world."""
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
}


def in_words(hint: Any) -> str:
    """Values that an option of an annotated type takes, for readers who do not know Python."""
    args = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, args))}"
    if typing.get_origin(hint) is not tuple:
        return _WORDS.get(hint, "a value") if not args else in_words(args[0])
    if args[-1] is Ellipsis:
        return f"a list (each {in_words(args[0])})"
    return f"{len(args)} numbers" + (f": {BOX}" if len(args) == 6 else "")
