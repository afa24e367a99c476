"""What every benchmark needs: the machine, the versions, wall time and peak memory."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent
RESULTS = REPO / "benchmarks" / "results"
PICTURES = RESULTS / "pictures"
DATA = Path(os.environ.get("VOXTERRA_SHARED_DATA", REPO.parent / "shared" / "data"))
PACKAGES = ("voxterra", "numpy", "numba", "pycolmap", "opencv-python-headless", "rasterio")


@dataclass(frozen=True)
class Measured:
    """A finished command.

    Attributes:
        code: exit status.
        wall_s: [s].
        cpu_s: user and system time of the command and its children [s].
        peak_rss_bytes: largest sum of resident memory over the command and its children, seen
            five times a second.
    """

    code: int
    wall_s: float
    cpu_s: float
    peak_rss_bytes: int


def run_measured(command: list[str], log: Path, env: dict[str, str] | None = None) -> Measured:
    """Run a command, its output into `log`."""
    import psutil

    log.parent.mkdir(parents=True, exist_ok=True)
    before = os.times()
    started = time.perf_counter()
    peak = 0
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}
        )
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.is_set():
                total = 0
                try:
                    root = psutil.Process(process.pid)
                    for member in [root, *root.children(recursive=True)]:
                        try:
                            total += member.memory_info().rss
                        except psutil.Error:
                            continue
                except psutil.Error:
                    pass
                peak = max(peak, total)
                done.wait(0.2)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        code = process.wait()
        done.set()
        watcher.join()
    after = os.times()
    cpu = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    return Measured(code, time.perf_counter() - started, cpu, peak)


def setting() -> dict[str, Any]:
    """Machine, versions, commit and time, as every result file records them."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "machine": {
            "cpu": _cpu_model(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "load_before": round(os.getloadavg()[0], 2),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {"python": platform.python_version(), **_versions()},
    }


def commit() -> str:
    """Commit of the checkout; "+" when files of the package differ from it."""
    head = _git("rev-parse", "--short=12", "HEAD")
    return head + ("+" if _git("status", "--porcelain", "--", "src", "benchmarks/*.py") else "")


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Write `benchmarks/results/NAME.json`."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    os.replace(temporary, path)
    return path


def read_result(name: str) -> dict[str, Any]:
    """An earlier result, or {}."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def _versions() -> dict[str, str]:
    out = {}
    for package in PACKAGES:
        try:
            out[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return out


def _git(*args: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(REPO), *args], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def keep_picture(path: Path) -> None:
    """Keep a picture of errors with the results, in 255 colours."""
    from PIL import Image

    PICTURES.mkdir(parents=True, exist_ok=True)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(255).save(PICTURES / path.name, optimize=True)
