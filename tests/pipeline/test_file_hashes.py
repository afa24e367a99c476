"""Reading photos and files of options: once, in threads, with progress, never without cause."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from good_inputs import photo_bytes
from rich.console import Console

from voxterra.cli.display import _bars, _Report
from voxterra.ingest.config import IngestConfig
from voxterra.pipeline import events as ev
from voxterra.pipeline.engine.stage import Stage, StageContext, StageOutput
from voxterra.pipeline.folder import file_hashes
from voxterra.pipeline.recipe.presets import preset
from voxterra.pipeline.run import run


@dataclass(frozen=True)
class Files:
    masks: Path
    table: Path


@dataclass(frozen=True)
class Config:
    files: Files


def nothing(ctx: StageContext) -> StageOutput:
    return StageOutput("nothing read")


STAGES = (
    Stage("one", ("source",), ("files",), nothing),
    Stage("two", ("one",), ("files",), nothing),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "masks").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "masks/a.png"):
        (folder / name).write_bytes(os.urandom(2 << 20) if name == "a.jpg" else name.encode())
    (tmp_path / "table.csv").write_text("a table")
    return folder


def go(source: Path, out: Path):
    """Events of a run whose masks lie beside the photos and are named by an option too."""
    config = Config(Files(source / "masks", source.parent / "table.csv"))
    return run(source, out, config, stages=STAGES)


_opened: list[str] | None = None


def _listen(event: str, arguments: tuple) -> None:
    if event == "open" and _opened is not None:
        _opened.append(str(arguments[0]))


sys.addaudithook(_listen)  # for good: a hook cannot be removed


@pytest.fixture
def opened(source):
    """Names of the source's files, and of the table, that were opened since."""
    global _opened
    _opened = []

    def names() -> list[str]:
        global _opened
        assert _opened is not None
        found, _opened = [Path(path) for path in _opened], []
        folders = (source, source / "masks", source.parent)
        return sorted(path.name for path in found if path.parent in folders)

    yield names
    _opened = None


def test_every_file_is_read_once_and_again_only_when_it_changed(source, tmp_path, opened):
    list(go(source, tmp_path / "run/out"))
    assert opened() == ["a.jpg", "a.png", "b.jpg", "table.csv"]
    events = list(go(source, tmp_path / "run/out"))
    assert opened() == []
    assert not [e for e in events if isinstance(e, ev.ReadProgress | ev.StageStarted)]
    os.utime(source / "masks/a.png")
    (source.parent / "table.csv").write_text("another")
    opened()
    events = list(go(source, tmp_path / "run/out"))
    assert opened() == ["a.png", "table.csv"]
    assert [e.stage for e in events if isinstance(e, ev.StageStarted)] == ["one", "two"]


def test_a_second_run_of_ingest_opens_neither_photos_nor_masks_nor_table(source, tmp_path, opened):
    for name in ("a.jpg", "b.jpg", "masks/a.png"):
        (source / name).write_bytes(photo_bytes())
    (source / "b.jpg").write_bytes(photo_bytes(seed=2))
    (source.parent / "table.csv").write_text("filename,lat,lon\na.jpg,47,8\n")
    ingest = IngestConfig(masks=source / "masks", meta_csv=source.parent / "table.csv")
    config = replace(preset("preview"), ingest=ingest)
    list(run(source, tmp_path / "run/out", config, until="ingest"))
    assert set(opened()) == {"a.jpg", "a.png", "b.jpg", "table.csv"}
    photos = json.loads((tmp_path / "run/out/stages/ingest/photos.json").read_text())["photos"]
    content = {p["id"]: p["sha256"] for p in photos}
    assert content["a.jpg"] == hashlib.sha256((source / "a.jpg").read_bytes()).hexdigest()
    opened()
    events = list(run(None, tmp_path / "run/out", config, until="ingest"))
    assert isinstance(events[1], ev.StageSkipped) and opened() == []


@pytest.fixture
def slow(monkeypatch):
    """Reading 2 MB takes half a second or more; returns how often a part was read."""
    add, parts = file_hashes._Counter.add, []

    def slowly(counter, count):
        add(counter, count)
        parts.append(count)
        time.sleep(0.001)

    monkeypatch.setattr(file_hashes, "_CHUNK_BYTES", 1 << 12)
    monkeypatch.setattr(file_hashes, "TICK_S", 0.01)
    monkeypatch.setattr(file_hashes._Counter, "add", slowly)
    return parts


def test_progress_comes_before_the_first_stage_and_is_shown(source, tmp_path, slow):
    events = list(go(source, tmp_path / "out"))
    reading = [e for e in events if isinstance(e, ev.ReadProgress)]
    assert events[1 : 1 + len(reading)] == reading
    shares = [e.fraction for e in reading]
    assert len(reading) > 3 and shares == sorted(shares) and shares[-1] == 1.0
    assert reading[0].message.endswith("of 2 MB read")
    assert "ReadProgress" not in (tmp_path / "out/events.jsonl").read_text()
    screen = io.StringIO()
    plain = _Report(Console(file=screen, width=100), screen, None)
    with _bars(Console(file=screen, force_terminal=True, width=100)) as bars:
        drawn = _Report(Console(file=screen, width=100), screen, bars)
        for event in reading:
            plain(event)
            drawn(event)
        assert [task.fields["stage"] for task in bars.tasks] == ["reading"] and bars.finished
    assert "reading: 100% 2 MB read" in screen.getvalue()


def test_closing_stops_reading_and_keeps_what_was_read(source, tmp_path, slow, opened):
    events = go(source, tmp_path / "out")
    while not isinstance(event := next(events), ev.ReadProgress) or event.fraction < 0.1:
        pass
    events.close()
    count = len(slow)
    time.sleep(0.05)
    assert len(slow) == count < 2 << 8
    opened()
    list(go(source, tmp_path / "out"))
    assert opened() == ["a.jpg"]
