"""A run folder's own files, damaged: an error of Voxterra, or the stage is done again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from good_inputs import photo_bytes
from mutate import JSON, damaged

from voxterra.cli.run import recorded_options
from voxterra.core.options import plain
from voxterra.errors import VoxterraError
from voxterra.ingest.ingest import ingest_photos
from voxterra.pipeline.folder.photo_table import read_photos, write_photos
from voxterra.pipeline.folder.record import StageRecord, facts_of, write_record
from voxterra.pipeline.folder.run_file import recorded_source, write_run_file
from voxterra.pipeline.folder.workspace import Workspace
from voxterra.pipeline.recipe.config_file import path_options
from voxterra.pipeline.recipe.presets import preset

CASES = 200


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A run whose ingest is done, with a folder among its options."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(photo_bytes())
    found = Workspace(tmp_path / "run")
    stage = found.stage_dir("ingest")
    stage.mkdir(parents=True)
    config = preset("preview")
    config = replace(config, ingest=replace(config.ingest, masks=tmp_path / "in"))
    write_run_file(found.root, [tmp_path / "in"], plain(config), "0.1", path_options(config))
    write_photos(ingest_photos(tmp_path / "in", work_dir=tmp_path), stage, [tmp_path / "in"])
    record = StageRecord(
        "a",
        "b",
        {"source": "c"},
        "1 photo",
        ("w",),
        1.0,
        3,
        (("products/x", "x"),),
        {"photos.json": facts_of(stage / "photos.json"), "products/x": None},
    )
    write_record(record, stage)
    assert found.record("ingest") == record
    return found


def use(workspace: Workspace, name: str) -> None:
    folder = workspace.stage_dir("ingest")
    if name == "voxterra.json":
        recorded_options(workspace.root)
        assert all(isinstance(path, Path) for path in recorded_source(workspace.root))
    elif name.endswith("fingerprint.json"):
        record = workspace.record("ingest")
        assert record is None or workspace.faults("ingest", record) is not None
    else:
        read_photos(folder, [workspace.root.parent / "in"])


@pytest.mark.parametrize(
    "name",
    [
        "voxterra.json",
        "stages/ingest/fingerprint.json",
        "stages/ingest/photos.json",
        "stages/ingest/root.json",
    ],
)
def test_damaged_files_of_a_run(
    workspace: Workspace, name: str, every: Callable[[int], int]
) -> None:
    file = workspace.root / name
    good = file.read_bytes()
    use(workspace, name)
    for seed in range(0, CASES, every(7)):
        what, content = damaged(good, seed, JSON)
        file.write_bytes(content)
        try:
            use(workspace, name)
        except VoxterraError as error:
            assert error.next_step
        except Exception as error:
            raise AssertionError(f"{name} seed {seed} ({what}): {error!r}") from error


def test_a_record_cannot_name_files_outside_the_run(workspace: Workspace) -> None:
    file = workspace.stage_dir("ingest") / "fingerprint.json"
    good = json.loads(file.read_text())
    for path in ("../../precious.txt", "/etc/passwd", "products/../../x"):
        for more in ({"products": [[path, "x"]]}, {"files": {path: None}}):
            file.write_text(json.dumps(good | more))
            assert workspace.record("ingest") is None
