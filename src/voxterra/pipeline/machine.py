"""Resources of this machine, within limits of a container, and memory used by this process."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU, as its driver reports it.

    Attributes:
        name: of the card.
        memory_bytes: of the card.
        driver: its version.
    """

    name: str
    memory_bytes: int
    driver: str


@dataclass(frozen=True)
class MachineFacts:
    """What a run can use.

    Attributes:
        processor: its name, or "".
        cores: that this process may use.
        memory_bytes: in all, or what a container allows; None = unknown.
        available_bytes: not taken by other programs; None = unknown.
        gpus: as the driver reports them.
    """

    processor: str
    cores: int
    memory_bytes: int | None
    available_bytes: int | None
    gpus: tuple[Gpu, ...]


def this_machine_facts() -> MachineFacts:
    """Examine this machine; takes milliseconds, or as long as nvidia-smi if it exists."""
    total, available = memory()
    return MachineFacts(_processor(), cores(), total, available, gpus())


def cores() -> int:
    """Processors that this process may use: its affinity, and a container's share of time."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        if quota != "max":
            count = min(count, max(1, round(int(quota) / int(period))))
    return count


def memory() -> tuple[int | None, int | None]:
    """Total memory, and memory free for a run [bytes]; None if unknown."""
    total = available = None
    with suppress(OSError, ValueError, AttributeError):  # AttributeError: Windows
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        for line in (_PROC / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
    with suppress(OSError, ValueError):
        limit = int((_CGROUP / "memory.max").read_text())  # "max": ValueError, no limit
        used = int((_CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        left = limit - used + int(stat.get("inactive_file", 0))  # caches are given back
        total = limit if total is None else min(total, limit)
        available = left if available is None else min(available, left)
    return total, available


def reset_peak_rss() -> None:
    """Let `peak_rss_bytes` count from now on; does nothing where the system cannot (not Linux)."""
    with suppress(OSError):
        (_PROC / "self" / "clear_refs").write_text("5")


def peak_rss_bytes() -> int:
    """Largest resident size since `reset_peak_rss` (since the start of the process elsewhere).

    It is that of the whole process: of all runs that work in it.

    Returns:
        [bytes], 0 where it is unknown.
    """
    with suppress(OSError, ValueError):
        for line in (_PROC / "self" / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(largest) * (1 if sys.platform == "darwin" else 1024)


def gpus() -> tuple[Gpu, ...]:
    """NVIDIA GPUs as nvidia-smi lists them; none where it is missing or fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run([program, *query], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ()
    found = []
    for line in done.stdout.splitlines() if done.returncode == 0 else ():
        parts = [part.strip() for part in line.rsplit(",", 2)]
        if len(parts) == 3 and parts[1].isdigit():
            found.append(Gpu(parts[0], int(parts[1]) << 20, parts[2]))
    return tuple(found)


def _processor() -> str:
    with suppress(OSError):
        for line in (_PROC / "cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
