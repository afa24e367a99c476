"""`run`: photos in, products out, told as a stream of typed events."""

from __future__ import annotations

import json
import logging
import os
import shlex
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from voxterra import __version__
from voxterra.core.names import nearest
from voxterra.core.progress import Progress
from voxterra.errors import NoPhotosError, UsageError, VoxterraError
from voxterra.io.json_file import write_json
from voxterra.pipeline import events as ev
from voxterra.pipeline.events import Event
from voxterra.pipeline.executor import Execution, execute
from voxterra.pipeline.failures import as_user_error, failure, may_be_leftovers
from voxterra.pipeline.fingerprint import fingerprint, fingerprint_source
from voxterra.pipeline.journal import JOURNAL_FILE, LOG_FILE, logging_to, write_event
from voxterra.pipeline.lock import locked
from voxterra.pipeline.options import path_options, plain, write_options
from voxterra.pipeline.record import StageRecord, read_json
from voxterra.pipeline.stage import Stage, StageContext, StageOutput
from voxterra.pipeline.workspace import (
    CONFIG_FILE,
    LOCK_FILE,
    SOURCE_CACHE_FILE,
    Workspace,
    open_workspace,
)

log = logging.getLogger(__name__)

Source = Path | str | Sequence[Path | str]

_TO_COME = "to come"
"""Stands for the result of a stage that is still to be done."""


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
    plan = _plan(stages, from_stage, until)
    given = None if source is None else _paths(source, Path(out))
    workspace = open_workspace(Path(out))
    with ExitStack() as stack:
        stack.enter_context(locked(workspace.root / LOCK_FILE))
        workspace.read_run_file()
        workspace.recover()
        stack.enter_context(logging_to(workspace.root / LOG_FILE))
        paths = given or _paths(workspace.recorded_source(), workspace.root)
        asked = config
        if own:
            from voxterra.pipeline.backends import settled

            config = settled(config, workspace)
            asked = replace(config, backend=asked.backend)
        running = _Run(workspace, config, paths, stages, plan, from_stage, asked)
        running.estimates = own
        running.anyway = anyway
        for event in running.events():
            write_event(workspace.root / JOURNAL_FILE, event)
            yield event


class _Run:
    """One run: what it works on, and which results its stages have so far."""

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
        self.stages, self.plan, self.from_stage = stages, plan, from_stage
        self.estimates, self.anyway = False, False
        self.fingerprints: dict[str, str] = {}  # of the stages' (and the source's) content
        self.results: dict[str, str] = {}  # which of the results with that fingerprint it is

    def events(self) -> Iterator[Event]:
        """All events of the run; an error comes out after `RunFailed`."""
        start = time.perf_counter()
        names = tuple(stage.name for stage in self.plan)
        current: str | None = None
        log.info("Voxterra %s, run in %s", __version__, self.workspace.root)
        yield ev.RunStarted(str(self.workspace.root), names, __version__)
        try:
            source = self._fingerprint_source()
            self.fingerprints["source"] = self.results["source"] = source
            self._fingerprint_stages()
            known = self.workspace.has_run_file()
            if not known:
                self._record_question()
            elif self._are_others(source):
                yield ev.StageWarning(
                    self.plan[0].name,
                    "these are not the photos that this run was made of; its results are replaced",
                )
            to_do = self._to_do()
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

    def _are_others(self, fingerprint: str) -> bool:
        """Whether these are other photos than the run's, not just the same in another place."""
        if _absolute(self.source) == _absolute(self.workspace.recorded_source()):
            return False
        first = self.workspace.record(self.plan[0].name)
        return first is not None and first.inputs.get("source") != fingerprint

    def _fingerprint_stages(self) -> None:
        """What each stage's result is to be made from; known before any of them starts."""
        for stage in self.plan:
            self.fingerprints[stage.name] = fingerprint(
                stage.name,
                stage.code_version,
                stage.options(self.config),
                {name: self.fingerprints[name] for name in stage.inputs},
            )

    def _to_do(self) -> tuple[Stage, ...]:
        """Stages of the plan that are not up to date."""
        results, again = dict(self.results), []
        for stage in self.plan:
            record = self._up_to_date(stage, {name: results[name] for name in stage.inputs})
            results[stage.name] = record.result if record else _TO_COME
            if record is None:
                again.append(stage)
        return tuple(again)

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

    def _up_to_date(self, stage: Stage, inputs: Mapping[str, str]) -> StageRecord | None:
        """The result of a stage, if it need not be done again."""
        record = self._fitting(stage, inputs)
        fits = record is not None and not self.workspace.faults(stage.name, record)
        return record if fits and stage.name != self.from_stage else None

    def _fitting(self, stage: Stage, inputs: Mapping[str, str]) -> StageRecord | None:
        """The record of a result of these very options and inputs, be its files whole or not."""
        record = self.workspace.record(stage.name)
        asked = (self.fingerprints[stage.name], inputs)
        return record if record and (record.fingerprint, record.inputs) == asked else None

    def _bring_up_to_date(self, stage: Stage) -> Iterator[Event]:
        inputs = {name: self.results[name] for name in stage.inputs}
        record = self._up_to_date(stage, inputs)
        if record is not None:
            if not stage.goes_on(self.config):  # nothing goes on from what a killed run left
                self.workspace.drop_partial(stage.name)
            yield ev.StageSkipped(stage.name, record.summary)
        else:
            yield from self._tell_faults(stage, inputs)
            record = yield from self._do(stage, self.fingerprints[stage.name], inputs)
        self.results[stage.name] = record.result
        for message in record.warnings:
            yield ev.StageWarning(stage.name, message)

    def _tell_faults(self, stage: Stage, inputs: Mapping[str, str]) -> Iterator[Event]:
        """Say why a finished stage is done again though nothing that was asked is new."""
        record = self._fitting(stage, inputs)
        wrong = self.workspace.faults(stage.name, record) if record else ()
        if wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            yield ev.StageWarning(
                stage.name,
                f"{wrong[0]}{more}: gone, damaged or changed since it was made; it is made again",
            )

    def _do(
        self, stage: Stage, current: str, inputs: dict[str, str]
    ) -> Generator[Event, None, StageRecord]:
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
            return stage.run(
                StageContext(self.source, self.config, self.workspace, stage.name, progress)
            )

        return (yield from execute(stage.name, work))

    def _record_question(self) -> None:
        """Keep which photos and options the run has, for the next time it goes on."""
        self.workspace.write_run_file(
            self.source, plain(self.asked), __version__, path_options(self.asked)
        )
        write_options(self.asked, self.workspace.root / CONFIG_FILE)

    def _tell_outdated(self) -> Iterator[Event]:
        """A warning when stages behind the plan hold results of inputs that are no more."""
        results = dict(self.results)
        outdated = []
        for stage in self.stages[len(self.plan) :]:
            record = self.workspace.record(stage.name)
            if record is None:
                continue
            if any(record.inputs.get(name) != results.get(name) for name in stage.inputs):
                outdated.append(stage.name)
            else:
                results[stage.name] = record.result
        if outdated:
            yield ev.StageWarning(
                self.plan[-1].name,
                f"out of date now: {', '.join(outdated)}; to bring them up to date: "
                f"voxterra run --out {shlex.quote(str(self.workspace.root))}",
            )

    def _fingerprint_source(self) -> str:
        """Of the photos; as recorded where a moved run is without its photos."""
        first = self.workspace.record(self.plan[0].name)
        gone = [path for path in self.source if not path.exists()]
        if gone and first and _absolute(self.source) == _absolute(self.workspace.recorded_source()):
            log.warning("the photos are not there any more: %s", gone[0])
            return first.inputs["source"]
        path = self.workspace.root / "stages" / SOURCE_CACHE_FILE
        cache = read_json(path)
        if not isinstance(cache, dict):
            cache = {}
        before = json.dumps(cache)
        result = fingerprint_source(self.source, cache)
        if json.dumps(cache) != before:
            write_json(cache, path)
        return result

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


def _absolute(paths: Sequence[Path]) -> list[str]:
    return [os.path.abspath(path) for path in paths]


def _plan(stages: Sequence[Stage], from_stage: str | None, until: str | None) -> tuple[Stage, ...]:
    names = [stage.name for stage in stages]
    for option, value in (("--from", from_stage), ("--until", until)):
        if value is not None and value not in names:
            raise UsageError(
                f"There is no stage '{value}'{nearest(value, names)}",
                where=option,
                next_step=f"The stages are: {', '.join(names)}.",
            )
    last = names.index(until) if until else len(names) - 1
    if from_stage and names.index(from_stage) > last:
        raise UsageError(
            f"The run would start at {from_stage} but stop after {until}.",
            where="--from, --until",
            next_step=f"The order of the stages is: {', '.join(names)}.",
        )
    return tuple(stages[: last + 1])


def _paths(source: Source, out: Path) -> tuple[Path, ...]:
    paths = tuple(Path(p) for p in ([source] if isinstance(source, Path | str) else source))
    if not paths:
        raise NoPhotosError(
            "No photos were given.",
            where=str(out),
            next_step="Give a folder of photos: voxterra run PHOTOS --out DIR.",
        )
    resolved = out.resolve()
    for path in paths:
        if path.is_dir() and path.resolve() in (resolved, *resolved.parents):
            raise UsageError(
                "The run folder lies inside the folder of photos.",
                where=f"--out {out}",
                next_step="Give an --out folder beside the photos, so that results are not "
                "taken for photos.",
            )
    return paths
