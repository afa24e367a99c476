"""Runs whose photos lie in several sites: what is made, kept and done again for each."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_sites import STAGES_OF_SITES
from fake_stages import CountConfig, FakeConfig
from killing import files, killed_at, needs_fork
from run_folders import half_written

from voxterra.errors import OutputError, OutsideAreaError, UsageError
from voxterra.pipeline import events as ev
from voxterra.pipeline.engine.stage import Stage
from voxterra.pipeline.run import run

OWN = ["read", "place", "count", "write", "tell"]
APART = ["place", "count", "write", "tell"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_text("home far\n")
    (folder / "b.jpg").write_text("away")
    return folder


def go(source: Path | None, out: Path, config: FakeConfig | None = None, **options):
    return list(run(source, out, config or FakeConfig(), stages=STAGES_OF_SITES, **options))


def done(events) -> list[tuple[str, int | None]]:
    return [(e.stage, e.component) for e in events if isinstance(e, ev.StageFinished)]


def both(stages: list[str]) -> list[tuple[str, int | None]]:
    return [(name, number) for number in (2, 3) for name in stages]


def test_each_site_gets_its_stages_and_deliverables(source, tmp_path):
    events = go(source, out := tmp_path / "out")
    own = [(name, None) for name in OWN]
    assert done(events) == [*own[:-1], *both(APART), own[-1]]
    assert (out / "products/n.txt").read_text() == "n=home: 4"
    assert (out / "products/component_2/n.txt").read_text() == "n=far: 3"
    assert (out / "products/component_3/n.txt").read_text() == "n=away: 4"
    assert (out / "products/all.txt").read_text().split("\n") == ["n=home: 4", "n=far: 3",
                                                                 "n=away: 4"]  # fmt: skip
    written = [e for e in events if isinstance(e, ev.ProductWritten)]
    assert {e.path: e.component for e in written}["products/component_3/n.txt"] == 3
    assert all((out / e.path).stat().st_size == e.bytes for e in written)
    assert events[-1].accuracy == "placed home"
    assert events[-1].apart == (
        ev.ApartFinished((2,), "products/component_2", "components/2", "placed far"),
        ev.ApartFinished((3,), "products/component_3", "components/3", "placed away"),
    )
    told = [e for e in events if isinstance(e, ev.StageWarning) and "of all sites" in e.message]
    assert [e.component for e in told] == [None]
    assert half_written(out) == []
    progress = {e.component for e in events if isinstance(e, ev.StageProgress)}
    assert progress <= {None, 2, 3}


def test_a_second_run_does_nothing_and_tells_the_same(source, tmp_path):
    first, second = (go(source, tmp_path / "out") for _ in range(2))
    assert done(second) == []
    kinds = (ev.StageWarning, ev.ProductWritten)
    assert [e for e in first if isinstance(e, kinds)] == [e for e in second if isinstance(e, kinds)]
    assert first[-1].apart == second[-1].apart


def test_options_stages_and_lost_files_redo_what_depends_on_them(source, tmp_path):
    go(source, out := tmp_path / "out")
    steps = go(source, out, FakeConfig(count=CountConfig(steps=5)))
    late = ["count", "write", "tell"]
    assert done(steps) == [("count", None), ("write", None), *both(late), ("tell", None)]
    config = FakeConfig(count=CountConfig(steps=5))
    (out / "products/component_3/n.txt").unlink()
    events = go(source, out, config)
    assert done(events) == [("write", 3), ("tell", 3), ("tell", None)]
    assert (
        ev.StageWarning(
            "write",
            "products/n.txt: missing, damaged or changed; it is made again",
            3,
        )
        in events
    )
    again = go(source, out, config, from_stage="write")
    assert done(again) == [("write", None), *both(["write", "tell"]), ("tell", None)]
    part = go(source, out, config, from_stage="count", until="count")
    assert done(part) == [("count", None), *both(["count"])]
    (outdated,) = (
        e.message for e in part if isinstance(e, ev.StageWarning) and "date" in e.message
    )
    assert "write, tell, write of component 2, tell of component 2" in outdated
    assert done(go(source, out, config)) == [
        ("write", None), *both(["write", "tell"]), ("tell", None)
    ]  # fmt: skip
    assert done(go(source, tmp_path / "early", until="read")) == [("read", None)]
    assert not (tmp_path / "early/components").exists()


def test_photos_that_show_too_little_end_their_own_site_only(source, tmp_path):
    (source / "a.jpg").write_text("home fail\n")
    events = go(source, out := tmp_path / "out")
    assert ("tell", 3) in done(events) and ("count", 2) not in done(events)
    (warning,) = (e for e in events if isinstance(e, ev.StageWarning) and e.component == 2)
    assert warning.stage == "count" and "component 2 ends here" in warning.message
    assert "They show nothing. Take others." in warning.message
    assert events[-1].apart[0].failed == "They show nothing." and not events[-1].apart[1].failed
    assert "not: They show nothing." in (out / "products/all.txt").read_text()
    assert done(go(source, out)) == []  # only the site that failed is tried again
    (source / "a.jpg").write_text("home far\n")
    assert ("tell", 2) in done(go(source, out))
    assert "n=far: 3" in (out / "products/all.txt").read_text()
    assert not (out / "components/2/failed.json").exists()
    (source / "a.jpg").write_text("home fail\n")
    events = go(source, out)  # nothing of what other photos gave is left
    assert not list((out / "products/component_2").iterdir())
    assert not [e for e in events if isinstance(e, ev.ProductWritten) and e.component == 2]
    assert half_written(out) == []


def test_what_ended_a_site_is_remembered_by_runs_that_stop_before_it(source, tmp_path):
    (source / "a.jpg").write_text("home fail\n")
    go(source, out := tmp_path / "out")
    events = go(source, out, until="place")
    assert not [e for e in events if isinstance(e, ev.StageWarning) and "date" in e.message]
    assert events[-1].apart[0].failed == "They show nothing."


def test_an_area_in_another_site_leaves_that_site_alone(source, tmp_path):
    go(source, out := tmp_path / "out")
    (source / "a.jpg").write_text("outside far\n")
    (source / "b.jpg").write_text("outside")
    events = go(source, out)
    assert ("tell", 2) in done(events) and ("count", None) not in done(events)
    told = [e for e in events if isinstance(e, ev.StageWarning) and "Nothing in the" in e.message]
    assert [e.component for e in told] == [3, None]
    assert "look into products/component_2;" in told[1].message
    assert events[-1].failed == "Nothing in the area."
    left = {p.relative_to(out).as_posix() for p in (out / "products").rglob("*") if p.is_file()}
    assert left == {"products/component_2/n.txt", "products/component_2/all.txt"}
    assert half_written(out) == []
    assert done(go(source, out)) == []
    (source / "a.jpg").write_text("home far\n")
    assert go(source, out)[-1].failed is None
    assert (out / "products/all.txt").read_text().startswith("n=home: 4")


def test_an_area_that_no_site_sees_ends_the_run_and_leaves_what_there_is(source, tmp_path):
    (source / "b.jpg").write_text("")
    go(source, out := tmp_path / "out")
    (source / "a.jpg").write_text("outside outside\n")
    events = []
    with pytest.raises(OutsideAreaError, match="Nothing in the area"):
        list(_kept(events, run(source, out, FakeConfig(), stages=STAGES_OF_SITES)))
    assert isinstance(events[-1], ev.RunFailed)
    assert (events[-1].stage, events[-1].component) == ("count", None)
    assert events[-1].next_step == "Look at it."
    assert (out / "products/n.txt").read_text() == "n=home: 4"


def test_other_errors_end_the_run_and_name_the_component(source, tmp_path):
    def full(ctx):
        if ctx.site is not None:
            raise OSError(28, "No space left on device")
        return STAGES_OF_SITES[2].run(ctx)

    stages = tuple(replace(s, run=full) if s.name == "count" else s for s in STAGES_OF_SITES)
    events = []
    with pytest.raises(Exception, match="The disk is full"):
        events += list(_kept(events, run(source, tmp_path / "out", FakeConfig(), stages=stages)))
    assert isinstance(events[-1], ev.RunFailed)
    assert (events[-1].stage, events[-1].component) == ("count", 2)
    assert done(go(source, tmp_path / "out"))[0] == ("count", 2)


def _kept(into: list, events):
    for event in events:
        into.append(event)
    return ()


def test_sites_that_are_no_more_go_and_files_of_a_user_stay(source, tmp_path):
    go(source, out := tmp_path / "out")
    (out / "products/component_2/mine.txt").write_text("mine")
    (source / "b.jpg").write_text("")
    (source / "a.jpg").write_text("home")
    events = go(source, out)
    assert events[-1].apart == () and not (out / "components").exists()
    assert (out / "products/all.txt").read_text() == "n=home: 4"
    left = {p.name for p in (out / "products").rglob("*") if p.is_file()}
    assert left == {"n.txt", "all.txt", "mine.txt"}
    assert not (out / "products/component_3").exists()


def test_of_sites_that_are_no_more_goes_what_a_killed_run_was_delivering(source, tmp_path):
    go(source, out := tmp_path / "out")
    stages = out / "components/3/stages"
    (stages / "write").rename(stages / ".write.partial")  # its deliverables are there already
    (source / "b.jpg").write_text("")
    go(source, out)
    assert not (out / "products/component_3").exists() and half_written(out) == []


def test_closing_stops_another_site_and_the_next_run_goes_on_there(source, tmp_path):
    def slow(ctx):
        steps = 0

        def waiting(fraction, message=""):
            nonlocal steps
            ctx.progress(fraction, message)
            steps += 1
            while ctx.site is not None and steps > 2:  # until it is stopped
                time.sleep(0.02)
                ctx.progress(fraction, message)

        return STAGES_OF_SITES[2].run(replace(ctx, progress=waiting))

    stages = tuple(replace(s, run=slow) if s.name == "count" else s for s in STAGES_OF_SITES)
    going = run(source, tmp_path / "out", FakeConfig(), stages=stages)
    for event in going:
        if isinstance(event, ev.StageProgress) and event.component == 2 and event.fraction > 0:
            break
    going.close()
    events = go(source, tmp_path / "out")
    assert done(events) == [*both(APART)[1:], ("tell", None)]
    (started,) = (
        e
        for e in events
        if isinstance(e, ev.StageStarted) and (e.stage, e.component) == ("count", 2)
    )
    assert started.resumed
    record = json.loads((tmp_path / "out/components/2/stages/count/fingerprint.json").read_text())
    assert record["summary"] != "counted, from step 0"


@needs_fork
def test_killed_before_any_operation_a_run_goes_on_to_the_same(source, tmp_path, every):
    (source / "b.jpg").write_text("")  # one other site
    go(source, tmp_path / "whole")
    expected, operation = everything(tmp_path / "whole"), 0
    while killed_at(
        operation, source, out := tmp_path / f"killed_{operation}", stages=STAGES_OF_SITES
    ):
        told = finished(out)
        events = go(source, out)
        assert everything(out) == expected, operation
        assert not set(told) & set(done(events)), f"{operation}: a finished stage is done again"
        assert done(go(source, out)) == []
        operation += every(7)
    assert operation > 80


def everything(out: Path) -> dict[str, str]:
    found = files(out)
    for folder in sorted((out / "components").iterdir()):
        found |= {f"{folder.name}/{name}": text for name, text in files(folder).items()}
    return found


def finished(out: Path) -> list[tuple[str, int | None]]:
    path = out / "events.jsonl"
    told = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [(e["stage"], e["component"]) for e in told if e["event"] == "StageFinished"]


def test_a_moved_run_is_still_up_to_date(source, tmp_path):
    go(source, tmp_path / "out")
    (tmp_path / "out").rename(out := tmp_path / "disk")
    assert done(go(None, out)) == []


def test_where_the_photos_are_now_is_asked_for_when_there_is_work(source, tmp_path):
    go(source, out := tmp_path / "out")
    source.rename(moved := tmp_path / "moved")
    told = [e.message for e in go(None, out) if isinstance(e, ev.StageWarning)]
    assert not any("no longer" in message for message in told)  # nothing to do
    (out / "components/2/stages/count/count.txt").unlink()
    told = [e.message for e in go(None, out) if isinstance(e, ev.StageWarning)]
    (asked,) = [message for message in told if "no longer" in message]
    assert str(source) in asked and "voxterra run PHOTOS --out" in asked
    events = go(moved, out)
    assert done(events) == [] and not any(
        "no longer" in e.message for e in events if isinstance(e, ev.StageWarning)
    )


def test_a_site_that_cannot_begin_is_named(source, tmp_path):
    go(source, out := tmp_path / "out")
    shutil.rmtree(out / "components/3")
    (out / "components/3").write_text("in the way")
    events = []
    with pytest.raises(OutputError):
        list(_kept(events, run(source, out, FakeConfig(), stages=STAGES_OF_SITES)))
    assert isinstance(events[-1], ev.RunFailed)
    assert (events[-1].stage, events[-1].component) == ("place", 3)


def test_the_folder_of_a_component_is_no_run_folder(source, tmp_path):
    go(source, out := tmp_path / "out")
    with pytest.raises(UsageError) as caught:
        go(source, out / "components/2")
    assert str(out) in caught.value.next_step


def test_what_another_site_lacks_is_told_before_any_work(source, tmp_path):
    go(source, out := tmp_path / "out")
    (out / "components/2/stages/write/fingerprint.json").unlink()

    def missing(config):
        raise UsageError("no such part")

    stages: tuple[Stage, ...] = tuple(
        replace(s, requires=missing) if s.name == "write" else s for s in STAGES_OF_SITES
    )
    with pytest.raises(UsageError, match="no such part"):
        list(run(source, out, FakeConfig(), stages=stages))
