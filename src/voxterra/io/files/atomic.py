"""Write files atomically: complete or not at all, even after a power cut.

Renaming alone is not enough for that: a file system may write the new name to the disk before the
content, and after a power cut the name stands for an empty file. So content goes through to the
disk first (`fsync`), and folders where the order of renames counts.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from voxterra.io.files.disk import cannot_write

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp(\..*)?")
# Errors of file systems without such a call (some network and user-space ones).
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}


def temporary_name(path: Path) -> Path:
    """A name beside `path`, with the same ending, that `remove_leftovers` recognises."""
    return path.with_name(f".{path.stem}.{uuid4().hex[:8]}.tmp{path.suffix}")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` (same ending); renamed to `path` when the block succeeds.

    Missing parent folders are made. When the block fails the temporary file is removed and
    whatever was at `path` stays. The content is on the disk before it has its name.

    Raises:
        OutputError: the file system refuses (permissions, no space, path is a folder).
    """
    path = Path(path)
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk.

    Raises:
        OSError: they cannot be written there.
    """
    if os.name == "nt" and path.is_dir():  # Windows knows no such call for folders
        return
    opened = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(opened)


def sync_tree(folder: Path) -> None:
    """Wait until all that is in a folder, and below it, is on the disk.

    Raises:
        OSError: something cannot be written there.
    """
    for path in (*folder.rglob("*"), folder):
        if not path.is_symlink():
            sync(path)


def remove_leftovers(folder: Path, *, below: bool = False) -> None:
    """Delete temporary files of processes that were killed, in a folder (and `below` it).

    Only where nobody else writes: a temporary file in use looks the same.
    """
    for path in [*(folder.rglob if below else folder.glob)(".*.tmp*")]:
        if _TEMPORARY.fullmatch(path.name):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
