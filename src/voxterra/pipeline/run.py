"""`run`: photos in, products out, told as a stream of typed events."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from voxterra import __version__
from voxterra.core.names import listed
from voxterra.core.progress import Progress
from voxterra.errors import VoxterraError
from voxterra.pipeline import events as ev
from voxterra.pipeline.events import Event
from voxterra.pipeline.executor import Execution, execute
from voxterra.pipeline.failures import as_user_error, failure, may_be_leftovers
from voxterra.pipeline.fingerprint import fingerprint
from voxterra.pipeline.journal import (
    JOURNAL_FILE,
    LOG_FILE,
    collecting_warnings,
    logging_to,
    write_event,
)
from voxterra.pipeline.lock import locked
from voxterra.pipeline.options import path_options, plain, write_options
from voxterra.pipeline.plan import Source, photo_paths, planned
from voxterra.pipeline.record import StageRecord
from voxterra.pipeline.run_file import (
    has_run_file,
    read_run_file,
    recorded_source,
    write_run_file,
)
from voxterra.pipeline.stage import Stage, StageContext, StageOutput
from voxterra.pipeline.standing import Standing
from voxterra.pipeline.workspace import CONFIG_FILE, LOCK_FILE, Workspace, open_workspace

log = logging.getLogger(__name__)


def run(
    source: Source | None,
    out: Path | str,
    config: Any = None,
    *,
    from_stage: str | None = None,
    until: str | None = None,
    stages: Sequence[Stage] | None = None,
    anyway: bool = False,
) -> Generator[Event, None, None]:
    """Bring the stages of a run folder up to date, and tell about it.

    A stage is done again only when its options, its inputs or its code changed. Closing the
    generator stops the run; what a stage had finished is kept.

    Args:
        source: folder of photos, archive, or photo files; None takes those of the last run in
            `out`.
        out: the run folder.
        config: a `RunConfig`; None takes the standard preset.
        from_stage: do this stage, and what depends on it, again even where it is up to date.
        until: stop after this stage.
        stages: the table of stages; None takes Voxterra's own.
        anyway: start even where memory or disk will hardly suffice.

    Yields:
        events; the last is `RunFinished` or `RunFailed`.

    Raises:
        VoxterraError: whatever kept the run from its end, after `RunFailed` once it had started.
    """
    own = stages is None
    if stages is None:
        from voxterra.pipeline.config import check_config
        from voxterra.pipeline.presets import preset
        from voxterra.pipeline.stages import STAGES

        stages = STAGES
        config = preset("standard") if config is None else config
        check_config(config)
    plan = planned(stages, from_stage, until)
    given = None if source is None else photo_paths(source, Path(out))
    workspace = open_workspace(Path(out))
    with ExitStack() as stack:
        stack.enter_context(locked(workspace.root / LOCK_FILE))
        read_run_file(workspace.root)
        workspace.recover()
        stack.enter_context(logging_to(workspace.root / LOG_FILE))
        paths = given or photo_paths(recorded_source(workspace.root), workspace.root)
        asked = config
        if own:
            from voxterra.pipeline.backends import settled

            config = settled(config, workspace)
            asked = replace(config, backend=asked.backend)
        running = _Run(workspace, config, paths, stages, plan, from_stage, asked)
        running.estimates, running.anyway = own, anyway
        for event in running.events():
            write_event(workspace.root / JOURNAL_FILE, event)
            yield event


class _Run:
    """One run: what it works on, and how it stands."""

    def __init__(
        self,
        workspace: Workspace,
        config: Any,
        source: tuple[Path, ...],
        stages: Sequence[Stage],
        plan: Sequence[Stage],
        from_stage: str | None,
        asked: Any,
    ):
        self.workspace, self.config, self.source = workspace, config, source
        self.asked = asked  # the options to record, "auto" as such: other machines choose anew
        self.stages, self.plan = stages, plan
        self.estimates, self.anyway = False, False
        self.standing = Standing(workspace, config, source, plan, from_stage)

    def events(self) -> Iterator[Event]:
        """All events of the run; an error comes out after `RunFailed`."""
        start = time.perf_counter()
        names = tuple(stage.name for stage in self.plan)
        current: str | None = None
        log.info("Voxterra %s, run in %s", __version__, self.workspace.root)
        yield ev.RunStarted(str(self.workspace.root), names, __version__)
        try:
            self.standing.find_out()
            known = has_run_file(self.workspace.root)
            if not known:
                self._record_question()
            elif self.standing.has_other_photos():
                yield ev.StageWarning(
                    self.plan[0].name,
                    "these are not the photos that this run was made of: its results are replaced; "
                    "to keep them, stop now and give another --out",
                )
            to_do = self.standing.to_do()
            self._check_requirements(to_do)
            yield from self._estimate(to_do)
            for stage in self.plan:
                current = stage.name
                yield from self._bring_up_to_date(stage)
                if known and stage is self.plan[0]:  # photos that are none leave the run as it was
                    self._record_question()
            yield from self._tell_outdated()
        except GeneratorExit:
            log.info("stopped in stage %s", current)
            raise
        except BaseException as error:
            folder = self.workspace.root
            yield failure(error, current, folder)
            raise (as_user_error(error, current, folder) or error) from error
        yield from self._products()
        seconds = round(time.perf_counter() - start, 3)
        yield ev.RunFinished(str(self.workspace.root), seconds, self._accuracy())

    def _check_requirements(self, to_do: Iterable[Stage]) -> None:
        """Tell what is missing for a stage that is to be done, before others take hours."""
        for stage in to_do:
            if stage.requires is not None:
                stage.requires(self.config)

    def _estimate(self, to_do: Iterable[Stage]) -> Iterator[Event]:
        """Tell what the stages to do will take, and refuse what cannot work."""
        if not self.estimates:
            return
        from voxterra.pipeline.forecast import forecast, require_room

        names = tuple(stage.name for stage in to_do)
        told = forecast(self.source, self.config, names, self.workspace.root)
        if told is not None:
            yield told
            for message in require_room(
                told, self.config, anyway=self.anyway, out=self.workspace.root
            ):
                yield ev.StageWarning(told.largest_stage, message)

    def _bring_up_to_date(self, stage: Stage) -> Iterator[Event]:
        record = self.standing.up_to_date(stage)
        if record is not None:
            if not stage.goes_on(self.config):  # nothing goes on from what a killed run left
                self.workspace.drop_partial(stage.name)
            yield ev.StageSkipped(stage.name, record.summary)
        else:
            yield from self._tell_faults(stage)
            record = yield from self._do(stage)
        self.standing.results[stage.name] = record.result
        for message in record.warnings:
            yield ev.StageWarning(stage.name, message)

    def _tell_faults(self, stage: Stage) -> Iterator[Event]:
        """Say why a finished stage is done again though nothing that was asked is new."""
        wrong = self.standing.faults(stage)
        if wrong:
            yield ev.StageWarning(
                stage.name,
                f"{listed(wrong, 1)}: gone, damaged or changed since it was made; it is made again",
            )

    def _do(self, stage: Stage) -> Generator[Event, None, StageRecord]:
        current, inputs = self.standing.fingerprints[stage.name], self.standing.inputs(stage)
        attempt = fingerprint(stage.name, stage.code_version, {"content": current}, inputs)
        resumed = self.workspace.begin(stage.name, attempt, resumable=stage.goes_on(self.config))
        log.info("stage %s starts%s", stage.name, " where it was stopped" if resumed else "")
        yield ev.StageStarted(stage.name, resumed)
        try:
            done = yield from self._execute(stage)
        except Exception as error:
            if not (resumed and may_be_leftovers(error, self.workspace.partial_dir(stage.name))):
                raise
            log.warning("stage %s begins anew", stage.name, exc_info=error)
            why = error.what if isinstance(error, VoxterraError) else error
            message = f"what the stopped run had left cannot be used ({why}); it is done anew"
            yield ev.StageWarning(stage.name, message)
            self.workspace.drop_partial(stage.name)
            self.workspace.begin(stage.name, attempt, resumable=False)
            done = yield from self._execute(stage)
        record = StageRecord(
            fingerprint=current,
            result=uuid4().hex,
            inputs=inputs,
            summary=done.result.summary,
            warnings=done.result.warnings,
            seconds=round(done.seconds, 3),
            peak_rss_bytes=done.peak_rss_bytes,
            products=done.result.products,
        )
        self.workspace.commit(stage.name, record)
        log.info("stage %s took %.1f s: %s", stage.name, done.seconds, record.summary)
        for message in record.warnings:
            log.warning("%s: %s", stage.name, message)
        yield ev.StageFinished(stage.name, record.seconds, record.peak_rss_bytes, record.summary)
        return record

    def _execute(self, stage: Stage) -> Generator[Event, None, Execution[StageOutput]]:
        def work(progress: Progress) -> StageOutput:
            context = StageContext(self.source, self.config, self.workspace, stage.name, progress)
            with collecting_warnings() as logged:
                output = stage.run(context)
            return replace(output, warnings=tuple(dict.fromkeys([*output.warnings, *logged])))

        return (yield from execute(stage.name, work))

    def _record_question(self) -> None:
        """Keep which photos and options the run has, for the next time it goes on."""
        write_run_file(
            self.workspace.root,
            self.source,
            plain(self.asked),
            __version__,
            path_options(self.asked),
        )
        write_options(self.asked, self.workspace.root / CONFIG_FILE)

    def _tell_outdated(self) -> Iterator[Event]:
        """A warning when stages behind the plan hold results of inputs that are no more."""
        outdated = self.standing.outdated(self.stages[len(self.plan) :])
        if outdated:
            yield ev.StageWarning(
                self.plan[-1].name,
                f"out of date now: {', '.join(outdated)}; to bring them up to date: "
                f"voxterra run --out {shlex.quote(str(self.workspace.root))}",
            )

    def _products(self) -> Iterator[Event]:
        for stage in self.plan:
            record = self.workspace.record(stage.name)
            for path, description in record.products if record else ():
                file = self.workspace.root / path
                size = file.stat().st_size if file.exists() else 0
                yield ev.ProductWritten(path, description, size)

    def _accuracy(self) -> str | None:
        records = [self.workspace.record(s.name) for s in self.plan if s.tells_accuracy]
        return records[0].summary if records and records[0] else None
