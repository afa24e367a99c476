"""The first stage with true photos: what it warns of, and what a move leaves intact."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voxterra.cli.main import main
from voxterra.cli.run import recorded_options
from voxterra.core.photos import Photo, PhotoSet, RejectedFile
from voxterra.pipeline import events as ev
from voxterra.pipeline.folder.photo_table import read_photos
from voxterra.pipeline.folder.run_file import recorded_source
from voxterra.pipeline.recipe.config import RunConfig
from voxterra.pipeline.recipe.summaries import about_single_files
from voxterra.pipeline.run import run


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Photos, masks and a table in three places of one folder."""
    folder = tmp_path / "here"
    for seed, name in enumerate(("a", "b")):
        save(folder / f"flight/photos/{name}.jpg", seed)
        save(folder / f"drawn/deep/{name}.png", seed)
    (folder / "lists").mkdir()
    (folder / "lists/gps.csv").write_text("filename,lat,lon\na.jpg,1,2\nb.jpg,3,4\n")
    return folder


def test_a_run_moves_together_with_photos_masks_and_table(project, tmp_path, capfd):
    config = RunConfig()
    ingest = replace(
        config.ingest, masks=project / "drawn/deep", meta_csv=project / "lists/gps.csv"
    )
    config = replace(config, ingest=ingest)
    list(run(project / "flight/photos", project / "runs/site", config, until="ingest"))
    there = tmp_path / "there"
    shutil.move(project, there)
    out = there / "runs/site"
    assert main(["run", "--out", str(out), "--until", "ingest", "--json"]) == 0
    events = [json.loads(line)["event"] for line in capfd.readouterr().out.splitlines()]
    assert "StageSkipped" in events and "StageFinished" not in events
    options = recorded_options(out)
    assert options is not None
    assert options.ingest.masks == there / "drawn/deep"
    assert options.ingest.meta_csv == there / "lists/gps.csv"
    source = recorded_source(out)
    photos = read_photos(out / "stages/ingest", source, options.ingest.masks).photos
    assert [p.path for p in photos] == [there / f"flight/photos/{n}.jpg" for n in "ab"]
    assert [p.mask_path for p in photos] == [there / f"drawn/deep/{n}.png" for n in "ab"]
    assert main(["ingest", "--json", str(out)]) == 0  # and again, from where all lies now
    assert "StageFinished" in capfd.readouterr().out


def test_files_left_out_are_warnings_of_the_stage(project, tmp_path):
    photos = project / "flight/photos"
    (photos / "clip.mp4").write_bytes(b"video")
    shutil.copy(photos / "a.jpg", photos / "copy.jpg")
    events = list(run(photos, tmp_path / "out", RunConfig(), until="ingest"))
    told = [e.message for e in events if isinstance(e, ev.StageWarning) and e.stage == "ingest"]
    (left_out,) = (text for text in told if "left out" in text)
    assert left_out.startswith("2 files left out: clip.mp4 (video is not read")
    assert "copy.jpg (the same file as a.jpg)" in left_out


def test_long_lists_are_counted():
    def photo(index: int) -> Photo:
        path = Path(f"{index}.jpg")
        return Photo(path.name, path, 4, 3, "", warnings=("very dark",) if index else ())

    photos = PhotoSet(
        root=Path("."),
        photos=tuple(photo(i) for i in range(8)),
        rejected=tuple(RejectedFile(f"r{i}.jpg", "cut off.") for i in range(5)),
    )
    left_out, doubtful = about_single_files(photos)
    assert left_out == "5 files left out: " + ", ".join(f"r{i}.jpg (cut off)" for i in range(5))
    assert doubtful.startswith("7 photos have warnings: 1.jpg (very dark), 2.jpg")
    assert doubtful.endswith("5.jpg (very dark), and 2 more")
    assert about_single_files(PhotoSet(root=Path("."), photos=(photo(0),))) == ()
