"""Peak memory of this process, where the system tells it."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc/self")


def reset_peak_rss() -> None:
    """Let `peak_rss_bytes` count from now on; does nothing where the system cannot (not Linux)."""
    with suppress(OSError):
        (_PROC / "clear_refs").write_text("5")


def peak_rss_bytes() -> int:
    """Largest resident size since `reset_peak_rss` (since the start of the process elsewhere).

    Returns:
        [bytes], 0 where it is unknown.
    """
    with suppress(OSError, ValueError):
        for line in (_PROC / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(largest) * (1 if sys.platform == "darwin" else 1024)
