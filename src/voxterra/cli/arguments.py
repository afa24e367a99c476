"""Parse command lines into dataclasses with tyro; unknown options suggest the nearest known one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import tyro

from voxterra.core.options import option_replaced
from voxterra.core.wording import nearest
from voxterra.errors import UsageError

T = TypeVar("T")

_RENAMED = {"--anyway": "--force"}


def parse(
    kind: type[T],
    args: Sequence[str],
    *,
    verb: str,
    description: str,
    options: Any = None,
    extra: Sequence[str] = (),
) -> T:
    """Parse the arguments `args` as a `kind`.

    Args:
        kind: frozen dataclass.
        args: as typed.
        verb: for the usage line.
        description: for the help, with examples.
        options: default of the field `options` of `kind`, whose groups become `--group.option`.
        extra: further known options.

    Raises:
        UsageError: unknown option. tyro reports wrong values and exits with code 2.
    """
    known = sorted({*_flags(kind, options), *extra, "--help"})
    replaced = dict(_replaced(options)) if options is not None else {}
    for arg in args:
        flag = arg.split("=")[0].replace("_", "-")
        if arg == "--":
            break
        if flag in replaced:
            raise option_replaced(flag, replaced[flag], f"voxterra {verb}")
        if (arg.startswith("--") and flag not in known) or _is_short(arg):
            meant = f"; it is now {_RENAMED[flag]}." if flag in _RENAMED else nearest(flag, known)
            raise UsageError(
                f"There is no option '{arg.split('=')[0]}'{meant}",
                where=f"voxterra {verb}",
                next_step=f"voxterra {verb} --help lists the options.",
            )
    return tyro.cli(kind, args=list(args), prog=f"voxterra {verb}", description=description)


def peek(args: Sequence[str], flag: str) -> str | None:
    """Value of an option that the defaults of others depend on."""
    for index, arg in enumerate(args):
        if arg == flag and index + 1 < len(args):
            return args[index + 1]
        if arg.startswith(f"{flag}="):
            return arg.split("=", 1)[1]
    return None


def _is_short(arg: str) -> bool:
    return len(arg) > 1 and arg[0] == "-" and arg[1].isalpha() and arg != "-h"


def _flags(kind: type, options: Any) -> Iterator[str]:
    for field in fields(kind):
        name = field.name.rstrip("_").replace("_", "-")
        if field.name == "options" and options is not None:
            yield from _group_flags(options)
        else:
            yield from (f"--{name}", f"--no-{name}")


def _group_flags(options: Any, prefix: str = "") -> Iterator[str]:
    for option in fields(options):
        name, value = option.name.replace("_", "-"), getattr(options, option.name)
        if is_dataclass(value):
            yield from _group_flags(value, f"{prefix}{name}.")
        elif option.metadata.get("flag", True):
            yield from (f"--{prefix}{name}", f"--{prefix}no-{name}")


def _replaced(options: Any) -> Iterator[tuple[str, str]]:
    """Flags of earlier versions, and those that replaced them; see `core.options`."""
    for group in fields(options):
        for old, new in getattr(type(getattr(options, group.name)), "REPLACED", {}).items():
            yield f"--{group.name}.{old}".replace("_", "-"), f"--{new}".replace("_", "-")


def is_terminal() -> bool:
    """Whether output goes to a terminal."""
    return sys.stdout.isatty()
