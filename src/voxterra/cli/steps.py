"""`voxterra ingest|sfm|georef|depth|surface|mesh|products`: one step of a run, again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from voxterra.cli import run as run_verb
from voxterra.cli.arguments import leading_path, parse
from voxterra.cli.display import follow
from voxterra.errors import UsageError
from voxterra.pipeline.config import RunConfig
from voxterra.pipeline.run import run as run_pipeline
from voxterra.pipeline.workspace import RUN_FILE

DESCRIPTION = """\
Do the step '{step}' of a run again, with the run's own options or changed ones.
Steps before it that are not up to date are done too; steps after it are not.

Examples:
  voxterra {step} runs/site
  voxterra {step} runs/site --json
"""


@dataclass(frozen=True)
class StepArguments:
    """Options of a step."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON event a line, and nothing else."""
    options: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=RunConfig)


def run(args: list[str]) -> int:
    """Do the step named by the first argument; returns the exit code."""
    step, *rest = args
    folder = leading_path(rest)
    is_run = folder is not None and (folder / RUN_FILE).exists()
    if step == "ingest" and not is_run and "--help" not in rest:
        return run_verb.run([*rest, "--until", "ingest"])  # the first step starts a run
    if folder is not None and not is_run:
        raise UsageError(
            "This is not the folder of a run.",
            where=str(folder),
            next_step="Start one with: voxterra run PHOTOS --out DIR.",
        )
    base = (run_verb.recorded_options(folder) if folder is not None else None) or RunConfig()

    @dataclass(frozen=True)
    class Arguments(StepArguments):
        options: Annotated[RunConfig, tyro.conf.arg(name="")] = base

    given = parse(
        Arguments, rest, verb=step, description=DESCRIPTION.format(step=step), options=base
    )
    events = run_pipeline(None, given.run, given.options, from_stage=step, until=step)
    return follow(events, as_json=given.json)
