"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from voxterra.io.disk import cannot_write


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` (same ending); renamed to `path` when the block succeeds.

    Missing parent folders are made. When the block fails the temporary file is removed and
    whatever was at `path` stays.

    Raises:
        OutputError: the file system refuses (permissions, no space, path is a folder).
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
