"""Several runs in one process: logs, warnings, progress and stopping stay apart."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from voxterra.core.scope import ScopedThreadPool, in_scope
from voxterra.pipeline import events as ev
from voxterra.pipeline.engine.stage import Stage, StageContext, StageOutput
from voxterra.pipeline.run import run

LOG = logging.getLogger("voxterra.depth.estimate")


@dataclass(frozen=True)
class NoOptions:
    pass


@dataclass
class Fake:
    """A run of one stage that says its name in every way there is, then waits."""

    name: str
    folder: Path
    begin: Callable[[], object] = lambda: None
    end: threading.Event = field(default_factory=threading.Event)
    events: list[ev.Event] = field(default_factory=list)

    def stage(self, ctx: StageContext) -> StageOutput:
        ctx.progress(0.0, f"{self.name} begins")
        self.begin()
        self.speak("stage")
        with ScopedThreadPool(1) as pool:
            pool.submit(self.speak, "pool").result()
        thread = threading.Thread(target=in_scope(self.speak), args=["thread"])
        thread.start()
        thread.join()
        for _ in range(3):
            with np.errstate(divide="warn"):
                np.log(np.zeros(1))
        (ctx.out / "x.txt").write_text(self.name)
        while not self.end.wait(0.02):
            ctx.progress(0.5, f"{self.name} waits")
        return StageOutput(self.name)

    def speak(self, where: str) -> None:
        LOG.info("%s: info of the %s", self.name, where)
        LOG.warning("%s: log of the %s", self.name, where)
        warnings.warn(f"{self.name}: warn in the {where}", stacklevel=1)  # one line for all runs
        warnings.warn("for developers", DeprecationWarning, stacklevel=1)

    @property
    def source(self) -> Path:
        source = self.folder / f"photos {self.name}"
        source.mkdir(exist_ok=True)
        (source / "a.jpg").write_text(self.name)
        return source

    @property
    def out(self) -> Path:
        return self.folder / f"out {self.name}"

    def run(self):
        stages = (Stage("say", ("source",), (), self.stage),)
        return run(self.source, self.out, NoOptions(), stages=stages)

    def follow(self) -> None:
        for event in self.run():
            self.events.append(event)

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self.follow)
        thread.start()
        return thread

    def assert_heard(self) -> None:
        """The events and the log hold all that was said in this run, and nothing else."""
        told = [e.message for e in self.events if isinstance(e, ev.StageWarning)]
        own = [text for text in told if not text.startswith("RuntimeWarning: divide by zero")]
        assert len(told) == len(own) + 1, told
        places = ("stage", "pool", "thread")
        logged = [t for t in own if " log of " in t]
        assert logged == [f"{self.name}: log of the {place}" for place in places]
        warned = [t for t in own if "warn in" in t]
        assert [t.split(" (")[0] for t in warned] == [
            f"UserWarning: {self.name}: warn in the {place}" for place in places
        ]
        assert "(pipeline/test_several_runs.py:" in warned[0]
        assert len(own) == 6
        progress = {e.message.split()[0] for e in self.events if isinstance(e, ev.StageProgress)}
        assert progress <= {self.name}
        log = (self.out / "log.txt").read_text()
        said = [line for line in log.splitlines() if ": info of the " in line]
        assert [line.split()[-1] for line in said] == list(places)
        assert all(f" {self.name}: " in line for line in said)
        assert str(self.out) in log and log.count("run in ") == 1
        assert "stage say took" in log and log.count("divide by zero") == 2  # as said, as told


@pytest.mark.parametrize("first", ["a", "b"])
def test_two_runs_in_two_threads_hear_only_themselves(tmp_path, first):
    logger = logging.getLogger("voxterra")
    before = logger.level, list(logger.handlers)
    meet = threading.Barrier(2)
    fakes = {name: Fake(name, tmp_path, lambda: meet.wait(10)) for name in "ab"}
    threads = {name: fake.start() for name, fake in fakes.items()}
    for name in sorted(fakes, key=lambda name: name != first):
        fakes[name].end.set()
        threads[name].join(10)
    for fake in fakes.values():
        assert isinstance(fake.events[-1], ev.RunFinished)
        fake.assert_heard()
    assert (logger.level, list(logger.handlers)) == before


def test_two_runs_iterated_in_turns_by_one_thread_hear_only_themselves(tmp_path):
    fakes = [Fake(name, tmp_path) for name in "ab"]
    for fake in fakes:
        fake.end.set()
    going = [(fake, fake.run()) for fake in fakes]
    while going:
        for fake, events in list(going):
            event = next(events, None)
            LOG.warning("of nobody's run")
            if event is None:
                going.remove((fake, events))
            else:
                fake.events.append(event)
    for fake in fakes:
        fake.assert_heard()


def test_stopping_one_run_leaves_the_other(tmp_path):
    meet = threading.Barrier(2)
    stays, stopped = (Fake(name, tmp_path, lambda: meet.wait(10)) for name in "ab")
    thread = stays.start()
    events = stopped.run()
    while "waits" not in getattr(next(events), "message", ""):
        pass
    events.close()
    assert not (stopped.out / "stages/say").exists()
    assert "stopped in stage say" in (stopped.out / "log.txt").read_text()
    time.sleep(0.1)
    assert thread.is_alive()
    stays.end.set()
    thread.join(10)
    stays.assert_heard()


def test_warnings_outside_of_runs_go_where_they_went_before(tmp_path):
    meet = threading.Barrier(2)
    fake = Fake("a", tmp_path, lambda: meet.wait(10))
    thread = fake.start()
    meet.wait(10)
    with pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", stacklevel=1)
    LOG.warning("mine")
    fake.end.set()
    thread.join(10)
    fake.assert_heard()
    assert "mine" not in (fake.out / "log.txt").read_text()
