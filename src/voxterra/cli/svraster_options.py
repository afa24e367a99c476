"""Command lines with SVRaster's option names: `--name value ...`, underscores or hyphens.

Apart from tyro, which the other verbs use: these options come from several sources with the
command line last, so what was *not* given must be told from what was given as the default. And a
GPU machine that only trains has no tyro.
"""

from __future__ import annotations

import textwrap
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from voxterra.core.options import in_words
from voxterra.core.wording import nearest
from voxterra.errors import UsageError

WIDTH = 96


def read_words(
    args: Sequence[str], kinds: Mapping[str, Any], *, verb: str, positional: Sequence[str] = ()
) -> dict[str, Any]:
    """Options that a command line gives, as values of their kinds.

    A bool is given by its name alone, or taken back by `--no_name`; `tuple[X, ...]` takes all
    words up to the next option.

    Args:
        args: as typed.
        kinds: annotated types by option name (underscores).
        verb: for messages, such as "train".
        positional: options that may be given by their place, without a name.

    Raises:
        UsageError: unknown option (with the nearest known one), or a value that is none of its
            kind.
    """
    values: dict[str, Any] = {}
    places = list(positional)
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if not _is_option(word):
            if not places:
                raise _stray(word, verb)
            name = places.pop(0)
            values[name] = _value(name, [word], kinds[name])
            continue
        flag, equals, attached = word.partition("=")
        words = [attached] if equals else _take(rest, _option(flag, kinds, verb), kinds)
        values.update(_given(flag, words, kinds, verb))
    return values


def wants_help(args: Sequence[str]) -> bool:
    """Whether the help is asked for."""
    return bool({"-h", "--help"} & set(args))


def option_lines(
    names: Iterable[str], kinds: Mapping[str, Any], helps: Mapping[str, str], defaults: Any
) -> list[str]:
    """Lines of a help text: each option with its kind, what it does and its default."""
    lines = []
    for name in names:
        value = defaults.get(name) if isinstance(defaults, Mapping) else getattr(defaults, name)
        lines.append(f"  --{name}{_metavar(kinds[name])}")
        silent = value is None or value is False or value == ()
        told = helps[name] + ("" if silent else f" (default: {_text(value)})")
        lines += [f"      {line}" for line in textwrap.wrap(told, WIDTH - 6)]
    return lines


def _is_option(word: str) -> bool:
    return word.startswith("--") or (len(word) > 1 and word[0] == "-" and word[1].isalpha())


def _option(flag: str, kinds: Mapping[str, Any], verb: str) -> str:
    """Name of the option that `--flag` means."""
    name = flag.lstrip("-").replace("-", "_")
    positive = name.removeprefix("no_")
    if flag.startswith("--") and name in kinds:
        return name
    if flag.startswith("--") and positive != name and kinds.get(positive) is bool:
        return positive
    known = [f"--{known}" for known in [*kinds, "help"]]
    raise UsageError(
        f"There is no option '{flag}'{nearest(f'--{name}', known)}",
        where=f"voxterra {verb}",
        next_step=f"voxterra {verb} --help lists the options.",
    )


def _take(rest: list[str], name: str, kinds: Mapping[str, Any]) -> list[str]:
    """Words of the option `name`, taken off what follows it."""
    kind, count = kinds[name], 1
    if kind is bool:
        count = 1 if rest and rest[0].lower() in ("true", "false") else 0
    elif typing.get_origin(_inner(kind)) is tuple:
        inner = typing.get_args(_inner(kind))
        count = len(rest) if inner[-1] is Ellipsis else len(inner)
    words: list[str] = []
    while rest and len(words) < count and not _is_option(rest[0]):
        words.append(rest.pop(0))
    return words


def _given(flag: str, words: list[str], kinds: Mapping[str, Any], verb: str) -> dict[str, Any]:
    name = _option(flag, kinds, verb)
    value = _value(name, words, kinds[name])
    written = flag.lstrip("-").replace("-", "_")
    return {name: not value if written != name else value}


def _value(name: str, words: list[str], kind: Any) -> Any:
    inner = _inner(kind)
    if inner is bool:
        text = words[0].lower() if words else "true"
        if text not in ("true", "false"):
            raise _wrong(name, words, kind)
        return text == "true"
    if kind is not inner and words == ["None"]:
        return None
    if typing.get_origin(inner) is tuple:
        args = typing.get_args(inner)
        if not words or (args[-1] is not Ellipsis and len(words) != len(args)):
            raise _wrong(name, words, kind)
        return tuple(_value(name, [word], args[0]) for word in words)
    if len(words) != 1 or not words[0]:
        raise _wrong(name, words, kind)
    if typing.get_origin(inner) is Literal:
        return _choice(name, words[0], typing.get_args(inner))
    if inner in (int, float):
        return _number(name, words[0], inner)
    return Path(words[0]) if inner is Path else words[0]


def _choice(name: str, word: str, choices: Sequence[str]) -> str:
    if word in choices:
        return word
    raise UsageError(
        f"'{word}' is not one of the choices{nearest(word, choices)}",
        where=f"--{name}",
        next_step=f"Give one of: {', '.join(choices)}.",
    )


def _number(name: str, word: str, kind: type) -> Any:
    try:
        number = float(word.replace("_", ""))
        if kind is float:
            return number
        if number.is_integer():
            return int(number)
    except (ValueError, OverflowError):
        pass
    raise _wrong(name, [word], kind)


def _wrong(name: str, words: list[str], kind: Any) -> UsageError:
    given = f"'{' '.join(words)}' is given" if words else "nothing is given"
    inner = _inner(kind)
    box = typing.get_origin(inner) is tuple and len(typing.get_args(inner)) == 6
    example = f"For example: --{name} -1 -1 -1 1 1 1" if box else f"Write --{name}{_metavar(kind)}"
    return UsageError(
        f"The option {name} takes {in_words(inner)}, but {given}.",
        where=f"--{name}",
        next_step=f"{example}; --help tells what it is for.",
    )


def _stray(word: str, verb: str) -> UsageError:
    return UsageError(
        f"'{word}' belongs to no option.",
        where=f"voxterra {verb}",
        next_step=f"Every value stands behind the name of its option: voxterra {verb} --help.",
    )


def _inner(kind: Any) -> Any:
    """X of `X | None`."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return next(k for k in typing.get_args(kind) if k is not type(None))
    return kind


def _metavar(kind: Any) -> str:
    inner = _inner(kind)
    if inner is bool:
        return ""
    if typing.get_origin(inner) is tuple:
        args = typing.get_args(inner)
        one = _metavar(args[0])
        return f"{one} [{one.strip()} ...]" if args[-1] is Ellipsis else one * len(args)
    if typing.get_origin(inner) is Literal:
        return " {" + ",".join(typing.get_args(inner)) + "}"
    return {int: " INT", float: " FLOAT", Path: " PATH"}.get(inner, " NAME")


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
