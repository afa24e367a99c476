"""How CPU seconds and memory grow with the number of photos, step by step.

    python benchmarks/growth.py                                    # 250, 500, 1000, 2000 photos
    python benchmarks/growth.py --sizes 64 128 --only observed_by judge --out some.json
    PYTHONPATH=/other/checkout/src python benchmarks/growth.py     # another version

Features, matching, mapping and stereo are left out: they need photos of something, and hours. All
else (`growth_steps.py`) works on a generated survey (`growth_survey.py`), mostly with the default
options. Each step has a process of its own, runs on a small survey first (compiling), and is timed
in processor time on one thread, so that other work on the machine matters less. The peak is memory
beyond what was there before the call. Exponents: "fit" over all sizes, "last" from the last two; 1
is linear. It takes a quarter of an hour.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import voxterra as vt
from growth_steps import STEPS
from growth_survey import Survey

WARM = 30


def memory_mb(key: str) -> float:
    """VmRSS or VmHWM of this process; 0 where the system does not tell (not Linux)."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(key)), 0.0)


def measure(name: str, survey: Survey) -> dict[str, Any]:
    """The quickest of up to five calls."""
    best: dict[str, Any] = {"cpu_s": np.inf}
    for _ in range(5):
        call = STEPS[name](survey)
        gc.collect()
        if Path("/proc/self/clear_refs").exists():
            Path("/proc/self/clear_refs").write_text("5")  # the peak counts from now on
        before, start = memory_mb("VmRSS"), time.process_time()
        found = call()
        cpu_s, peak = time.process_time() - start, memory_mb("VmHWM") - before
        if cpu_s < best["cpu_s"]:
            best = {"cpu_s": round(cpu_s, 5), "peak_mb": round(peak, 1), "found": found or ""}
        if cpu_s > 0.2:
            break
    return best


def exponents(sizes: list[int], values: list[float]) -> dict[str, float | None]:
    known = [(n, v) for n, v in zip(sizes, values) if v > 0]
    if len(known) < 2:
        return {"fit": None, "last": None}
    x, y = np.log(np.array(known)).T
    slopes = {"fit": np.polyfit(x, y, 1)[0], "last": np.polyfit(x[-2:], y[-2:], 1)[0]}
    return {key: round(float(value), 2) for key, value in slopes.items()}


def all_sizes(name: str, given: argparse.Namespace, work: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name, "--work", str(work), "--sizes"]
    command += [*map(str, given.sizes), "--observations", str(given.observations)]
    # One thread: threads that wait for each other count as work. Large arrays that are freed go
    # back to the system, so that sizes do not hide each other.
    threads = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    env = os.environ | dict.fromkeys(threads, "1") | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    out: dict[str, Any] = {"sizes": dict(zip(map(str, given.sizes), rows))}
    for key in ("cpu_s", "peak_mb"):
        out[key] = exponents(given.sizes, [row[key] for row in rows])
    if done.returncode:
        out["error"] = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    return out


def shown(name: str, row: dict[str, Any], sizes: list[int]) -> str:
    cells = [row["sizes"].get(str(n)) for n in sizes]
    text = "".join(f"{c['cpu_s']:10.3f} ({c['peak_mb']:5.0f})" if c else " " * 18 for c in cells)
    slopes = [row[key][kind] for key in ("cpu_s", "peak_mb") for kind in ("fit", "last")]
    text += "".join("      -" if slope is None else f"{slope:7.2f}" for slope in slopes)
    found = [c["found"] for c in cells if c][-1:]
    return f"{name:27}{text}  {'; '.join([*found, row.get('error', '')]).rstrip('; ')}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[250, 500, 1000, 2000])
    parser.add_argument("--only", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--observations", type=int, default=1000, help="of points, a photo")
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        for n in (WARM, *given.sizes):
            measured = measure(given.one, Survey(n, given.observations, given.work))
            if n != WARM:
                print(json.dumps(measured), flush=True)
        return 0
    package = Path(str(vt.__file__)).parent
    git = ["git", "-C", str(package), "rev-parse", "--short=12", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    result: dict[str, Any] = {
        "voxterra": vt.__version__, "commit": commit, "sizes": given.sizes,
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0], "observations": given.observations, "steps": {},
    }  # fmt: skip
    print(f"{package}, commit {commit}\nCPU s (peak MB); exponents of CPU s, then of the peak")
    print(" " * 27 + "".join(f"{n:18}" for n in given.sizes) + "    fit   last    fit   last")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        for name in given.only:
            result["steps"][name] = all_sizes(name, given, Path(work))
            print(shown(name, result["steps"][name], given.sizes), flush=True)
            result["wall_s"] = round(time.perf_counter() - start, 1)
            if given.out:
                given.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
