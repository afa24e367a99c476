"""Folders that appear whole, made by several workers at a time if need be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from voxterra.io.files.atomic import sync, sync_tree, temporary_name


def commit_once(folder: Path, write: Callable[[Path], None]) -> bool:
    """Let `write` fill a folder of its own, which then becomes `folder`, unless that is there.

    Two attempts at a time each have a folder of their own; the first rename wins. What a killed
    attempt left, `io.files.atomic.remove_leftovers` finds.

    Returns:
        whether `folder` is what this call wrote.

    Raises:
        OSError: the disk refuses; whatever `write` raises.
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
