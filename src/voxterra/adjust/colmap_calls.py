"""Run COLMAP's long calls so that they report progress, can be stopped, and stay quiet.

On a full disk COLMAP silently ends the whole process from a thread of its own, so its calls are
stopped before that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TypeVar

import pycolmap

from voxterra.core.scope import ScopedThreadPool
from voxterra.io.files.disk import require_space

T = TypeVar("T")

LOG_VARIABLE = "VOXTERRA_COLMAP_LOG"
"""Environment variable; when set, COLMAP's own log goes to stderr."""

_FATAL_ONLY = 3


@dataclass
class _Quiet:
    """Number of users that want quiet, and COLMAP's log level before the first of them."""

    lock: Lock = field(default_factory=Lock)
    users: int = 0
    before: int = 0


_quiet = _Quiet()


@contextmanager
def quiet_colmap() -> Iterator[None]:
    """Keep COLMAP's log away from stderr, unless VOXTERRA_COLMAP_LOG is set."""
    if os.environ.get(LOG_VARIABLE):
        yield
        return
    with _quiet.lock:  # the level is the process's; runs side by side share it
        if _quiet.users == 0:
            _quiet.before = pycolmap.logging.minloglevel
        _quiet.users += 1
        pycolmap.logging.minloglevel = _FATAL_ONLY
    try:
        yield
    finally:
        with _quiet.lock:
            _quiet.users -= 1
            if _quiet.users == 0:
                pycolmap.logging.minloglevel = _quiet.before


def run_cancellable(
    work: Callable[[pycolmap.CancellationToken], T],
    report: Callable[[], None],
    *,
    folder: Path | None = None,
    poll_s: float = 0.2,
) -> T:
    """Run `work(token)` in a thread and call `report()` every `poll_s` seconds until it ends.

    If `report` raises (`voxterra.errors.Cancelled`, KeyboardInterrupt), cancels the token, waits
    for `work` to stop, and raises that again. `folder` is where COLMAP writes, if it does: a
    failed write would end the whole process, so the work is stopped before the disk is full.

    Raises:
        OutputError: hardly any space is left for `folder`.
    """

    def check_space() -> None:
        if folder is not None:
            require_space(folder)

    check_space()
    token = pycolmap.CancellationToken()
    with ScopedThreadPool(1) as pool:
        future = pool.submit(work, token)
        try:
            while not wait([future], timeout=poll_s).done:
                check_space()
                report()
            result = future.result()
            report()
        except BaseException:
            token.cancel()
            raise
    return result
