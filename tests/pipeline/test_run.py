"""Runs of three small stages: what is done again, what is kept, what a stopped run leaves."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import fake_stages
import pytest
from fake_stages import STAGES, CountConfig, FakeConfig, ReadConfig, WriteConfig

from voxterra.errors import (
    Cancelled,
    MissingPartError,
    NoPhotosError,
    OutputError,
    UsageError,
    WorkspaceError,
)
from voxterra.io.files import disk
from voxterra.pipeline import events as ev
from voxterra.pipeline.folder import lock
from voxterra.pipeline.run import run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_text("abc")
    (folder / "b.jpg").write_text("de")
    return folder


def go(source: Path | None, out: Path, config: FakeConfig | None = None, **options):
    return list(run(source, out, config or FakeConfig(), stages=STAGES, **options))


def done(events) -> list[str]:
    return [e.stage for e in events if isinstance(e, ev.StageFinished)]


def skipped(events) -> list[str]:
    return [e.stage for e in events if isinstance(e, ev.StageSkipped)]


def test_a_run_tells_its_stages_products_warnings_and_accuracy(source, tmp_path):
    events = go(source, tmp_path / "out")
    assert isinstance(events[0], ev.RunStarted) and events[0].stages == ("read", "count", "write")
    assert done(events) == ["read", "count", "write"]
    assert ev.StageWarning("read", "a warning of read") in events
    assert ev.ProductWritten("products/n.txt", "the number", 3) in events
    assert isinstance(events[-1], ev.RunFinished) and events[-1].accuracy == "5 letters"
    assert (tmp_path / "out/products/n.txt").read_text() == "n=5"
    finished = [e for e in events if isinstance(e, ev.StageFinished)]
    assert all(e.peak_rss_bytes > 1 << 20 for e in finished)
    fractions = [e.fraction for e in events if isinstance(e, ev.StageProgress)]
    assert all(0 <= f <= 1 for f in fractions)


def test_a_second_run_does_nothing_and_tells_the_same(source, tmp_path):
    first = go(source, tmp_path / "out")
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "out/stages").rglob("*.txt")}
    second = go(source, tmp_path / "out")
    assert done(second) == [] and skipped(second) == ["read", "count", "write"]
    told = (ev.StageWarning, ev.ProductWritten)
    assert [e for e in first if isinstance(e, told)] == [e for e in second if isinstance(e, told)]
    assert files == {p: p.stat().st_mtime_ns for p in (tmp_path / "out/stages").rglob("*.txt")}


def test_what_a_stage_logs_as_a_warning_is_told_once_and_again_by_the_next_run(source, tmp_path):
    def read(ctx):
        log = logging.getLogger("voxterra.products.layout")
        log.info("nobody needs this")
        for _ in range(2):
            log.warning("cells of %g instead of %g", 0.2, 0.1)
        log.warning("a warning of read")
        return fake_stages.read(ctx)

    stages = (replace(STAGES[0], run=read), *STAGES[1:])
    wanted = ["a warning of read", "cells of 0.2 instead of 0.1"]
    before = list(logging.getLogger("voxterra").handlers)
    for _ in range(2):
        events = list(run(source, tmp_path / "out", FakeConfig(), stages=stages))
        assert [e.message for e in events if isinstance(e, ev.StageWarning)] == wanted
    assert logging.getLogger("voxterra").handlers == before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (FakeConfig(read=ReadConfig(upper=True)), ["read", "count", "write"]),
        (FakeConfig(count=CountConfig(steps=3)), ["count", "write"]),
        (FakeConfig(write=WriteConfig(prefix="m=")), ["write"]),
    ],
)
def test_a_changed_option_redoes_only_what_depends_on_it(source, tmp_path, change, expected):
    go(source, tmp_path / "out")
    assert done(go(source, tmp_path / "out", change)) == expected


def test_a_changed_code_version_redoes_its_stage_and_what_follows(source, tmp_path):
    go(source, tmp_path / "out")
    newer = (STAGES[0], replace(STAGES[1], code_version=2), STAGES[2])
    events = list(run(source, tmp_path / "out", FakeConfig(), stages=newer))
    assert done(events) == ["count", "write"]


def test_what_a_stage_lacks_is_told_before_any_work_wherever_it_will_be_done(source, tmp_path):
    out, asked = tmp_path / "out", []

    def lacks(config):
        asked.append(config)
        raise MissingPartError("There is no GPU.")

    go(source, out)
    stages = (*STAGES[:2], replace(STAGES[2], requires=lacks))
    assert done(run(source, out, FakeConfig(), stages=stages)) == [] and not asked  # up to date
    assert done(run(source, out, FakeConfig(), stages=stages, until="count")) == []
    roads = (
        {"from_stage": "read"},  # its own options are the same, but what it reads is made anew
        {"from_stage": "write"},
        {"config": FakeConfig(read=ReadConfig(upper=True))},
        {"config": FakeConfig(write=WriteConfig(prefix="m="))},
    )
    for road in roads:
        events = []
        with pytest.raises(MissingPartError, match="no GPU"):
            for event in run(source, out, **{"config": FakeConfig(), "stages": stages, **road}):
                events.append(event)
        assert not [e for e in events if isinstance(e, ev.StageStarted)], road
    assert len(asked) == len(roads)
    (out / "products/n.txt").unlink()
    with pytest.raises(MissingPartError):
        list(run(source, out, FakeConfig(), stages=stages))


def test_a_changed_added_or_renamed_photo_redoes_all(source, tmp_path):
    out = tmp_path / "out"
    go(source, out)
    (source / "a.jpg").write_text("xyz")  # of the same size
    assert done(go(source, out)) == ["read", "count", "write"]
    (source / "c.jpg").write_text("f")
    assert done(go(source, out)) == ["read", "count", "write"]
    (source / "c.jpg").rename(source / "d.jpg")
    assert done(go(source, out)) == ["read", "count", "write"]
    os.utime(source / "d.jpg")  # touched, not changed
    assert done(go(source, out)) == []


def test_files_that_belong_to_a_product_go_with_it(source, tmp_path):
    def write_tiles(ctx):
        output = STAGES[-1].run(ctx)
        tile = ctx.out / "products/tiles" / f"{ctx.config.write.prefix}.glb"
        tile.parent.mkdir()
        tile.write_text("tile")
        return output

    stages = (*STAGES[:-1], replace(STAGES[-1], run=write_tiles))
    for prefix in ("n=", "m="):
        config = FakeConfig(write=WriteConfig(prefix=prefix))
        list(run(source, tmp_path / "out", config, stages=stages))
    assert [p.name for p in (tmp_path / "out/products/tiles").iterdir()] == ["m=.glb"]


def test_products_no_longer_made_go_and_files_of_the_user_stay(source, tmp_path):
    products = tmp_path / "out/products"
    go(source, tmp_path / "out")
    (products / "my_map.qgz").write_text("mine")
    go(source, tmp_path / "out", FakeConfig(write=WriteConfig(prefix="m=")))
    assert sorted(p.name for p in products.iterdir()) == ["m.txt", "my_map.qgz"]


def test_from_and_until(source, tmp_path):
    out = tmp_path / "out"
    assert done(go(source, out, until="count")) == ["read", "count"]
    assert done(go(source, out, from_stage="count", until="count")) == ["count"]
    assert done(go(source, out, from_stage="count")) == ["count", "write"]
    # count alone is done again: write was made from a result that is not there any more
    go(source, out, from_stage="count", until="count")
    assert done(go(source, out)) == ["write"]
    with pytest.raises(UsageError, match="did you mean 'count'"):
        go(source, out, until="cuont")
    with pytest.raises(UsageError, match="stop after"):
        go(source, out, from_stage="write", until="read")


def test_a_moved_run_is_still_up_to_date(source, tmp_path):
    go(source, tmp_path / "one/out")
    shutil.move(tmp_path / "one/out", tmp_path / "elsewhere")
    shutil.move(source, tmp_path / "other_photos")
    assert done(go(tmp_path / "other_photos", tmp_path / "elsewhere")) == []


def test_a_run_without_its_photos_goes_on_from_what_it_has(source, tmp_path):
    go(source, tmp_path / "out", until="read")
    shutil.rmtree(source)
    assert done(go(None, tmp_path / "out")) == ["count", "write"]
    with pytest.raises(NoPhotosError):
        go(tmp_path / "never_there", tmp_path / "out")


def test_photos_moved_together_with_the_run_are_found(source, tmp_path):
    go(source, tmp_path / "out")
    (tmp_path / "far").mkdir()
    for name in ("photos", "out"):
        shutil.move(tmp_path / name, tmp_path / "far" / name)
    assert done(go(None, tmp_path / "far/out", from_stage="read")) == ["read", "count", "write"]


def test_closing_stops_the_stage_and_leaves_nothing_half_written(source, tmp_path):
    config = FakeConfig(count=CountConfig(seconds=20.0, steps=200))
    threads = set(threading.enumerate())
    events = run(source, tmp_path / "out", config, stages=STAGES)
    for event in events:
        if isinstance(event, ev.StageProgress) and event.stage == "count":
            break
    start = time.perf_counter()
    events.close()
    assert time.perf_counter() - start < 2.0
    assert set(threading.enumerate()) == threads
    assert not (tmp_path / "out/stages/count").exists()
    assert (tmp_path / "out/stages/read/text.txt").exists()
    assert skipped(go(source, tmp_path / "out"))[:1] == ["read"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_run_resumes_where_it_was(source, tmp_path):
    out = tmp_path / "out"
    program = [sys.executable, fake_stages.__file__, str(source), str(out), "3"]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    steps = out / "stages/.count.partial/done_steps.txt"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (steps.exists() and len(steps.read_text()) >= 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "stages/count").exists() and not (out / "products").exists()
    config = FakeConfig(count=CountConfig(seconds=3.0, steps=10))
    events = go(source, out, config)
    assert skipped(events) == ["read"]
    assert [e.resumed for e in events if isinstance(e, ev.StageStarted)] == [True, False]
    summary = next(e.summary for e in events if isinstance(e, ev.StageFinished))
    assert int(summary.split()[-1]) >= 2
    assert (out / "products/n.txt").read_text() == "n=5"


def test_what_a_stopped_run_left_with_other_options_is_not_used(source, tmp_path):
    with pytest.raises(OutputError):
        go(source, tmp_path / "out", FakeConfig(count=CountConfig(fail="OSError")))
    events = go(source, tmp_path / "out")
    assert "counted, from step 0" in [e.summary for e in events if hasattr(e, "summary")]


def test_two_runs_in_one_folder_are_refused(source, tmp_path):
    config = FakeConfig(count=CountConfig(seconds=20.0, steps=200))
    first = run(source, tmp_path / "out", config, stages=STAGES)
    next(first)
    with pytest.raises(WorkspaceError, match=f"process {os.getpid()} "):
        go(source, tmp_path / "out")
    first.close()
    assert done(go(source, tmp_path / "out"))


def collect_until_error(source, out, config, error):
    events = []
    with pytest.raises(error) as caught:
        for event in run(source, out, config, stages=STAGES):
            events.append(event)
    return events, caught.value


def test_a_full_disk_is_an_output_error(source, tmp_path):
    config = FakeConfig(count=CountConfig(fail="OSError"))
    events, error = collect_until_error(source, tmp_path / "out", config, OutputError)
    assert "The disk is full" in error.what and "same command again" in error.next_step
    assert str(tmp_path / "out") in error.where and "free)" in error.where
    failed = events[-1]
    assert isinstance(failed, ev.RunFailed)
    assert (failed.kind, failed.stage, failed.exit_code) == ("OutputError", "count", 20)


def test_an_internal_error_keeps_its_traceback_in_the_log(source, tmp_path):
    config = FakeConfig(count=CountConfig(fail="Bug"))
    events, _ = collect_until_error(source, tmp_path / "out", config, KeyError)
    assert (events[-1].kind, events[-1].exit_code) == ("internal", 70)
    assert "Traceback" in (tmp_path / "out/log.txt").read_text()


def test_ctrl_c_becomes_cancelled(source, tmp_path):
    config = FakeConfig(count=CountConfig(seconds=20.0, steps=200))
    events = run(source, tmp_path / "out", config, stages=STAGES)
    while not isinstance(next(events), ev.StageProgress):
        pass
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    # A shell that puts the tests into the background makes them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(Cancelled):
            list(events)
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_journal_holds_every_event_but_progress(source, tmp_path):
    events = go(source, tmp_path / "out")
    lines = [json.loads(x) for x in (tmp_path / "out/events.jsonl").read_text().splitlines()]
    expected = [ev.to_dict(e) for e in events if not isinstance(e, ev.StageProgress)]
    for line in lines:
        line.pop("time")
    assert lines == json.loads(json.dumps(expected))


def test_folders_that_are_no_run_are_refused(source, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter1.doc").write_text("x")
    with pytest.raises(UsageError, match=r"chapter1\.doc"):
        go(source, tmp_path / "thesis")
    with pytest.raises(OutputError):
        go(source, tmp_path / "thesis/chapter1.doc/out")
    with pytest.raises(UsageError, match="inside the folder of photos"):
        go(source, source / "out")


def test_a_damaged_or_newer_run_file_is_refused(source, tmp_path):
    go(source, tmp_path / "out")
    path = tmp_path / "out/voxterra.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(WorkspaceError, match="format 99"):
        go(source, tmp_path / "out")
    path.write_text("{")
    with pytest.raises(WorkspaceError, match="damaged"):
        go(source, tmp_path / "out")


def test_no_source_at_all(tmp_path):
    with pytest.raises(NoPhotosError):
        go(None, tmp_path / "out")


def test_what_somebody_deleted_is_made_again(source, tmp_path):
    out = tmp_path / "out"
    go(source, out)
    (out / "products/n.txt").unlink()
    assert done(go(source, out)) == ["write"]
    assert (out / "products/n.txt").read_text() == "n=5"
    (out / "stages/count/count.txt").unlink()
    assert done(go(source, out)) == ["count", "write"]
    assert done(go(source, out)) == []


@pytest.mark.parametrize(("gone", "again"), [("stages/read/text.txt", "read"), ("x.bin", "count")])
def test_a_file_that_goes_while_a_stage_needs_it_is_told_with_what_to_do(
    source, tmp_path, gone, again
):
    out = tmp_path / "out"

    def count(ctx):
        (out / gone).unlink(missing_ok=True)
        return (out / gone).read_text()

    stages = (STAGES[0], replace(STAGES[1], run=count), STAGES[2])
    events = []
    with pytest.raises(WorkspaceError) as caught:
        for event in run(source, out, FakeConfig(), stages=stages):
            events.append(event)
    assert caught.value.where == str(out / gone)
    assert f"voxterra run --out DIR --from {again}" in caught.value.next_step
    assert events[-1].exit_code == 21 and events[-1].stage == "count"
    assert "Traceback" in (out / "log.txt").read_text()


def test_a_folder_that_cannot_be_locked_is_not_taken_for_a_second_run(tmp_path, monkeypatch):
    def no_locks(file):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_try_lock", no_locks)
    with pytest.raises(OutputError, match="No locks available"), lock.locked(tmp_path / "l"):
        pass


def test_a_run_without_its_photos_may_be_named_by_a_relative_path(source, tmp_path, monkeypatch):
    go(source, tmp_path / "out", until="read")
    shutil.rmtree(source)
    monkeypatch.chdir(tmp_path)
    assert done(go(Path("photos"), Path("out"))) == ["count", "write"]


def test_photos_that_cannot_be_read_leave_the_run_with_its_own(source, tmp_path):
    out = tmp_path / "run"
    list(run(source, out, FakeConfig(), stages=STAGES))
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "a.jpg").mkdir()  # reading it fails
    with pytest.raises(WorkspaceError):
        list(run(wrong, out, FakeConfig(), stages=STAGES))
    events = list(run(None, out, FakeConfig(), stages=STAGES))
    assert not [e for e in events if isinstance(e, ev.StageFinished)]


def test_other_photos_than_before_are_told(source, tmp_path):
    out = tmp_path / "run"
    list(run(source, out, FakeConfig(), stages=STAGES))
    other = tmp_path / "other"
    shutil.copytree(source, other)
    (other / "more.jpg").write_text("more")
    events = list(run(other, out, FakeConfig(), stages=STAGES))
    told = [e.message for e in events if isinstance(e, ev.StageWarning)]
    assert any("not the photos" in message for message in told)
    again = list(run(other, out, FakeConfig(), stages=STAGES))
    assert not any("not the photos" in e.message for e in again if isinstance(e, ev.StageWarning))


def test_what_a_single_step_leaves_out_of_date_is_told(source, tmp_path):
    out = tmp_path / "run"
    list(run(source, out, FakeConfig(), stages=STAGES))
    changed = FakeConfig(count=CountConfig(steps=5))
    events = list(run(None, out, changed, from_stage="count", until="count", stages=STAGES))
    told = [e.message for e in events if isinstance(e, ev.StageWarning)]
    assert any("out of date now: write" in message for message in told)
    rest = list(run(None, out, changed, stages=STAGES))
    assert [e.stage for e in rest if isinstance(e, ev.StageFinished)] == ["write"]
    assert not any("out of date" in e.message for e in rest if isinstance(e, ev.StageWarning))


def test_a_full_disk_behind_another_error_is_an_output_error(source, tmp_path, monkeypatch):
    def broken(ctx):
        raise RuntimeError("No registered database factory succeeded.")

    stages = (STAGES[0], replace(STAGES[1], run=broken), STAGES[2])
    monkeypatch.setattr(disk, "_FULL_BYTES", 1 << 60)
    with pytest.raises(OutputError, match="The disk is full") as caught:
        list(run(source, tmp_path / "out", FakeConfig(), stages=stages))
    assert "same command again" in caught.value.next_step
    monkeypatch.setattr(disk, "_FULL_BYTES", 0)
    with pytest.raises(RuntimeError, match="factory"):
        list(run(source, tmp_path / "out", FakeConfig(), stages=stages))


def test_a_lock_that_cannot_be_signed_still_holds(source, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_sign", lambda path: None)  # as on a full disk
    with (
        lock.locked(tmp_path / "l"),
        pytest.raises(WorkspaceError, match="unknown process"),
        lock.locked(tmp_path / "l"),
    ):
        pass
    with lock.locked(tmp_path / "l"):
        pass


def test_runs_in_different_folders_do_not_mind_each_other(source, tmp_path):
    config = FakeConfig(count=CountConfig(seconds=20.0, steps=200))
    first = run(source, tmp_path / "one", config, stages=STAGES)
    while not isinstance(next(first), ev.StageProgress):
        pass
    assert done(go(source, tmp_path / "two")) == ["read", "count", "write"]
    first.close()
