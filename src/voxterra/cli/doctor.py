"""`voxterra doctor`: what this machine can run, and what is missing.

Needs only the standard library, so that it works if anything else is broken.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from voxterra import __version__
from voxterra.core.machine import disk_free_bytes
from voxterra.errors import MissingPartError, UsageError
from voxterra.pipeline.checkup import Check, check_up
from voxterra.pipeline.machine import MachineFacts, this_machine_facts

DESCRIPTION = """\
Look at processors, memory, disk, GPU and packages, compile a kernel, and report what this machine
can run. The exit code is 0 unless something that every run needs is broken.

Examples:
  voxterra doctor
  voxterra doctor --out /data/runs --json
"""
_SURVEY = (100, 5472, 3648)
_SIGNS = {"ok": "ok", "missing": "absent", "broken": "BROKEN"}


@dataclass(frozen=True)
class Capacity:
    """What a survey would take here, with a preset.

    Attributes:
        preset: its name.
        seconds, memory_bytes, disk_bytes: by estimate.
        fits: whether memory and disk suffice.
    """

    preset: str
    seconds: float
    memory_bytes: float
    disk_bytes: float
    fits: bool


def run(args: list[str]) -> int:
    """Look and report; returns 0.

    Raises:
        UsageError: unknown option.
        MissingPartError: something that every run needs is broken.
    """
    given = _parser().parse_args(args)
    facts, disk = this_machine_facts(), disk_free_bytes(given.out)
    checks = check_up(facts)
    broken = [check.name for check in checks if check.state == "broken"]
    able = () if "packages" in broken else capacities(facts, disk)
    if given.json:
        print(json.dumps(_as_dict(facts, disk, checks, able), indent=1))
    else:
        print("\n".join(_lines(facts, disk, checks, able)))
    if broken:
        raise MissingPartError(
            f"Runs will fail here: {', '.join(broken)}.",
            where="voxterra doctor",
            next_step="Do what is shown beside it above, then run doctor again.",
        )
    return 0


class _Parser(argparse.ArgumentParser):
    """Used instead of tyro, which may be missing."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(
            f"{message[:1].upper()}{message[1:]}.",
            where="voxterra doctor",
            next_step="voxterra doctor --help lists the options.",
        )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="voxterra doctor",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="folder whose disk is looked at (default: the current one)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def capacities(facts: MachineFacts, disk: int | None) -> tuple[Capacity, ...]:
    """What a survey of 100 photos of 20 MP would take with each preset, by fusion."""
    from voxterra.pipeline.costs.estimate import PhotoSizes, estimate
    from voxterra.pipeline.recipe.presets import PRESETS, preset
    from voxterra.pipeline.recipe.stages import STAGE_NAMES

    found = []
    for name in PRESETS:
        config = replace(preset(name), backend="fusion")
        cost = estimate(PhotoSizes(*_SURVEY), config, facts.cores, STAGE_NAMES)
        fits = facts.memory_bytes is None or cost.memory_bytes <= facts.memory_bytes
        fits &= disk is None or cost.disk_bytes <= disk
        found.append(Capacity(name, cost.seconds, cost.memory_bytes, cost.disk_bytes, fits))
    return tuple(found)


def _as_dict(
    facts: MachineFacts, disk: int | None, checks: Sequence[Check], able: Sequence[Capacity]
) -> dict[str, Any]:
    return {
        "voxterra": __version__,
        "machine": asdict(facts) | {"disk_free_bytes": disk},
        "checks": [asdict(check) for check in checks],
        "survey_of_100_photos_of_20_mp": [asdict(entry) for entry in able],
        "ok": all(check.state != "broken" for check in checks),
    }


def _lines(
    facts: MachineFacts, disk: int | None, checks: Sequence[Check], able: Sequence[Capacity]
) -> list[str]:
    def size(value: float | None) -> str:
        return "unknown" if value is None else f"{value / 1e9:.1f} GB"

    lines = [
        f"Voxterra {__version__}",
        f"  processor  {facts.cores} cores  {facts.processor}".rstrip(),
        f"  memory     {size(facts.memory_bytes)}, {size(facts.available_bytes)} free",
        f"  disk       {size(disk)} free",
        "",
    ]
    for check in checks:
        lines.append(f"  {_SIGNS[check.state]:<7} {check.name:<18} {check.found}")
        if check.next_step:
            lines.append(f"{'':<28} next: {check.next_step}")
    if able:
        lines += ["", "100 photos of 20 MP would take here, by estimate:"]
    for entry in able:
        verdict = "" if entry.fits else "  (too much for this machine)"
        lines.append(
            f"  --preset {entry.preset:<9} {_time(entry.seconds):>7}, "
            f"{size(entry.memory_bytes)} of memory, {size(entry.disk_bytes)} of disk{verdict}"
        )
    return lines


def _time(seconds: float) -> str:
    from voxterra.pipeline.costs.forecast import rounded_time

    return rounded_time(seconds)
