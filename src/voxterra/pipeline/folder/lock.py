"""One run at a time in a run folder.

The lock is the operating system's, so it ends with the process that holds it, however that ends:
there are no stale locks to detect, and process numbers, which containers repeat, do not matter.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from voxterra.errors import OutputError, WorkspaceError

LOCK_FILE = ".voxterra.lock"

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[str]) -> None:
        # Far behind the text, since on Windows a locked range cannot be read.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(file: IO[str]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` during the block.

    Raises:
        WorkspaceError: another run holds it.
        OutputError: the file system has no locks.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            _try_lock(file)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise OutputError(
                    f"The run folder cannot be locked: {error.strerror or error}.",
                    where=str(path.parent),
                    next_step="Give an --out folder on a local disk.",
                ) from error
            file.seek(0)
            raise WorkspaceError(
                f"Another run works in this folder ({file.read().strip() or 'unknown process'}).",
                where=str(path.parent),
                next_step="Wait until it ends, stop it, or give another --out.",
            ) from error
        _sign(path)
        yield  # closing the file unlocks it


def _sign(path: Path) -> None:
    """Write the holder into the lock file, for others to read; a full disk does not matter."""
    with suppress(OSError), path.open("w", encoding="utf-8") as file:
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
