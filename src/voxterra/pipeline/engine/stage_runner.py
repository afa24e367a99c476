"""The stages of one world: that of the run, or that of components that lie apart from it."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxterra.core.sites import Apart
from voxterra.core.wording import listed
from voxterra.errors import VoxterraError
from voxterra.pipeline import events as ev
from voxterra.pipeline.engine.executor import execute
from voxterra.pipeline.engine.freshness import Standing
from voxterra.pipeline.engine.stage import Stage
from voxterra.pipeline.engine.stage_task import StageWork
from voxterra.pipeline.engine.tasks import TaskEngine
from voxterra.pipeline.events import Event
from voxterra.pipeline.failures import may_be_leftovers
from voxterra.pipeline.folder.fingerprint import fingerprint
from voxterra.pipeline.folder.journal import LOG_FILE
from voxterra.pipeline.folder.record import StageRecord
from voxterra.pipeline.folder.workspace import Workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class World:
    """What works on one world, and how it stands.

    Attributes:
        workspace: its folder.
        config: options of all stages.
        source: where the photos are.
        standing: which results are up to date; its plan are the stages to bring up to date.
        engine: has stages done.
        log: the log of the run.
        apart: the components of a world apart; None = the run's own.
        lent: folders of the results that a world apart has from the run's own, by stage.
    """

    workspace: Workspace
    config: Any
    source: tuple[Path, ...]
    standing: Standing
    engine: TaskEngine
    log: Path
    apart: Apart | None = None
    lent: Mapping[str, Path] = field(default_factory=dict)

    @property
    def number(self) -> int | None:
        """How events name the world; None = the run's own."""
        return None if self.apart is None else self.apart.number

    def bring_up_to_date(self, stage: Stage) -> Iterator[Event]:
        """Do a stage of the plan unless its result is what photos and options ask for.

        Raises:
            VoxterraError, Exception: what keeps the stage from its end.
        """
        record = self.standing.up_to_date(stage)
        if record is not None:
            if not stage.goes_on(self.config):  # nothing goes on from what a killed run left
                self.workspace.drop_partial(stage.name)
            yield ev.StageSkipped(stage.name, record.summary, self.number)
        else:
            yield from self._tell_faults(stage)
            record = yield from self._do(stage)
        self.standing.results[stage.name] = record.result
        for message in record.warnings:
            yield ev.StageWarning(stage.name, message, self.number)

    def _tell_faults(self, stage: Stage) -> Iterator[Event]:
        """Say why a finished stage is done again though nothing that was asked is new."""
        wrong = self.standing.faults(stage)
        if wrong:
            message = (
                f"{listed(wrong, 1)}: gone, damaged or changed since it was made; it is made again"
            )
            yield ev.StageWarning(stage.name, message, self.number)

    def _do(self, stage: Stage) -> Generator[Event, None, StageRecord]:
        current, inputs = self.standing.fingerprints[stage.name], self.standing.inputs(stage)
        attempt = fingerprint(stage.name, stage.code_version, {"content": current}, inputs)
        resumed = self.workspace.begin(stage.name, attempt, resumable=stage.goes_on(self.config))
        name = stage.name + (f" of {self.apart.describe()}" if self.apart else "")
        logger.info("stage %s starts%s", name, " where it was stopped" if resumed else "")
        yield ev.StageStarted(stage.name, resumed, self.number)
        work = StageWork(
            stage.run,
            stage.name,
            self.source,
            self.config,
            self.workspace,
            self.apart,
            self.lent,
            current,
            inputs,
            self.log,
        )
        try:
            yield from execute(self.engine, work.task(), self.number)
        except Exception as error:
            if not (resumed and may_be_leftovers(error, self.workspace.partial_dir(stage.name))):
                raise
            logger.warning("stage %s begins anew", name, exc_info=error)
            why = error.what if isinstance(error, VoxterraError) else error
            message = f"what the stopped run had left cannot be used ({why}); it is done anew"
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
        for stage in self.standing.plan:
            record = self.workspace.record(stage.name)
            for name, description in record.products if record else ():
                path = self.workspace.deliverable(name)
                size = path.stat().st_size if path.exists() else 0
                at = path.relative_to(root).as_posix()
                yield ev.ProductWritten(at, description, size, self.number)

    def accuracy(self) -> str | None:
        """How well the model lies in the world, where the stages that say so are in the plan."""
        plan = self.standing.plan
        records = [self.workspace.record(s.name) for s in plan if s.tells_accuracy]
        return "; ".join(record.summary for record in records if record) or None


def main_world(
    workspace: Workspace,
    config: Any,
    source: tuple[Path, ...],
    plan: Sequence[Stage],
    from_stage: str | None,
    engine: TaskEngine,
) -> World:
    """The world that a run is about."""
    standing = Standing(workspace, config, source, plan, from_stage)
    return World(workspace, config, source, standing, engine, workspace.root / LOG_FILE)
