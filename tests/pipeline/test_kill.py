"""Runs killed before every single operation on files, runs in damaged and in moved folders."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from fake_stages import STAGES, CountConfig, FakeConfig, WriteConfig
from killing import files, killed_at, needs_fork

from voxterra.errors import UsageError, WorkspaceError
from voxterra.pipeline import events as ev
from voxterra.pipeline.recipe.stages import STAGE_NAMES
from voxterra.pipeline.recipe.stages import STAGES as REAL_STAGES
from voxterra.pipeline.run import run

REPO = Path(__file__).resolve().parents[2]
OTHER = FakeConfig(write=WriteConfig(prefix="m="))


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


def journal(out: Path) -> list[str]:
    """Stages whose end was told."""
    path = out / "events.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    told = [json.loads(line) for line in lines]
    return [event["stage"] for event in told if event["event"] == "StageFinished"]


@needs_fork
def test_killed_before_any_operation_a_run_resumes_to_the_same(source, tmp_path, every):
    go(source, tmp_path / "whole")
    expected, operation = files(tmp_path / "whole"), 0
    while killed_at(operation, source, out := tmp_path / f"killed_{operation}", FakeConfig()):
        told = journal(out)
        events = go(source, out)
        assert files(out) == expected, operation
        assert not set(told) & set(done(events)), f"{operation}: a finished stage is done again"
        assert done(go(source, out)) == []
        operation += every(5)
    assert operation > 40  # so many are there at least in three stages


@needs_fork
@pytest.mark.parametrize("then", [FakeConfig(), OTHER])
def test_killed_while_it_replaces_a_result_a_run_never_keeps_a_mixture(
    source, tmp_path, then, every
):
    go(source, first := tmp_path / "first")
    go(source, whole := tmp_path / "whole", then)
    expected, operation = files(whole), 0
    while True:
        out = tmp_path / f"killed_{operation}"
        shutil.copytree(first, out)
        if not killed_at(operation, source, out, OTHER):
            break
        go(source, out, then)
        assert files(out) == expected, operation
        operation += every(3)
    assert operation > 15


@needs_fork
def test_killed_again_and_again_a_run_comes_to_its_end(source, tmp_path):
    go(source, tmp_path / "whole")
    rng, out = random.Random(0), tmp_path / "out"
    kills = 0
    while killed_at(rng.randrange(4, 40), source, out, FakeConfig()):
        kills += 1
    assert kills >= 2 and files(out) == files(tmp_path / "whole")


@pytest.mark.parametrize("how", ["empty", "half", "garbled"])
def test_no_damaged_file_is_used_silently(source, tmp_path, how):
    go(source, whole := tmp_path / "whole")
    names = sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file())
    assert len(names) > 12
    for name in names:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole, out)
        content = (out / name).read_bytes()
        damaged = {"empty": b"", "half": content[: len(content) // 2]}
        (out / name).write_bytes(damaged.get(how, bytes(255 - byte for byte in content)))
        if name.name == "voxterra.json":
            with pytest.raises(WorkspaceError) as caught:
                go(source, out)
            assert "Delete this file" in caught.value.next_step
            (out / name).unlink()
            assert done(go(source, out)) == []
        events = go(source, out)
        assert files(out) == files(whole), name
        result = name.parts[0] == "products" or len(name.parts) > 2
        assert bool(done(events)) == result, name
        told = [e.message for e in events if isinstance(e, ev.StageWarning)]
        record = name.name == "fingerprint.json"
        made_again = result and not record
        assert any("damaged or changed" in text for text in told) == made_again, name
        again = {"read": "read is done again, then count, write;", "count": "count is done again, "}
        again |= {"write": "write is done again;"}
        lost = [text for text in told if "damaged or missing, so it is unknown" in text]
        assert len(lost) == record and (not record or again[name.parts[1]] in lost[0]), name


def test_damaged_work_of_a_stopped_run_is_told_and_done_anew(source, tmp_path):
    out = tmp_path / "out"
    failing = FakeConfig(count=CountConfig(fail="OSError"))
    with pytest.raises(Exception, match="The disk is full"):
        go(source, out, failing)
    (out / "stages/.count.partial/done_steps.txt").write_bytes(b"\xff\xfe")
    mended = tuple(
        replace(s, run=lambda ctx: STAGES[1].run(replace(ctx, config=FakeConfig())))
        if s.name == "count"
        else s
        for s in STAGES
    )
    events = list(run(source, out, failing, stages=mended))
    told = [e.message for e in events if isinstance(e, ev.StageWarning)]
    assert any("starts over" in text for text in told)
    assert (out / "products/n.txt").read_text() == "n=5"


def test_a_copy_without_times_is_up_to_date_and_its_damage_is_seen(source, tmp_path):
    go(source, tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(tmp_path / "out")
    assert done(go(source, tmp_path / "copy")) == []
    assert done(go(source, tmp_path / "copy")) == []
    shutil.copytree(tmp_path / "copy", tmp_path / "broken", copy_function=shutil.copyfile)
    path = tmp_path / "broken/stages/count/count.txt"
    path.write_text("6")  # of the same size
    assert done(go(source, tmp_path / "broken")) == ["count", "write"]
    assert path.read_text() == "5"


def test_a_run_moved_in_the_middle_goes_on(source, tmp_path):
    go(source, tmp_path / "out", until="count")
    shutil.move(tmp_path / "out", tmp_path / "disk")
    shutil.move(source, tmp_path / "elsewhere")
    events = go(tmp_path / "elsewhere", tmp_path / "disk")
    assert done(events) == ["write"]
    told = [e.message for e in events if isinstance(e, ev.StageWarning)]
    assert told == ["a warning of read"]  # the photos are others only by their place


def test_a_record_of_an_earlier_version_still_counts(source, tmp_path):
    out = tmp_path / "out"
    go(source, out)
    for record in (out / "stages").glob("*/fingerprint.json"):
        data = json.loads(record.read_text())
        data["files"] = [name for name in data["files"] if not name.startswith("products/")]
        record.write_text(json.dumps(data))
    assert done(go(source, out)) == []
    (out / "products/n.txt").unlink()
    assert done(go(source, out)) == ["write"]


@pytest.mark.parametrize("first, last", list(product(STAGE_NAMES, STAGE_NAMES)))
def test_from_after_until_is_an_error_that_names_the_order(tmp_path, first, last):
    stages = tuple(replace(s, run=None, requires=None) for s in REAL_STAGES)
    events = run(tmp_path / "no", tmp_path / "o", None, from_stage=first, until=last, stages=stages)
    wrong = STAGE_NAMES.index(first) > STAGE_NAMES.index(last)
    with pytest.raises(UsageError if wrong else Exception) as caught:
        list(events)
    assert isinstance(caught.value, UsageError) == wrong
    if wrong:
        assert f"start at {first} but stop after {last}" in caught.value.what
        assert ", ".join(STAGE_NAMES) in caught.value.next_step


@pytest.mark.nightly
def test_real_runs_killed_at_real_moments_come_to_the_same(tmp_path):
    options = (
        "--preset preview --backend fusion --sfm.max-image-size 800 --sfm.max-features 2000 "
        "--sfm.threads 1 --depth.max-size 240 --depth.color-max-size 640 --mesh.max-faces 20000 "
        "--texture.max-atlas-px 1024 --products.gsd-m 0.25"
    )
    program = [sys.executable, str(REPO / "benchmarks/kill.py"), "--moments", "6", "--take", "6"]
    where = ["--photos", str(REPO / "demo/photos"), "--runs", str(tmp_path / "runs")]
    done = subprocess.run(
        [*program, *where, "--command", options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
