"""The stage of the products in a run: what an option redoes, and what it leaves as it is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_exporters import StepOptions, Written

from voxterra.cli.run import recorded_options
from voxterra.core.geo import GeoFrame
from voxterra.pipeline import events as ev
from voxterra.pipeline.recipe.config import RunConfig
from voxterra.pipeline.run import run
from voxterra.products.exporter import EXPORTERS
from voxterra.products.exporters import rasters

FORMAT_1 = Path(__file__).parents[1] / "data/format_1"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A small run whose products are those of today."""
    shutil.copytree(FORMAT_1, tmp_path / "f", copy_function=shutil.copyfile)
    go(tmp_path / "f/fusion")
    return tmp_path / "f/fusion"


def go(out: Path, **products: Any) -> list[ev.Event]:
    config = recorded_options(out)
    assert config is not None
    return again(out, replace(config, products=replace(config.products, **products)))


def again(out: Path, config: RunConfig) -> list[ev.Event]:
    return list(run(None, out, config, until="products"))


def started(events: list[ev.Event]) -> list[str]:
    return [e.stage for e in events if isinstance(e, ev.StageStarted)]


def times(out: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in (out / "products").iterdir()}


def changed(before: dict[str, int], out: Path) -> set[str]:
    return {name for name, time in times(out).items() if before.get(name) != time}


def test_a_light_option_does_not_redo_the_orthophoto(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = times(out)
    monkeypatch.setattr(rasters.Ortho, "export", None)  # cannot be made
    assert started(go(out, license="CC0-1.0")) == ["products"]
    assert changed(before, out) == {"metadata.json"}
    go(out, skip=("obj", "cloud"))
    assert not {"scene.obj", "cloud.laz"} & set(times(out)) and "scene.glb" in times(out)
    go(out, skip=())
    assert changed(before, out) >= {"scene.obj", "cloud.laz", "metadata.json"}
    assert times(out)["ortho.tif"] == before["ortho.tif"]
    assert started(go(out)) == []


def test_another_crs_redoes_what_lies_on_the_map(out: Path) -> None:
    config = recorded_options(out)
    assert config is not None
    before = times(out)
    again(out, replace(config, map=replace(config.map, heights="ellipsoidal")))
    assert changed(before, out) == set(before) - {"report.html"}


def test_the_content_of_an_area_counts(out: Path, tmp_path: Path) -> None:
    frame = GeoFrame.from_dict(json.loads((out / "products/metadata.json").read_text())["frame"])

    def area(size: float) -> Path:
        corners = np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0), (-1, -1, 0)]) * size
        ring = frame.to_lonlat(corners)[:, :2].tolist()
        path = tmp_path / "area.geojson"
        path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
        return path

    before = times(out)
    go(out, aoi=area(1000.0))
    assert "cameras.geojson" in changed(before, out) and "scene.ply" in changed(before, out)
    before = times(out)
    go(out, aoi=area(1000.0), license="CC0-1.0")  # another file of the same content
    assert changed(before, out) == {"metadata.json"}
    go(out, aoi=area(2000.0))
    assert "scene.ply" in changed(before, out)


def test_an_exporter_of_others_joins_a_finished_run(out: Path) -> None:
    before = times(out)
    heights = Written(
        "heights", ("dsm",), text=lambda i, out: f"{i.path('dsm.tif').stat().st_size}"
    )
    EXPORTERS.register("heights", heights)
    try:
        config = recorded_options(out)
        assert config is not None
        again(out, config)
        assert changed(before, out) == {"heights.txt", "metadata.json"}
        plugins = replace(config.plugins, heights=StepOptions(2.0))
        again(out, replace(config, plugins=plugins))
        assert heights.calls == 2 and "heights.txt" in changed(before, out)
    finally:
        EXPORTERS.unregister("heights")
    go(out)
    assert "heights.txt" not in times(out) and changed(before, out) == {"metadata.json"}
