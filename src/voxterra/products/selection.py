"""Which exporters a run uses, in which order, and which cannot work here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from voxterra.core.wording import nearest
from voxterra.errors import UsageError
from voxterra.products.exporter import (
    ACROSS,
    EXPORTERS,
    FROM_ABOVE,
    GROUPS,
    INPUTS,
    Exporter,
    for_photos,
    uses_of,
)

ALL_OTHERS = "*"
_LOOK_ACROSS = (
    "most photos look across, not down, and facades were found: from above little can be seen; "
    "--products.only names what to make all the same"
)


@dataclass(frozen=True)
class Selection:
    """What is to be written.

    Attributes:
        exporters: by name, in an order in which each comes after those whose files it reads.
        unmet: name -> why it is left out, of exporters that were asked for.
    """

    exporters: Mapping[str, Exporter]
    unmet: Mapping[str, str]


def names_and_groups() -> str:
    """The choices of `--products.only`, for people."""
    available = EXPORTERS.available()
    own = sorted({exporter.group for exporter in available.values()} - set(GROUPS))
    return f"{', '.join(EXPORTERS.names())}; groups: {', '.join((*GROUPS, *own))}"


def named_by(only: Sequence[str], skip: Sequence[str]) -> dict[str, Exporter]:
    """The exporters that `only` and `skip` leave, by name.

    Raises:
        UsageError: one of them names neither an exporter nor a group.
        MissingPartError: `only` names an exporter that does not load.
    """
    chosen, left_out = _members("only", only), set(_members("skip", skip))
    if not only:
        return {n: e for n, e in EXPORTERS.available().items() if n not in left_out}
    return {name: EXPORTERS.get(name) for name in chosen if name not in left_out}


def _members(option: str, given: Collection[str]) -> list[str]:
    """Names of exporters for names and groups."""
    available, found = EXPORTERS.available(), []
    groups = {*GROUPS, *(exporter.group for exporter in available.values())}
    for word in given:
        if word in EXPORTERS.names():
            found.append(word)
        elif word in groups:
            found += [name for name, exporter in available.items() if exporter.group == word]
        else:
            flag, known = f"--products.{option}", (*EXPORTERS.names(), *groups)
            raise UsageError(
                f"There is no product '{word}'{nearest(word, known)}",
                where=flag,
                next_step=f"Choose of: {names_and_groups()}.",
            )
    return found


def select(
    only: Sequence[str],
    skip: Sequence[str],
    absent: Mapping[str, str],
    suited: Collection[str] = (FROM_ABOVE, ACROSS),
) -> Selection:
    """The exporters to use, with those whose files they need, in order.

    Args:
        only, skip: as of `ProductsConfig`.
        absent: inputs that there are not -> why.
        suited: the ways in which the photos look; exporters for others are used only where `only`
            names them, or one that needs them.

    Raises:
        UsageError: as `named_by`; or exporters that read each other's files.
        MissingPartError: one that is needed does not load.
    """
    skipped, chosen = set(_members("skip", skip)), named_by(only, skip)
    unsuited = _unsuited(chosen, only, suited)
    chosen = {name: exporter for name, exporter in chosen.items() if name not in unsuited}
    open_names = list(chosen)
    while open_names:
        for need in chosen[open_names.pop()].needs:
            if need not in INPUTS and need not in chosen and need not in skipped:
                chosen[need] = _needed(need, chosen)
                open_names.append(need)
    ordered, unmet = _ordered(chosen), {name: why for name, why in unsuited.items() if why}
    for name, exporter in ordered.items():
        for need in exporter.needs:
            if need in absent:
                unmet.setdefault(name, f"no {need}: {absent[need]}")
            elif need not in INPUTS and need not in chosen:
                unmet.setdefault(name, f"it needs {need}, which --products.skip leaves out")
            elif need in unmet:
                unmet.setdefault(name, f"it needs {need}, and there is {unmet[need]}")
    return Selection({n: e for n, e in ordered.items() if n not in unmet}, unmet)


def _unsuited(
    chosen: Mapping[str, Exporter], named: Collection[str], suited: Collection[str]
) -> dict[str, str]:
    """Exporters, those in `named` left out, whose product makes no sense of these photos -> why;
    "" where nobody expects it."""
    out = {
        name: _LOOK_ACROSS if for_photos(exporter) == FROM_ABOVE else ""
        for name, exporter in chosen.items()
        if name not in named and for_photos(exporter) not in ("", *suited)
    }
    while True:
        more = {
            name: out[need]
            for name, exporter in chosen.items()
            for need in exporter.needs
            if need in out and name not in out and name not in named
        }
        if not more:
            return out
        out |= more


def _needed(need: str, chosen: Mapping[str, Exporter]) -> Exporter:
    if need in EXPORTERS.names():
        return EXPORTERS.get(need)
    user = next(name for name, exporter in chosen.items() if need in exporter.needs)
    raise UsageError(
        f"The exporter '{user}' needs '{need}', which nothing makes"
        f"{nearest(need, (*INPUTS, *EXPORTERS.names()))}",
        where=user,
        next_step=f"Install the package that brings it, or leave it out: --products.skip {user}.",
    )


def read_of(exporter: Exporter, others: Collection[str]) -> tuple[str, ...]:
    """Which of the exporters `others` one reads files of, if they are there."""
    words = {*exporter.needs, *uses_of(exporter)}
    return tuple(n for n in others if n != exporter.name and (n in words or ALL_OTHERS in words))


def _ordered(chosen: Mapping[str, Exporter]) -> dict[str, Exporter]:
    """In the order of the registry, but each after those that it reads.

    Exporters that read the files of all others come last, and see none of each other's unless
    they name it.
    """
    last = {n for n, e in chosen.items() if ALL_OTHERS in uses_of(e)}

    def before(name: str) -> list[str]:
        exporter = chosen[name]
        named = {*exporter.needs, *uses_of(exporter)}
        return [
            n for n in read_of(exporter, chosen) if n in named or n not in last
        ]  # not a circle of two that both read all

    done: dict[str, Exporter] = {}
    left = [n for n in EXPORTERS.names() if n in chosen]
    while left:
        ready = [n for n in left if all(other in done for other in before(n))]
        if not ready:
            raise UsageError(
                f"These exporters read each other's files: {', '.join(left)}.",
                where="--products.only",
                next_step="Leave one of them out with --products.skip.",
            )
        done[ready[0]] = chosen[ready[0]]
        left.remove(ready[0])
    return done
