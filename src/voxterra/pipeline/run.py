"""`run`: photos in, products out, told as a stream of typed events."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from voxterra import __version__
from voxterra.errors import OutsideAreaError
from voxterra.pipeline import events as ev
from voxterra.pipeline.engine import sites as apart
from voxterra.pipeline.engine.freshness import TO_COME
from voxterra.pipeline.engine.plan import Source, photo_paths, planned
from voxterra.pipeline.engine.stage import Stage
from voxterra.pipeline.engine.stage_runner import World, main_world
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
from voxterra.pipeline.recipe.config_file import path_options, plain, write_options

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
    generator stops the run; what a stage had finished is kept. Each world apart gets its own.

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
        from voxterra.pipeline.recipe.config import check_config
        from voxterra.pipeline.recipe.presets import preset
        from voxterra.pipeline.recipe.stages import STAGES

        stages = STAGES
        config = preset("standard") if config is None else config
        check_config(config)
    plan = planned(stages, from_stage, until)
    redone: tuple[str, ...] = ()
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
            from voxterra.pipeline.recipe.presets import settled
            from voxterra.pipeline.recipe.upgrade import upgrade

            redone = upgrade(workspace, stages)
            config = settled(config, workspace)
            asked = replace(config, backend=asked.backend)
        main = main_world(workspace, config, paths, plan, from_stage)
        running = _Run(main, stages, from_stage, asked, redone, estimates=own, anyway=anyway)
        for event in running.events():
            write_event(workspace.root / JOURNAL_FILE, event)
            yield event


@dataclass
class _Run:
    """One run: what it works on, and how it stands.

    Attributes:
        main: the world that it is about, with the plan.
        table: all stages.
        from_stage: this one is done again, and what depends on it.
        redone: stages of an earlier version whose results cannot be used.
        asked: the options to record, "auto" as such: other machines choose anew.
        estimates: whether to tell beforehand what it will take.
        anyway: whether to start where that hardly suffices.
        worlds: of the components that lie apart, as far as they are known.
        current: the stage at work, and the component of its world where it lies apart.
        ended: why the main world has no products though the run goes on.
        told: warnings, each of which is told once though it holds in several worlds.
    """

    main: World
    table: Sequence[Stage]
    from_stage: str | None
    asked: Any
    redone: tuple[str, ...]
    estimates: bool
    anyway: bool
    worlds: tuple[World, ...] = ()
    current: tuple[str | None, int | None] = (None, None)
    ended: str | None = None
    told: set[str] = field(default_factory=set)

    @property
    def plan(self) -> Sequence[Stage]:
        return self.main.standing.plan

    @property
    def root(self) -> Path:
        return self.main.workspace.root

    def events(self) -> Iterator[Event]:
        """All events of the run; an error comes out after `RunFailed`."""
        start = time.perf_counter()
        names = tuple(stage.name for stage in self.plan)
        log.info("Voxterra %s, run in %s", __version__, self.root)
        yield ev.RunStarted(str(self.root), names, __version__)
        try:
            known = has_run_file(self.root)
            yield from self._prepare(known)
            for stage in self.plan:
                if stage.gathers:
                    yield from self._bring_apart()
                self.current = (stage.name, None)
                try:
                    yield from self._once(self.main.bring_up_to_date(stage))
                except OutsideAreaError as error:
                    yield from self._go_on_without_main(stage, error)
                    break
                if known and stage is self.plan[0]:  # photos that are none leave the run as it was
                    self._record_question()
            else:
                if not any(stage.gathers for stage in self.plan):
                    yield from self._bring_apart()
            yield from self._tell_outdated()
        except GeneratorExit:
            log.info("stopped in stage %s", self.current[0])
            raise
        except BaseException as error:
            yield failure(error, *self.current, folder=self.root)
            raise (as_user_error(error, self.current[0], self.root) or error) from error
        for world in (self.main, *self.worlds):
            yield from world.products(self.root)
        seconds = round(time.perf_counter() - start, 3)
        ended = tuple(apart.ended(world, self.root) for world in self.worlds)
        yield ev.RunFinished(str(self.root), seconds, self.main.accuracy(), ended, self.ended)

    def _prepare(self, known: bool) -> Iterator[Event]:
        """Find out what there is and what is to do, and tell of it before anything starts.

        `known` is whether a run was started in this folder before.
        """
        standing = self.main.standing
        standing.find_out()
        if not known:
            self._record_question()
        elif standing.has_other_photos():
            yield ev.StageWarning(
                self.plan[0].name,
                "these are not the photos that this run was made of: its results are replaced; "
                "to keep them, stop now and give another --out",
            )
        results = standing.foreseen()
        if any(stage.splits and results[stage.name] != TO_COME for stage in self.plan):
            self.worlds = apart.worlds_of(self.main, results, self.from_stage)
            standing.apart = apart.gathered(self.worlds, tuple(self.table))
        if self.redone:
            yield ev.StageWarning(
                self.redone[0].split()[0],
                f"made by Voxterra 0.1 from other photos or options than it recorded: "
                f"{', '.join(self.redone)}; made again, with all that depends on it",
            )
        yield from self._tell_gone_photos()
        for world in (self.main, *self.worlds):
            for stage in world.standing.to_do():
                if stage.requires is not None:  # missing things are told before hours of other work
                    stage.requires(world.config)
        yield from self._estimate()

    def _tell_gone_photos(self) -> Iterator[Event]:
        """A warning where there is work to do, and the photos are not where they were."""
        gone = [path for path in self.main.source if not path.exists()]
        if gone and any(world.standing.to_do() for world in (self.main, *self.worlds)):
            yield ev.StageWarning(
                self.plan[0].name,
                f"the photos are not at {gone[0]} any more, and steps that read them will fail: "
                "say where they are now, by voxterra run PHOTOS --out "
                f"{shlex.quote(str(self.root))}; finished steps are kept",
            )

    def _estimate(self) -> Iterator[Event]:
        """Tell what the stages to do will take, and refuse what cannot work."""
        if not self.estimates:
            return
        from voxterra.pipeline.costs.forecast import forecast, require_room

        main = self.main
        names, others = [s.name for s in main.standing.to_do()], []
        for world in self.worlds:
            assert world.apart is not None
            to_do = [stage.name for stage in world.standing.to_do()]
            if names or to_do:
                others.append((apart.photo_count(main.workspace, world.apart), to_do))
        told = forecast(main.source, main.config, names, self.root, others)
        if told is not None:
            in_order = tuple(stage.name for stage in self.plan if stage.name in told.stages)
            told = replace(told, stages=in_order)
            yield told
            for message in require_room(told, main.config, anyway=self.anyway, out=self.root):
                yield ev.StageWarning(told.largest_stage, message)

    def _bring_apart(self) -> Iterator[Event]:
        """All worlds apart up to date, one after the other."""
        if not any(stage.splits for stage in self.plan):
            return
        standing = self.main.standing
        self.worlds = apart.worlds_of(self.main, standing.results, self.from_stage)
        apart.drop_others(self.main.workspace, self.worlds)
        for world in self.worlds:
            self.current = (world.standing.plan[0].name, world.number)
            for event in self._once(apart.bring_up_to_date(world)):
                if isinstance(event, ev.StageStarted):
                    self.current = (event.stage, event.component)
                yield event
        standing.apart = apart.gathered(self.worlds, tuple(self.table))

    def _go_on_without_main(self, stage: Stage, error: OutsideAreaError) -> Iterator[Event]:
        """The worlds apart only, where the area of interest lies in one of them."""
        yield from self._bring_apart()
        self.current, self.ended = (stage.name, None), error.what
        yield from apart.go_on_without(self.main, self.worlds, stage, error)

    def _once(self, events: Iterator[Event]) -> Iterator[Event]:
        """Without warnings of worlds apart that the run's own world has told already."""
        for event in events:
            if isinstance(event, ev.StageWarning):
                if event.component is not None and event.message in self.told:
                    continue
                self.told.add(event.message)
            yield event

    def _record_question(self) -> None:
        """Keep which photos and options the run has, for the next time it goes on."""
        write_run_file(
            self.root,
            self.main.source,
            plain(self.asked),
            __version__,
            path_options(self.asked),
        )
        write_options(self.asked, self.root / CONFIG_FILE)

    def _tell_outdated(self) -> Iterator[Event]:
        """A warning when stages behind the plan hold results of inputs that are no more."""
        behind = self.table[len(self.plan) :]
        outdated = self.main.standing.outdated(behind)
        for world in self.worlds:
            assert world.apart is not None
            found = world.standing.outdated(behind)
            outdated += [f"{name} of {world.apart.describe()}" for name in found]
        if outdated:
            yield ev.StageWarning(
                self.plan[-1].name,
                f"out of date now: {', '.join(outdated)}; to bring them up to date: "
                f"voxterra run --out {shlex.quote(str(self.root))}",
            )
