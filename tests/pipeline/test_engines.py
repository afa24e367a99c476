"""Engines: the contract, the local one, and runs whose stages other processes do."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_sites import STAGES_OF_SITES
from fake_stages import STAGES, CountConfig, FakeConfig, ReadConfig
from killing import files

from voxterra.errors import OutputError, UsageError, VoxterraError
from voxterra.pipeline import events as ev
from voxterra.pipeline.engine.conformance import check_engine
from voxterra.pipeline.engine.local import LocalEngine
from voxterra.pipeline.engine.tasks import ENGINES, Task, TaskState
from voxterra.pipeline.engine.worker import TaskError
from voxterra.pipeline.run import run

REPO = Path(__file__).resolve().parents[2]
TASKS = "voxterra.pipeline.engine.conformance"


class NeverStops(LocalEngine):
    def cancel(self, ticket):
        ticket.state = lambda: TaskState("cancelled")  # it says


class HidesTheDead(LocalEngine):
    def wait(self, tickets, timeout_s):
        states = super().wait(tickets, timeout_s)
        return [replace(s, status="done") if s.status == "lost" else s for s in states]


class SwallowsErrors(LocalEngine):
    def wait(self, tickets, timeout_s):
        states = super().wait(tickets, timeout_s)
        return [replace(s, error=RuntimeError(str(s.error))) if s.error else s for s in states]


def test_the_local_engine_keeps_the_contract(tmp_path):
    check_engine(LocalEngine(cores=2), tmp_path)


def test_the_engine_of_the_example_keeps_the_contract(tmp_path):
    example = runpy.run_path(str(REPO / "examples/08_engine.py"))
    check_engine(example["CommandEngine"](), tmp_path)


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (NeverStops, "nothing works any more"),
        (HidesTheDead, "whose worker ends by exit is done"),
        (SwallowsErrors, "its error comes back as RuntimeError"),
    ],
)
def test_an_engine_that_breaks_the_contract_is_told_where(tmp_path, broken, what):
    engine = broken(cores=2)
    with pytest.raises(AssertionError, match=what):
        check_engine(engine, tmp_path, patience_s=20)
    for process in engine._processes:
        process.cancel()


def test_processes_wait_for_cores_and_start_in_their_order(tmp_path):
    engine = LocalEngine(cores=2)
    hang = Task("t", tmp_path / "h", f"{TASKS}:hang", {"beat": str(tmp_path / "beat")})
    write = Task("t", tmp_path / "w", f"{TASKS}:write", {"text": "x", "number": 1})
    one, both, last = engine.submit(hang, 1), engine.submit(write, 8), engine.submit(write, 1)
    assert [s.status for s in engine.wait([both, last], 0.3)] == ["waiting", "waiting"]
    engine.cancel(one)
    assert engine.wait([both], 30)[0].status == "done"
    assert engine.wait([last], 30)[0].status == "done"


def test_tasks_end_with_the_process_that_started_them(tmp_path):
    program = (
        "import sys, time; from pathlib import Path\n"
        "from voxterra.pipeline.engine.local import LocalEngine\n"
        "from voxterra.pipeline.engine.tasks import Task\n"
        f"task = Task('t', Path('h'), '{TASKS}:hang', {{'beat': sys.argv[1]}})\n"
        "ticket = LocalEngine().submit(task); time.sleep(60)"
    )
    beat = tmp_path / "beat"
    starter = subprocess.Popen([sys.executable, "-c", program, str(beat)])
    deadline = time.monotonic() + 30
    while not beat.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    starter.kill()
    starter.wait()
    time.sleep(0.5)
    size = beat.stat().st_size
    time.sleep(0.5)
    assert beat.stat().st_size == size > 0


@pytest.fixture
def processes(monkeypatch):
    """An engine whose stages run in processes of their own; they import the fake stages."""
    path = [str(REPO / "tests/helpers"), str(REPO / "src"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    ENGINES.register("processes", LocalEngine(threads=False))
    yield "processes"
    ENGINES.unregister("processes")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_text("home far\n")
    (folder / "b.jpg").write_text("away")
    return folder


def kept(events) -> list[ev.Event]:
    """Events without what differs from run to run."""
    out = []
    for event in events:
        if isinstance(event, ev.StageFinished):
            event = replace(event, seconds=0.0, peak_rss_bytes=0)
        if isinstance(event, ev.RunFinished):
            event = replace(event, seconds=0.0, out="")
        if not isinstance(event, ev.StageProgress | ev.RunStarted):
            out.append(event)
    return out


def test_stages_in_other_processes_make_the_same(source, tmp_path, processes):
    (source / "b.jpg").write_text("")  # one world apart
    config = FakeConfig(read=ReadConfig(upper=True))
    runs = {
        engine: list(run(source, tmp_path / engine, config, stages=STAGES_OF_SITES, engine=engine))
        for engine in ("local", processes)
    }
    assert kept(runs["local"]) == kept(runs[processes])
    assert files(tmp_path / "local") == files(tmp_path / processes)
    log = (tmp_path / processes / "log.txt").read_text()
    assert log.count("counting the letters of") == 2  # by other processes, into the run's log
    again = list(run(source, tmp_path / processes, config, stages=STAGES_OF_SITES))
    assert not [e for e in again if isinstance(e, ev.StageFinished)]


def test_stopping_stops_the_process_and_another_engine_goes_on(source, tmp_path, processes):
    config = FakeConfig(count=CountConfig(seconds=60.0, steps=600))
    events = run(source, tmp_path / "out", config, stages=STAGES, engine=processes)
    for event in events:
        if isinstance(event, ev.StageProgress) and event.stage == "count" and event.fraction > 0:
            break
    start = time.monotonic()
    events.close()
    assert time.monotonic() - start < 5
    steps = tmp_path / "out/stages/.count.partial/done_steps.txt"
    size = steps.stat().st_size
    time.sleep(0.3)
    assert steps.stat().st_size == size > 0
    after = run(source, tmp_path / "out", config, stages=STAGES)
    started = next(e for e in after if isinstance(e, ev.StageStarted))
    after.close()
    assert (started.stage, started.resumed) == ("count", True)


@pytest.mark.parametrize(
    ("fail", "error", "text"),
    [
        ("OSError", OutputError, "The disk is full"),
        ("Bug", TaskError, "KeyError: 'oops'"),
        ("Killed", VoxterraError, "killed by signal 9"),
    ],
)
def test_errors_of_other_processes_are_those_of_the_run(
    source, tmp_path, processes, fail, error, text
):
    config, events = FakeConfig(count=CountConfig(fail=fail)), []
    with pytest.raises(error, match=text):
        for event in run(source, tmp_path / "out", config, stages=STAGES, engine=processes):
            events.append(event)
    assert isinstance(events[-1], ev.RunFailed) and events[-1].stage == "count"
    log = (tmp_path / "out/log.txt").read_text()
    assert ('raise {"OSError"' in log) == (fail == "Bug")  # the line, in a process that is gone


def test_a_stage_whose_process_was_killed_is_done_once_more(source, tmp_path, processes):
    config = FakeConfig(count=CountConfig(fail="Killed once"))
    events = list(run(source, tmp_path / "out", config, stages=STAGES, engine=processes))
    assert isinstance(events[-1], ev.RunFinished)
    log = (tmp_path / "out/log.txt").read_text()
    assert "count: starts over: The worker of a task ended before its work: killed by sig" in log


def test_a_stage_that_cannot_be_imported_is_refused_by_other_processes(source, tmp_path, processes):
    stages = (replace(STAGES[0], run=lambda ctx: STAGES[0].run(ctx)), *STAGES[1:])
    with pytest.raises(UsageError, match="cannot import") as caught:
        list(run(source, tmp_path / "out", FakeConfig(), stages=stages, engine=processes))
    assert "engine='local'" in caught.value.next_step


def test_an_unknown_engine_is_named_with_the_nearest(source, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'local'"):
        list(run(source, tmp_path / "out", FakeConfig(), stages=STAGES, engine="lokal"))
    assert not (tmp_path / "out").exists()
