"""Commit folders atomically, even if several workers make the same one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from voxterra.io.files.atomic import sync, sync_tree, temporary_name


def commit_once(folder: Path, write: Callable[[Path], None]) -> bool:
    """Let `write` fill a temporary folder, then rename it to `folder`, unless that exists.

    Two attempts at a time each have their own folder; the first rename wins. The leftovers of a
    killed attempt are found by `io.files.atomic.remove_leftovers`.

    Returns:
        whether `folder` is what this call wrote.

    Raises:
        OSError: the disk refuses; errors of `write`.
    """
    if folder.exists():
        return False
    own = temporary_name(folder)
    own.mkdir(parents=True)
    try:
        write(own)
        sync_tree(own)
        try:
            os.rename(own, folder)
        except OSError:
            if folder.is_dir():
                return False
            raise
        sync(folder.parent)
        return True
    finally:
        shutil.rmtree(own, ignore_errors=True)
