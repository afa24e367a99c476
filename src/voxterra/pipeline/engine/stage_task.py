"""A stage as a task of an engine: run in this process, or rebuilt from JSON in another one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from voxterra.core.options import plain, with_values
from voxterra.core.progress import Progress
from voxterra.core.scope import part_of_scope
from voxterra.core.sites import Site
from voxterra.pipeline.engine.collected_warnings import collecting_warnings
from voxterra.pipeline.engine.stage import StageContext, StageFunction
from voxterra.pipeline.engine.tasks import Task
from voxterra.pipeline.engine.worker import imported, target_of
from voxterra.pipeline.folder.journal import logging_to
from voxterra.pipeline.folder.record import StageRecord
from voxterra.pipeline.folder.workspace import Workspace
from voxterra.pipeline.machine import peak_rss_bytes, reset_peak_rss


@dataclass(frozen=True)
class StageWork:
    """A stage to run, and the content of its record.

    Attributes:
        run: what does it.
        stage: its name.
        source, config, workspace, site, inputs_elsewhere: as of `StageContext`.
        fingerprint, inputs: as of `StageRecord`.
        log: the log of the run.
    """

    run: StageFunction
    stage: str
    source: tuple[Path, ...]
    config: Any
    workspace: Workspace
    site: Site | None
    inputs_elsewhere: Mapping[str, Path]
    fingerprint: str
    inputs: Mapping[str, str]
    log: Path

    def do(self, progress: Progress) -> None:
        """Run the stage in the folder that `Workspace.begin` made, and commit the result.

        Raises:
            VoxterraError, Exception: what keeps the stage from its end.
        """
        context = StageContext(
            self.source,
            self.config,
            self.workspace,
            self.stage,
            tuple(self.inputs),
            progress,
            self.site,
            self.inputs_elsewhere,
        )
        reset_peak_rss()
        start = time.perf_counter()
        with collecting_warnings(self.stage) as logged:
            output = self.run(context)
        record = StageRecord(
            fingerprint=self.fingerprint,
            result=uuid4().hex,
            inputs=dict(self.inputs),
            summary=output.summary,
            warnings=tuple(dict.fromkeys([*output.warnings, *logged])),
            seconds=round(time.perf_counter() - start, 3),
            peak_rss_bytes=peak_rss_bytes(),
            products=output.products,
        )
        self.workspace.commit(self.stage, record)

    def task(self) -> Task:
        """The stage for an engine.

        Where `run` or the class of the options cannot be imported elsewhere, this process alone can
        do it.
        """
        run, options = target_of(self.run), target_of(type(self.config))
        can_travel = run and options
        return Task(
            self.stage,
            self.workspace.stage_dir(self.stage),
            f"{__name__}:do_stage" if can_travel else "",
            self._arguments(run, options) if can_travel else {},
            part=self.site.describe() if self.site else "",
            here=self.do,
        )

    def _arguments(self, run: str, options: str) -> dict[str, Any]:
        """Arguments of `do_stage`."""
        deliver_to = self.workspace.deliver_to
        return {
            "run": run,
            "stage": self.stage,
            "source": [str(path.absolute()) for path in self.source],
            "options": options,
            "config": plain(self.config),
            "root": str(self.workspace.root.absolute()),
            "deliver_to": None if deliver_to is None else str(deliver_to.absolute()),
            "components": None if self.site is None else list(self.site.components),
            "inputs_elsewhere": {
                name: str(path.absolute()) for name, path in self.inputs_elsewhere.items()
            },
            "fingerprint": self.fingerprint,
            "inputs": dict(self.inputs),
            "log": str(self.log.absolute()),
        }


def do_stage(
    folder: Path,
    progress: Progress,
    *,
    run: str,
    stage: str,
    source: list[str],
    options: str,
    config: dict[str, Any],
    root: str,
    deliver_to: str | None,
    components: list[int] | None,
    inputs_elsewhere: dict[str, str],
    fingerprint: str,
    inputs: dict[str, str],
    log: str,
) -> None:
    """As `StageWork.do`, in another process."""
    work = StageWork(
        imported(run),
        stage,
        tuple(map(Path, source)),
        with_values(imported(options)(), config, where="options of the run"),
        Workspace(Path(root), None if deliver_to is None else Path(deliver_to)),
        None if components is None else Site(tuple(components)),
        {name: Path(path) for name, path in inputs_elsewhere.items()},
        fingerprint,
        inputs,
        Path(log),
    )
    with part_of_scope(f"stage {stage}") as scope, logging_to(work.log, scope):
        work.do(progress)
