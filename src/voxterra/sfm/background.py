"""Running COLMAP's long calls so that they report progress, can be stopped, and stay quiet.

On a full disk COLMAP ends the whole process from a thread of its own, with no word to the user; so
its calls are stopped shortly before.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pycolmap

from voxterra.errors import OutputError

T = TypeVar("T")

LOG_VARIABLE = "VOXTERRA_COLMAP_LOG"
"""Environment variable; when set, COLMAP's own log goes to stderr."""

_FATAL_ONLY = 3

ROOM_BYTES = 32 << 20
"""What must be free on the disk: more than COLMAP writes between two looks."""


@contextmanager
def quiet_colmap() -> Iterator[None]:
    """Keep COLMAP's log away from stderr, unless VOXTERRA_COLMAP_LOG is set."""
    before = pycolmap.logging.minloglevel
    if not os.environ.get(LOG_VARIABLE):
        pycolmap.logging.minloglevel = _FATAL_ONLY
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before


def run_cancellable(
    work: Callable[[pycolmap.CancellationToken], T],
    report: Callable[[], None],
    *,
    writes_in: Path | None = None,
    poll_s: float = 0.2,
) -> T:
    """Run `work(token)` in a thread and call `report()` every `poll_s` seconds until it ends.

    What `report` raises (`voxterra.errors.Cancelled`, KeyboardInterrupt) cancels the token, waits
    for `work` to stop, and passes on.

    Raises:
        OutputError: the disk of the folder `writes_in` is all but full.
    """
    if writes_in is not None:
        require_room(writes_in)
    token = pycolmap.CancellationToken()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work, token)
        try:
            while not wait([future], timeout=poll_s).done:
                report()
                if writes_in is not None:
                    require_room(writes_in)
            result = future.result()
            report()
        except BaseException:
            token.cancel()
            raise
    return result


def require_room(folder: Path) -> None:
    """Raise an `OutputError` where the disk of `folder` is all but full."""
    free = shutil.disk_usage(folder).free
    if free < ROOM_BYTES:
        raise OutputError(
            f"{os.strerror(errno.ENOSPC)}: {free / 1e6:.0f} MB are free, {ROOM_BYTES / 1e6:.0f} MB"
            " are needed to go on.",
            where=str(folder),
            next_step="Make space on the disk, then give the same command again; what is done is "
            "kept.",
        )
