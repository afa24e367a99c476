"""Parse values of options, and show them in the help; for every verb."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from voxterra.core.wording import nearest
from voxterra.errors import UsageError

NONE = "None"


def value_parsers(args: Sequence[str]) -> ConstructorRegistry:
    """Context in which tyro reads `args`: the help says `PATH`, not `{None}|PATH`, where a value
    may be missing, and a wrong choice is a `UsageError` that names the nearest right one.
    """
    registry = ConstructorRegistry()
    registry.primitive_rule(_optional)
    registry.primitive_rule(_names)
    registry.primitive_rule(_choice(args))
    return registry


def _optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Show `X | None` as X; the text None still unsets the value."""
    kinds = typing.get_args(info.type)
    inner = [kind for kind in kinds if kind is not type(None)]
    if info.type_origin not in (typing.Union, types.UnionType) or len(inner) != 1:
        return None
    if len(inner) == len(kinds):
        return None
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(inner[0], info.markers))
    if not isinstance(spec, PrimitiveConstructorSpec) or not isinstance(spec.nargs, int):
        return None
    count = spec.nargs

    def read(texts: list[str]) -> Any:
        if texts == [NONE]:
            return None
        if len(texts) != count:
            raise ValueError(f"{count} values are needed")
        return spec.instance_from_str(texts)

    return dataclasses.replace(
        spec,
        nargs=count if count == 1 else (1, count),
        instance_from_str=read,
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda v: [NONE] if v is None else spec.str_from_instance(v),
    )


def _names(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[tuple[str, ...]] | None:
    """Read several texts from one argument, separated by commas, so that it ends there."""
    if info.type != tuple[str, ...]:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME,NAME",
        instance_from_str=lambda texts: tuple(w.strip() for w in texts[0].split(",") if w.strip()),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [",".join(value) or "none"],
    )


def _choice(
    args: Sequence[str],
) -> Callable[[PrimitiveTypeInfo], PrimitiveConstructorSpec[str] | None]:
    def rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[str] | None:
        choices = typing.get_args(info.type)
        if typing.get_origin(info.type) is not Literal or not all(
            isinstance(c, str) for c in choices
        ):
            return None

        def read(texts: list[str]) -> str:
            if texts[0] not in choices:
                raise UsageError(
                    f"'{texts[0]}' is not one of the choices{nearest(texts[0], choices)}",
                    where=_flag_of(texts[0], args),
                    next_step=f"Give one of: {', '.join(choices)}.",
                )
            return texts[0]

        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="{" + ",".join(choices) + "}",
            instance_from_str=read,
            is_instance=lambda value: value in choices,
            str_from_instance=lambda value: [value],
        )

    return rule


def _flag_of(value: str, args: Sequence[str]) -> str | None:
    """The option of a value on the command line."""
    for flag, given in zip(args, [*args[1:], ""]):
        if flag.startswith("--") and value in (given, flag.partition("=")[2]):
            return flag.split("=")[0]
    return None
