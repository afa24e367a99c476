"""Calls of COLMAP: quiet, cancellable, stopped before the disk is full."""

from __future__ import annotations

import time
from pathlib import Path

import pycolmap
import pytest

from voxterra.adjust.colmap_calls import quiet_colmap, run_cancellable
from voxterra.errors import OutputError
from voxterra.io.files import disk


def test_colmaps_log_level_comes_back_after_the_last_quiet_run() -> None:
    before = pycolmap.logging.minloglevel
    first, second = quiet_colmap(), quiet_colmap()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert pycolmap.logging.minloglevel == 3
    second.__exit__(None, None, None)
    assert pycolmap.logging.minloglevel == before


def test_run_cancellable_waits_for_the_work_and_raises_its_errors() -> None:
    seen: list[bool] = []

    def wait_for_cancel(token: pycolmap.CancellationToken) -> None:
        while not token.is_cancelled:
            time.sleep(0.001)
        seen.append(True)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cancellable(wait_for_cancel, interrupt, poll_s=0.01)
    assert seen == [True]

    def fail(token: pycolmap.CancellationToken) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_cancellable(fail, lambda: None)
    assert run_cancellable(lambda token: 7, lambda: None) == 7


def test_colmap_is_stopped_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter([80_000_000, 70_000_000, 40_000_000])
    monkeypatch.setattr(disk, "disk_free_bytes", lambda folder: next(left, 40_000_000))
    stopped: list[bool] = []

    def wait_for_cancel(token: pycolmap.CancellationToken) -> None:
        while not token.is_cancelled:
            time.sleep(0.001)
        stopped.append(True)

    with pytest.raises(OutputError, match="nearly full"):
        run_cancellable(wait_for_cancel, lambda: None, folder=tmp_path, poll_s=0.01)
    assert stopped == [True]
    with pytest.raises(OutputError):  # and is not started on one
        run_cancellable(wait_for_cancel, lambda: None, folder=tmp_path)
    assert stopped == [True]
