"""Run the stages of one site of a run: the main one, or another."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxterra.core.sites import Site
from voxterra.core.wording import listed
from voxterra.errors import VoxterraError
from voxterra.pipeline import events as ev
from voxterra.pipeline.engine.executor import execute
from voxterra.pipeline.engine.freshness import Freshness
from voxterra.pipeline.engine.stage import Stage
from voxterra.pipeline.engine.stage_task import StageWork
from voxterra.pipeline.engine.tasks import TaskEngine
from voxterra.pipeline.events import Event
from voxterra.pipeline.failures import may_be_leftovers
from voxterra.pipeline.folder.fingerprint import fingerprint
from voxterra.pipeline.folder.record import StageRecord
from voxterra.pipeline.folder.workspace import Workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageRunner:
    """Brings the stages of one site up to date.

    Attributes:
        workspace: its folder.
        config: options of all stages.
        source: where the photos are.
        freshness: knows which results are up to date; its plan has the requested stages.
        engine: runs the stages.
        log: the log of the run.
        site: another site; None = the main one.
        inputs_elsewhere: folders of results of the main site that another site uses, by stage.
    """

    workspace: Workspace
    config: Any
    source: tuple[Path, ...]
    freshness: Freshness
    engine: TaskEngine
    log: Path
    site: Site | None = None
    inputs_elsewhere: Mapping[str, Path] = field(default_factory=dict)

    @property
    def number(self) -> int | None:
        """Number of the site in events; None = the main one."""
        return None if self.site is None else self.site.number

    def bring_up_to_date(self, stage: Stage) -> Iterator[Event]:
        """Do a stage of the plan unless its result is up to date.

        Raises:
            VoxterraError, Exception: errors of the stage.
        """
        record = self.freshness.up_to_date(stage)
        if record is not None:
            if not stage.can_resume(self.config):  # leftovers of a killed run are useless
                self.workspace.drop_partial(stage.name)
            yield ev.StageSkipped(stage.name, record.summary, self.number)
        else:
            yield from self._warn_of_faults(stage)
            record = yield from self._do(stage)
        self.freshness.results[stage.name] = record.result
        for message in record.warnings:
            yield ev.StageWarning(stage.name, message, self.number)

    def warn_of_damaged_records(self) -> Iterator[Event]:
        """Warn about finished stages that start over because their record is damaged."""
        for stage in self.freshness.plan:
            if not self.workspace.has_damaged_record(stage.name):
                continue
            later = self.freshness.depending_on(stage)
            again = f"{stage.name} is done again" + (f", then {', '.join(later)}" if later else "")
            message = (
                f"{self.workspace.record_file(stage.name)} is damaged or missing, so it is unknown "
                f"what this result was made from: {again}; to keep the result, stop now and "
                "restore a copy of that file"
            )
            yield ev.StageWarning(stage.name, message, self.number)

    def _warn_of_faults(self, stage: Stage) -> Iterator[Event]:
        """Warn if a finished stage is done again because of missing or damaged files."""
        wrong = self.freshness.faults(stage)
        if wrong:
            message = f"{listed(wrong, 1)}: missing, damaged or changed; it is made again"
            yield ev.StageWarning(stage.name, message, self.number)

    def _do(self, stage: Stage) -> Generator[Event, None, StageRecord]:
        current, inputs = self.freshness.fingerprints[stage.name], self.freshness.inputs(stage)
        attempt = fingerprint(stage.name, stage.code_version, {"content": current}, inputs)
        resumed = self.workspace.begin(stage.name, attempt, resumable=stage.can_resume(self.config))
        name = stage.name + (f" of {self.site.describe()}" if self.site else "")
        logger.info("stage %s starts%s", name, ": resumed" if resumed else "")
        yield ev.StageStarted(stage.name, resumed, self.number)
        work = StageWork(
            stage.run,
            stage.name,
            self.source,
            self.config,
            self.workspace,
            self.site,
            self.inputs_elsewhere,
            current,
            inputs,
            self.log,
        )
        try:
            yield from execute(self.engine, work.task(), self.number)
        except Exception as error:
            if not (resumed and may_be_leftovers(error, self.workspace.partial_dir(stage.name))):
                raise
            logger.warning("stage %s starts over", name, exc_info=error)
            why = error.what if isinstance(error, VoxterraError) else error
            message = f"the work of the stopped run cannot be used ({why}); the stage starts over"
            yield ev.StageWarning(stage.name, message, self.number)
            self.workspace.drop_partial(stage.name)
            self.workspace.begin(stage.name, attempt, resumable=False)
            yield from execute(self.engine, work.task(), self.number)
        record = self.workspace.record(stage.name)
        assert record is not None  # the task put it there
        logger.info("stage %s took %.1f s: %s", name, record.seconds, record.summary)
        for message in record.warnings:
            logger.warning("%s: %s", name, message)
        yield ev.StageFinished(
            stage.name, record.seconds, record.peak_rss_bytes, record.summary, self.number
        )
        return record

    def products(self, root: Path) -> Iterator[Event]:
        """The deliverables of the stages of the plan, by their paths in the run folder `root`."""
        for stage in self.freshness.plan:
            record = self.workspace.record(stage.name)
            for name, description in record.products if record else ():
                path = self.workspace.deliverable(name)
                size = path.stat().st_size if path.exists() else 0
                at = path.relative_to(root).as_posix()
                yield ev.ProductWritten(at, description, size, self.number)

    def accuracy(self) -> str | None:
        """Accuracy of the placement, from the summaries of stages in the plan that report it."""
        plan = self.freshness.plan
        records = [self.workspace.record(s.name) for s in plan if s.reports_accuracy]
        return "; ".join(record.summary for record in records if record) or None
