"""Run folders of format 1, made by Voxterra 0.1, stay valid: no stereo is done again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from voxterra.cli.run import recorded_options
from voxterra.pipeline import events as ev
from voxterra.pipeline.folder.upgrade import KEPT
from voxterra.pipeline.folder.workspace import Workspace
from voxterra.pipeline.recipe.listing import hashes_of
from voxterra.pipeline.recipe.stages import STAGES
from voxterra.pipeline.recipe.upgrade import upgrade
from voxterra.pipeline.run import run

FORMAT_1 = Path(__file__).parents[1] / "data/format_1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos and runs as 0.1 left them, in another place and with other times."""
    shutil.copytree(FORMAT_1, tmp_path / "f", copy_function=shutil.copyfile)
    return tmp_path / "f"


def again(out: Path, **options: str) -> list[ev.Event]:
    return list(run(None, out, recorded_options(out), **options))


def started(events: list[ev.Event]) -> list[str]:
    return [e.stage for e in events if isinstance(e, ev.StageStarted)]


def warnings(events: list[ev.Event]) -> str:
    return "\n".join(e.message for e in events if isinstance(e, ev.StageWarning))


@pytest.mark.parametrize("backend", ["fusion", "voxels"])
def test_results_of_format_1_are_used_as_they_are(folder: Path, backend: str) -> None:
    out = folder / backend
    assert started(again(out, until="mesh")) == []
    assert json.loads((out / "voxterra.json").read_text())["format"] == 2
    assert started(again(out, until="mesh")) == []


def test_products_follow_the_map_and_the_next_run_does_nothing(folder: Path) -> None:
    out = folder / "fusion"
    assert started(again(out)) == ["products", "report"]
    assert "UTM" in (out / "products/metadata.json").read_text()
    assert started(again(out)) == []


def test_a_crs_among_the_options_of_format_1_is_one_of_the_map(folder: Path) -> None:
    path = folder / "fusion/voxterra.json"
    data = json.loads(path.read_text())
    data["config"]["georef"] |= {"crs": "EPSG:25832", "heights": "ellipsoidal"}
    path.write_text(json.dumps(data))
    options = recorded_options(folder / "fusion")
    assert options is not None
    assert (options.map.crs, options.map.heights) == ("EPSG:25832", "ellipsoidal")


@pytest.mark.parametrize("names", [["dsm", "ortho"], None])
def test_the_choice_of_products_of_format_1_holds(folder: Path, names: list[str] | None) -> None:
    path = folder / "fusion/voxterra.json"
    data = json.loads(path.read_text())
    if names:
        data["config"]["products"]["products"] = names
        path.write_text(json.dumps(data))
    options = recorded_options(folder / "fusion")
    assert options is not None and options.products.only == tuple(names or ())


def test_a_killed_upgrade_is_done_again(folder: Path) -> None:
    workspace = Workspace(folder / "voxels")
    hashes = hashes_of(workspace)
    assert upgrade(workspace, STAGES, hashes) == ()
    before = [workspace.record(name) for name in KEPT]
    assert (
        upgrade(workspace, STAGES, hashes_of(workspace)) == ()
    )  # the run file is still of format 1
    assert [workspace.record(name) for name in KEPT] == before
    assert started(again(folder / "voxels", until="mesh")) == []


def test_what_0_1_would_not_have_made_of_its_options_is_named(folder: Path) -> None:
    path = folder / "fusion/voxterra.json"
    data = json.loads(path.read_text())
    data["config"]["texture"]["gutter_px"] = 3
    path.write_text(json.dumps(data))
    events = again(folder / "fusion", until="mesh")
    assert started(events) == ["mesh"]
    assert "made by Voxterra 0.1 from other photos or options" in warnings(events)
