"""`voxterra ingest|sfm|georef|depth|surface|mesh|products|report`: one step of a run, again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from voxterra.cli import run as run_verb
from voxterra.cli.arguments import parse
from voxterra.cli.display import follow
from voxterra.errors import UsageError
from voxterra.pipeline.folder.run_file import RUN_FILE
from voxterra.pipeline.folder.workspace import require_no_component
from voxterra.pipeline.recipe.config import RunConfig
from voxterra.pipeline.run import run as run_pipeline

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
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Start even where memory or disk will hardly suffice, by estimate."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON event a line, and nothing else."""
    options: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=RunConfig)


def run(args: list[str]) -> int:
    """Do the step named by the first argument; returns the exit code."""
    step, *rest = args
    starts = step == "ingest" and "--out" in {arg.split("=")[0] for arg in rest}
    folder = None if starts else _run_folder(step, rest)
    if folder is None or (step == "ingest" and not (folder / RUN_FILE).exists()):
        return run_verb.run([*rest, "--until", "ingest"])  # the first step starts a run
    if not (folder / RUN_FILE).exists():
        require_no_component(folder)
        raise _no_run(step, folder)
    given = _parse(step, rest, run_verb.recorded_options(folder) or RunConfig())
    events = run_pipeline(
        None, given.run, given.options, from_stage=step, until=step, force=given.force
    )
    return follow(events, as_json=given.json)


def _no_run(step: str, folder: Path) -> UsageError:
    """The error for a folder that is not that of a run (or, for `mesh`, of a trained model)."""
    what, begin = "of a run", "start a run: voxterra run PHOTOS --out DIR"
    if step == "mesh":
        what = "of a run or of a trained model"
        begin += "; or train: voxterra train --source_path DATA --model_path OUT"
    is_there = "This is not the folder" if folder.exists() else "There is no such folder"
    return UsageError(
        f"{is_there} {what}.", where=str(folder), next_step=f"Check the path, or {begin}."
    )


def _run_folder(step: str, args: list[str]) -> Path:
    """Find the run folder in a command line, at any position among the options.

    Only parsing shows which argument it is; the run's own options, which are the defaults, are
    known after that.
    """
    if {"--help", "-h"} & set(args):  # parsing would print the help, with no run's options in it
        runs = (Path(arg) for arg in args if (Path(arg) / RUN_FILE).exists())
        if (folder := next(runs, None)) is not None:
            return folder
    return _parse(step, args, RunConfig()).run


def _parse(step: str, args: list[str], base: RunConfig) -> StepArguments:
    @dataclass(frozen=True)
    class Arguments(StepArguments):
        options: Annotated[RunConfig, tyro.conf.arg(name="")] = base

    return parse(
        Arguments, args, verb=step, description=DESCRIPTION.format(step=step), options=base
    )
