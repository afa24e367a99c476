"""A package with plugins of three kinds, installed beside Voxterra: no change of ours is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
PHOTOS = REPO / "tests/data/format_1/photos"
ENTRY_POINTS = """
[voxterra.backends]
height-field = their_plugins.backend:HeightField
broken = their_plugins.missing:Nothing
[voxterra.exporters]
hillshade = their_plugins.exporter:Hillshade
[voxterra.depth_sources]
interpolated = their_plugins.depth_source:Interpolated
"""
SMALL = [
    *("--preset", "preview", "--sfm.max-features", "450", "--depth.max-size", "80"),
    *("--depth.color-max-size", "160", "--depth.device", "cpu", "--surface.voxel-factor", "3"),
    *("--mesh.max-faces", "400", "--texture.max-atlas-px", "96", "--products.gsd-m", "0.6"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the examples' plugins, installed: a wheel is unpacked where Python looks."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel, info = folder / "their_plugins-1.0-py3-none-any.whl", "their_plugins-1.0.dist-info"
    names = {"backend": "05_backend", "exporter": "06_exporter", "depth_source": "07_depth_source"}
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("their_plugins/__init__.py", "")
        for module, example in names.items():
            file.write(REPO / f"examples/{example}.py", f"their_plugins/{module}.py")
        file.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: their-plugins\nVersion: 1.0\n"
        )
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/entry_points.txt", ENTRY_POINTS)
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "site")
    return folder / "site"


def voxterra(site: Path | None, *args: str) -> subprocess.CompletedProcess[str]:
    paths = [str(REPO / "src"), *([str(site)] if site else [])]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "voxterra", *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_a_run_uses_plugins_of_three_kinds(site: Path, tmp_path: Path) -> None:
    theirs = "--backend height-field --plugins.height-field.cells 12 --depth.fill interpolated"
    run = ("run", str(PHOTOS), "--out", str(tmp_path / "run"), *SMALL, *theirs.split(), "--json")
    done = voxterra(site, *run)
    assert done.returncode == 0, done.stdout + done.stderr
    summaries = {
        event["stage"]: event["summary"]
        for event in map(json.loads, done.stdout.splitlines())
        if event["event"] == "StageFinished"
    }
    assert summaries["surface"].startswith("height field of ")
    metadata = json.loads((tmp_path / "run/products/metadata.json").read_text())
    assert metadata["run"]["surface"]["backend"] == "height-field"
    assert metadata["config"]["plugins"]["height_field"] == {"cells": 12}
    assert {"hillshade.tif", "dsm.tif", "scene.glb"} <= {p["name"] for p in metadata["products"]}
    names = json.loads((tmp_path / "run/stages/depth/views.json").read_text())
    assert "interpolated" in json.dumps(names)

    more = [word.replace("cells 12", "cells") for word in run]
    more[more.index("12")] = "9"
    started = [
        event["stage"]
        for event in map(json.loads, voxterra(site, *more).stdout.splitlines())
        if event["event"] == "StageStarted"
    ]
    assert started == ["surface", "mesh", "products", "report"]
    gone = voxterra(None, *run)  # the package is taken away
    assert gone.returncode == 2 and "height-field" in gone.stderr


def test_help_and_doctor_know_installed_plugins(site: Path) -> None:
    shown = voxterra(site, "run", "--help").stdout
    for text in ("--plugins.height-field.cells", "--plugins.hillshade.azimuth-deg", "height-field"):
        assert text in shown
    checked = voxterra(site, "doctor")
    assert checked.returncode == 0, checked.stderr
    assert "plugin broken" in checked.stdout and "ModuleNotFoundError" in checked.stdout
    assert "hillshade (Apache-2.0)" in checked.stdout
