"""How much memory this process may still take on the machine's side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def available_bytes() -> int | None:
    """The least of what the system has, its control group (a container) and the process's own
    limit (`ulimit -v`) leave; None where the system tells nothing (not Linux).
    """
    return min((*_of_system(), *_of_groups(), *_of_limit()), default=None)


def _of_system() -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        for line in (_PROC / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _of_groups() -> Iterator[int]:
    """Of the process's control group and those above it; pages of files can be given back."""
    with suppress(OSError, ValueError):
        for line in (_PROC / "self" / "cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds not in ("", "memory"):
                continue
            root, names = _GROUPS, ("memory.max", "memory.current", "inactive_file")
            if kinds == "memory":  # the first version of control groups
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                root = _GROUPS / "memory"
            folder = root / path.lstrip("/")
            for group in (folder, *folder.parents):
                if group == root or root in group.parents:
                    yield from _left(group, *names)


def _left(group: Path, limit: str, used: str, files: str) -> Iterator[int]:
    with suppress(OSError, ValueError):  # "max" is no number: no limit
        most, now = (int((group / name).read_text()) for name in (limit, used))
        given_back = 0
        with suppress(OSError, ValueError):
            told = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            given_back = int(told.get(files, 0))
        yield max(0, most - now + given_back)


def _of_limit() -> Iterator[int]:
    with suppress(ImportError, OSError, ValueError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            pages = int((_PROC / "self" / "statm").read_text().split()[0])
            yield max(0, most - pages * resource.getpagesize())
