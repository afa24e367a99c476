"""Errors of the file system, and checks against a full disk."""

from __future__ import annotations

import errno
from pathlib import Path

from voxterra.core.machine import disk_free_bytes, gigabytes
from voxterra.errors import InputError, OutputError

RESERVE_BYTES = 50_000_000
"""Kept free for parts that crash on a full disk: more than they write between two looks at it."""

_MAKE_SPACE = (
    "Make space on that disk, then give the same command again: it resumes, and what was finished "
    "is kept."
)
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FULL_BYTES = 1_000_000


def cannot_read(error: OSError, path: Path) -> InputError:
    """The error for a `path` that cannot be read."""
    return InputError(
        f"The file cannot be read: {error.strerror or error}.",
        where=str(path),
        next_step="Check that the file is there and that you may read it.",
    )


def cannot_write(error: OSError, path: Path) -> OutputError:
    """The error for a `path` that cannot be written: names the folder and its free space."""
    if error.errno in _FULL or (error.errno is None and is_full(path.parent)):
        return disk_full(path)
    return OutputError(
        f"The file cannot be written: {error.strerror or error}.",
        where=str(path),
        next_step="Check that you may write there and that no folder has that name, then give the "
        "same command again; finished work is kept.",
    )


def disk_full(path: Path) -> OutputError:
    """The error of a disk, or a quota, that is too full for `path`: a file, or a working folder."""
    folder, what = (
        (path, "") if path.is_dir() else (path.parent, f" '{path.name}' cannot be written.")
    )
    return OutputError(
        f"The disk is full{':' if what else '.'}{what}",
        where=f"{folder} ({_left(folder)})",
        next_step=_MAKE_SPACE,
    )


def is_full(folder: Path) -> bool:
    """Whether the disk is so full that this is why a library could not write."""
    free = disk_free_bytes(folder)
    return free is not None and free < _FULL_BYTES


def require_space(folder: Path, least_bytes: int = RESERVE_BYTES) -> None:
    """Raise before a full disk crashes a library that cannot handle it.

    Raises:
        OutputError: less is free where `folder` is.
    """
    free = disk_free_bytes(folder)
    if free is not None and free < least_bytes:
        raise OutputError(
            f"The disk is nearly full: {gigabytes(least_bytes)} must stay free.",
            where=f"{folder} ({_left(folder)})",
            next_step=_MAKE_SPACE,
        )


def _left(folder: Path) -> str:
    free = disk_free_bytes(folder)
    return "free space unknown" if free is None else f"{gigabytes(free)} free"
