"""Run Voxterra on a set of the accuracy table and score it.

    python benchmarks/run_set.py synthetic_uav            # run, score, write the result
    python benchmarks/run_set.py synthetic_uav --score    # score the last run again
    python benchmarks/run_set.py all

The sets lie in `../shared/data` beside the checkout, or where VOXTERRA_SHARED_DATA says; `demo`
is in the repository. Results: `benchmarks/results/SET.json` and the table beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import DATA, REPO, keep_picture, read_result, run_measured, setting, write_result
from report import write_table
from sets import ROWS, Row

VOXTERRA = [sys.executable, "-m", "voxterra"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("set", choices=[*ROWS, "all"])
    parser.add_argument("--score", action="store_true", help="score the last run, do not run")
    parser.add_argument("--runs", type=Path, default=REPO / "runs" / "bench", help="where runs go")
    given = parser.parse_args()
    names = list(ROWS) if given.set == "all" else [given.set]
    codes = [bench(name, ROWS[name], given.runs / name, given.score) for name in names]
    print(f"table: {write_table().relative_to(REPO)}")
    return max(codes)


def bench(name: str, row: Row, out: Path, only_score: bool) -> int:
    photos = REPO / row.photos if row.photos.startswith("demo/") else DATA / row.photos
    if not photos.is_dir():
        print(f"{name}: the photos are not here; left out")
        return 0
    shown = row.photos if row.photos.startswith("demo/") else f"$DATA/{row.photos}"
    options = ["--preset", row.preset, *row.options]
    result: dict[str, Any] = {
        "set": name,
        "command": f"python benchmarks/run_set.py {name}",
        "runs": " ".join(["voxterra run", shown, "--out", "OUT", *options]),
    }
    if only_score:
        earlier = read_result(name)
        keep = ("date", "commit", "machine", "versions", "cold_kernels", "exit_code")
        keep += ("wall_s", "cpu_s", "peak_rss_bytes")
        result |= {key: earlier[key] for key in keep if key in earlier}
        result["scored"] = {key: setting()[key] for key in ("date", "commit")}
    else:
        result |= setting() | _run(photos, out, options, row.cold)
    result |= _facts(out)
    result["evals"] = {e.name: _eval(e, out) for e in row.evals}
    write_result(name, result)
    print(f"{name}: exit {result.get('exit_code')}, {result.get('wall_s', 0):.0f} s")
    return int(result.get("exit_code") or 0)


def _run(photos: Path, out: Path, options: list[str], cold: bool) -> dict[str, Any]:
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [*VOXTERRA, "run", str(photos), "--out", str(out), *options]
    with tempfile.TemporaryDirectory() as cache:
        env = {"VOXTERRA_CACHE": cache, "NUMBA_CACHE_DIR": ""} if cold else {}
        measured = run_measured(command, out.with_suffix(".txt"), env)
    return {
        "cold_kernels": cold,
        "exit_code": measured.code,
        "wall_s": round(measured.wall_s, 1),
        "cpu_s": round(measured.cpu_s, 1),
        "peak_rss_bytes": measured.peak_rss_bytes,
    }


def _facts(out: Path) -> dict[str, Any]:
    """What the run says of itself: seconds a stage, registered photos, the fit to the GPS."""
    stages = {}
    for path in sorted((out / "stages").glob("*/fingerprint.json")):
        record = json.loads(path.read_text())
        stages[path.parent.name] = {
            key: record[key] for key in ("seconds", "peak_rss_bytes", "summary") if key in record
        }
    facts: dict[str, Any] = {"stages": stages}
    georef = out / "stages" / "georef" / "georeference.json"
    if georef.is_file():
        data = json.loads(georef.read_text())
        keys = ("method", "rmse_horizontal_m", "rmse_vertical_m", "tilt_sigma_deg", "scale_sigma")
        facts["georef"] = {key: data["placements"][0].get(key) for key in keys}
        facts["georef"]["kind"] = data["frame"]["kind"]
    if (out / "stages" / "sfm" / "component_0").is_dir():
        from voxterra.evaluate.run_folder import read_run_cameras
        from voxterra.io.colmap.model import read_colmap

        components = sorted((out / "stages" / "sfm").glob("component_*"))
        (camera, *_) = read_colmap(components[0]).cameras.values()
        facts["cameras"] = {
            "registered": len(read_run_cameras(out)),
            "components": len(components),
            "focal_px": camera.params[0],
        }
    return facts


def _eval(what: Any, out: Path) -> dict[str, Any]:
    command = [*VOXTERRA, "eval", what.verb, str(out), str(DATA / what.truth), *what.options]
    if what.picture:
        command += ["--picture", str(out.with_name(f"{out.name}_{what.name}.png"))]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    shown = " ".join(["voxterra eval", what.verb, "OUT", f"$DATA/{what.truth}", *what.options])
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"command": shown, "error": (lines or ["no message"])[0].replace(str(DATA), "$DATA")}
    figures = json.loads(done.stdout)
    if what.picture:
        keep_picture(out.with_name(f"{out.name}_{what.name}.png"))
    if what.verb == "depth":
        figures["photos"] = figures["photos"][:3]
    return {"command": shown, **figures}


class _Raw(argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
