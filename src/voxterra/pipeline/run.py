"""`run`: photos in, products out, yielded as typed events."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxterra.core.options import plain
from voxterra.core.scope import Scope, iterated_in
from voxterra.core.version import VERSION
from voxterra.errors import OutsideAreaError
from voxterra.pipeline import events as ev
from voxterra.pipeline.engine import sites
from voxterra.pipeline.engine.freshness import TO_COME, Freshness
from voxterra.pipeline.engine.plan import Source, photo_paths, planned
from voxterra.pipeline.engine.stage import Stage
from voxterra.pipeline.engine.stage_runner import StageRunner
from voxterra.pipeline.engine.tasks import ENGINES
from voxterra.pipeline.events import Event
from voxterra.pipeline.failures import as_user_error, failure
from voxterra.pipeline.folder.journal import JOURNAL_FILE, LOG_FILE, logging_to, write_event
from voxterra.pipeline.folder.lock import LOCK_FILE, locked
from voxterra.pipeline.folder.run_file import (
    has_run_file,
    read_run_file,
    recorded_source,
    write_run_file,
)
from voxterra.pipeline.folder.workspace import CONFIG_FILE, open_workspace
from voxterra.pipeline.recipe.config_file import path_options, write_options
from voxterra.pipeline.recipe.listing import hashes_of

if TYPE_CHECKING:
    from voxterra.pipeline.recipe.config import RunConfig

log = logging.getLogger(__name__)


def run(
    source: Source | None,
    out: Path | str,
    config: RunConfig | None = None,
    *,
    from_stage: str | None = None,
    until: str | None = None,
    stages: Sequence[Stage] | None = None,
    force: bool = False,
    engine: str = "local",
) -> Generator[Event, None, None]:
    """Bring the stages of a run folder up to date, and yield events about it.

    A stage is done again only if its options, its inputs or its code changed. Closing the
    generator stops the run; finished stages are kept. Other sites (`core.sites`) have stages of
    their own. Several runs may share a process, each in its own thread or step by step in one:
    logs, warnings and progress stay separate.

    Args:
        source: folder of photos, archive, or photo files; None for those of the last run in `out`.
        out: the run folder.
        config: the options; None for the standard preset.
        from_stage: do this stage and all that depend on it again, even if up to date.
        until: stop after this stage.
        stages: the table of stages; None for Voxterra's own.
        force: start even if memory or disk may not suffice.
        engine: name in `voxterra.pipeline.engine.tasks.ENGINES` of the engine that does the stages.

    Yields:
        events; the last is `RunFinished` or `RunFailed`.

    Raises:
        VoxterraError: any error, after `RunFailed` once the run has started.
    """
    scope = Scope(f"run in {out}")
    events = _run(
        scope, source, Path(out), config, from_stage=from_stage, until=until, stages=stages,
        force=force, engine=engine,
    )  # fmt: skip
    yield from iterated_in(scope, events)


def _run(
    scope: Scope,
    source: Source | None,
    out: Path,
    config: Any,
    *,
    from_stage: str | None,
    until: str | None,
    stages: Sequence[Stage] | None,
    force: bool,
    engine: str,
) -> Generator[Event, None, None]:
    own = stages is None
    if stages is None:
        from voxterra.pipeline.recipe.config import check_config
        from voxterra.pipeline.recipe.presets import preset
        from voxterra.pipeline.recipe.stages import STAGES

        stages = STAGES
        config = preset("standard") if config is None else config
        check_config(config)
    does = ENGINES.get(engine)
    plan = planned(stages, from_stage, until)
    redone: tuple[str, ...] = ()
    given = None if source is None else photo_paths(source, out)
    workspace = open_workspace(out)
    with ExitStack() as stack:
        stack.enter_context(locked(workspace.root / LOCK_FILE))
        read_run_file(workspace.root)
        workspace.recover()
        log_file = workspace.root / LOG_FILE
        stack.enter_context(logging_to(log_file, scope))
        paths = given or photo_paths(recorded_source(workspace.root), workspace.root)
        asked, hashes = config, hashes_of(workspace)
        if own:
            from voxterra.pipeline.recipe.presets import settled
            from voxterra.pipeline.recipe.upgrade import upgrade

            redone = upgrade(workspace, stages, hashes)
            config = settled(config, workspace)
            asked = replace(config, backend=asked.backend)
        freshness = Freshness(workspace, config, paths, hashes, plan, from_stage)
        main = StageRunner(workspace, config, paths, freshness, does, log_file)
        running = _Run(main, stages, from_stage, asked, redone, estimates=own, force=force)
        for event in running.events():
            write_event(workspace.root / JOURNAL_FILE, event)
            yield event


@dataclass
class _Run:
    """One run: its inputs and its state.

    Attributes:
        main: runs the stages of the main site; has the plan.
        table: all stages.
        from_stage: this one and those that depend on it are done again.
        redone: stages of an earlier version whose results cannot be used.
        asked: the options to record, with "auto" kept: another machine chooses for itself.
        estimates: whether to estimate the run first.
        force: whether to start where memory or disk may not suffice.
        others: run the stages of the other sites known so far.
        current: the current stage, and the component number of its site; None = the main one.
        ended: why the main site has no products though the run continues.
        warned: texts of warnings so far; each is yielded once, though it holds at several sites.
    """

    main: StageRunner
    table: Sequence[Stage]
    from_stage: str | None
    asked: Any
    redone: tuple[str, ...]
    estimates: bool
    force: bool
    others: tuple[StageRunner, ...] = ()
    current: tuple[str | None, int | None] = (None, None)
    ended: str | None = None
    warned: set[str] = field(default_factory=set)

    @property
    def plan(self) -> Sequence[Stage]:
        return self.main.freshness.plan

    @property
    def root(self) -> Path:
        return self.main.workspace.root

    def events(self) -> Iterator[Event]:
        """All events of the run; an error comes out after `RunFailed`."""
        start = time.perf_counter()
        names = tuple(stage.name for stage in self.plan)
        log.info("Voxterra %s, run in %s", VERSION, self.root)
        yield ev.RunStarted(str(self.root), names, VERSION)
        try:
            known = has_run_file(self.root)
            yield from self._prepare(known)
            for stage in self.plan:
                if stage.gathers:
                    yield from self._do_other_sites()
                self.current = (stage.name, None)
                try:
                    yield from self._once(self.main.bring_up_to_date(stage))
                except OutsideAreaError as error:
                    yield from self._continue_without_main(stage, error)
                    break
                if known and stage is self.plan[0]:  # unusable photos leave the run as it was
                    self._record_run()
            else:
                if not any(stage.gathers for stage in self.plan):
                    yield from self._do_other_sites()
            yield from self._warn_of_outdated()
        except GeneratorExit:
            log.info("stopped in stage %s", self.current[0])
            raise
        except BaseException as error:
            yield failure(error, *self.current, folder=self.root)
            raise (as_user_error(error, self.current[0], self.root) or error) from error
        for runner in (self.main, *self.others):
            yield from runner.products(self.root)
        seconds = round(time.perf_counter() - start, 3)
        ended = tuple(sites.ended(runner, self.root) for runner in self.others)
        yield ev.RunFinished(str(self.root), seconds, self.main.accuracy(), ended, self.ended)

    def _prepare(self, known: bool) -> Iterator[Event]:
        """Find out what is up to date and what is to do, and warn before anything starts.

        `known` is whether a run was started in this folder before.
        """
        freshness = self.main.freshness
        yield from freshness.read_files()
        freshness.find_out()
        if not known:
            self._record_run()
        elif freshness.has_other_photos():
            yield ev.StageWarning(
                self.plan[0].name,
                "these are not the photos of the last run in this folder: its results are "
                "replaced; to keep them, stop now and give another --out",
            )
        results = freshness.foreseen()
        if any(stage.splits and results[stage.name] != TO_COME for stage in self.plan):
            self.others = sites.site_runners(self.main, results, self.from_stage)
            freshness.of_sites = sites.results_of_sites(self.others, tuple(self.table))
        if self.redone:
            yield ev.StageWarning(
                self.redone[0].split()[0],
                f"made by Voxterra 0.1 from other photos or options than it recorded: "
                f"{', '.join(self.redone)}; these are done again, and all stages that depend on "
                "them",
            )
        yield from self._warn_of_gone_photos()
        for runner in (self.main, *self.others):
            yield from runner.warn_of_damaged_records()
        for runner in (self.main, *self.others):
            for stage in runner.freshness.to_do():
                if stage.requires is not None:  # find a missing part before hours of other work
                    stage.requires(runner.config)
        yield from self._estimate()

    def _warn_of_gone_photos(self) -> Iterator[Event]:
        """Warn if there is work to do and the photos have been moved or deleted."""
        gone = [path for path in self.main.source if not path.exists()]
        if gone and any(runner.freshness.to_do() for runner in (self.main, *self.others)):
            yield ev.StageWarning(
                self.plan[0].name,
                f"the photos are no longer at {gone[0]}, and steps that read them will fail: give "
                "their new folder with voxterra run PHOTOS --out "
                f"{shlex.quote(str(self.root))}; finished steps are kept",
            )

    def _estimate(self) -> Iterator[Event]:
        """Estimate the stages to do; refuse a run that cannot work on this machine."""
        if not self.estimates:
            return
        from voxterra.pipeline.costs.forecast import forecast, require_resources

        main = self.main
        names, others = [s.name for s in main.freshness.to_do()], []
        for runner in self.others:
            assert runner.site is not None
            to_do = [stage.name for stage in runner.freshness.to_do()]
            if names or to_do:
                others.append((sites.photo_count(main.workspace, runner.site), to_do))
        expected = forecast(main.source, main.config, names, self.root, others)
        if expected is not None:
            in_order = tuple(stage.name for stage in self.plan if stage.name in expected.stages)
            expected = replace(expected, stages=in_order)
            yield expected
            for message in require_resources(
                expected, main.config, force=self.force, out=self.root
            ):
                yield ev.StageWarning(expected.largest_stage, message)

    def _do_other_sites(self) -> Iterator[Event]:
        """Bring the other sites up to date, one after the other."""
        if not any(stage.splits for stage in self.plan):
            return
        freshness = self.main.freshness
        self.others = sites.site_runners(self.main, freshness.results, self.from_stage)
        sites.drop_others(self.main.workspace, self.others)
        for runner in self.others:
            self.current = (runner.freshness.plan[0].name, runner.number)
            for event in self._once(sites.bring_up_to_date(runner)):
                if isinstance(event, ev.StageStarted):
                    self.current = (event.stage, event.component)
                yield event
        freshness.of_sites = sites.results_of_sites(self.others, tuple(self.table))

    def _continue_without_main(self, stage: Stage, error: OutsideAreaError) -> Iterator[Event]:
        """Do only the other sites, where the area of interest is in one of them."""
        yield from self._do_other_sites()
        self.current, self.ended = (stage.name, None), error.what
        yield from sites.continue_without(self.main, self.others, stage, error)

    def _once(self, events: Iterator[Event]) -> Iterator[Event]:
        """Drop warnings of other sites that the main site gave too."""
        for event in events:
            if isinstance(event, ev.StageWarning):
                if event.component is not None and event.message in self.warned:
                    continue
                self.warned.add(event.message)
            yield event

    def _record_run(self) -> None:
        """Record photos and options of the run, to resume it."""
        write_run_file(
            self.root,
            self.main.source,
            plain(self.asked),
            VERSION,
            path_options(self.asked),
        )
        write_options(self.asked, self.root / CONFIG_FILE)

    def _warn_of_outdated(self) -> Iterator[Event]:
        """Warn if stages after the plan have results of changed inputs."""
        later = self.table[len(self.plan) :]
        outdated = self.main.freshness.outdated(later)
        for runner in self.others:
            assert runner.site is not None
            found = runner.freshness.outdated(later)
            outdated += [f"{name} of {runner.site.describe()}" for name in found]
        if outdated:
            yield ev.StageWarning(
                self.plan[-1].name,
                f"out of date now: {', '.join(outdated)}; to bring them up to date: "
                f"voxterra run --out {shlex.quote(str(self.root))}",
            )
