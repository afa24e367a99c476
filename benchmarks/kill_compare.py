"""What two runs of the same photos came to: which files are the same bytes, how far others are.

Used by `kill.py`, which compares runs that were killed with one that was not.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from voxterra.io.arrays import read_cloud, read_mesh
from voxterra.io.colmap.model import read_colmap
from voxterra.pipeline.folder.record import RECORD_FILE

# What a run tells of itself, not of the photos.
_TIMES = {"created", "seconds", "peak_rss_bytes", "training_seconds"}
_OWN = {"log.txt", "events.jsonl", ".voxterra.lock", RECORD_FILE, "source.json"}
_NUMBER = re.compile(r"[A-Za-z]?[-+]?[\d.:]+[A-Za-z%]*")
_PICTURE = re.compile(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+")


def compare_runs(one: Path, two: Path) -> dict[str, Any]:
    """Names of files that are the same bytes, the same but for times, or different."""
    names = {p.relative_to(one).as_posix() for p in one.rglob("*") if p.is_file()}
    others = {p.relative_to(two).as_posix() for p in two.rglob("*") if p.is_file()}
    counting = {name for name in names | others if name.split("/")[-1] not in _OWN}
    same, times, differ = [], [], []
    for name in sorted(counting):
        if name not in names or name not in others:
            differ.append(name)
        elif (one / name).read_bytes() == (two / name).read_bytes():
            same.append(name)
        elif _same_but_for_times(one / name, two / name):
            times.append(name)
        else:
            differ.append(name)
    return {"identical": len(same), "but_for_times": times, "different": differ}


def figures_of(run: Path) -> dict[str, Any]:
    """What a run came to: photos, focal lengths, centres, points, faces, heights."""
    folders = sorted((run / "stages/georef").glob("component_*"))
    models = [read_colmap(folder) for folder in folders]
    figures: dict[str, Any] = {
        "photos": sum(len(model.images) for model in models),
        "focal_px": [c.params[0] for model in models for c in model.cameras.values()],
        "centers": {i.name: i.center_in_world.tolist() for model in models for i in model.images},
        "sparse_points": sum(len(model.points) for model in models),
    }
    if (run / "stages/mesh/mesh.npz").exists():
        figures["faces"] = len(read_mesh(run / "stages/mesh/mesh.npz").faces)
        figures["cloud_points"] = len(read_cloud(run / "stages/surface/cloud.npz"))
    if (run / "products/dsm.tif").exists():
        import rasterio

        with rasterio.open(run / "products/dsm.tif") as file:
            figures["dsm"] = file.read(1, masked=True).astype(float).filled(np.nan)
    return figures


def figures_apart(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    """How far the figures of two runs lie apart; zeros where they are the same."""
    common = sorted(one["centers"].keys() & two["centers"].keys())
    moved = [np.subtract(one["centers"][k], two["centers"][k]) for k in common]
    apart = {
        "photos": two["photos"] - one["photos"],
        "focal_px": float(np.abs(np.subtract(one["focal_px"], two["focal_px"])).max())
        if len(one["focal_px"]) == len(two["focal_px"])
        else None,
        "centers_max_m": float(np.linalg.norm(moved, axis=1).max()) if moved else None,
    }
    for name in ("sparse_points", "faces", "cloud_points"):
        if name in one and name in two:
            apart[name] = two[name] - one[name]
    if "dsm" in one and "dsm" in two and one["dsm"].shape == two["dsm"].shape:
        difference = np.abs(one["dsm"] - two["dsm"])
        apart["dsm_median_m"] = float(np.nanmedian(difference))
        apart["dsm_max_m"] = float(np.nanmax(difference))
    return apart


def _same_but_for_times(one: Path, two: Path) -> bool:
    if one.suffix == ".json":
        first, second = (_without_times(json.loads(p.read_text())) for p in (one, two))
        return bool(first == second)
    if one.suffix == ".html":
        return _same_report(one.read_text(), two.read_text())
    return False


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if k not in _TIMES}
    if isinstance(value, list):
        return [_without_times(v) for v in value]
    return value


def _same_report(one: str, two: str) -> bool:
    """The same pictures and words; numbers may differ, since it tells times and memory."""
    if _PICTURE.findall(one) != _PICTURE.findall(two):
        return False
    first, second = (re.split(r"[<>\s\"',]+", _PICTURE.sub("", text)) for text in (one, two))
    return len(first) == len(second) and all(
        a == b or (_NUMBER.fullmatch(a) and _NUMBER.fullmatch(b))
        for a, b in zip(first, second, strict=True)
    )
