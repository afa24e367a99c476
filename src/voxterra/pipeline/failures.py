"""Errors for the user when a run ends early."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from voxterra.errors import (
    Cancelled,
    FormatError,
    VoxterraError,
    WorkspaceError,
    exit_code,
    is_out_of_memory,
)
from voxterra.io.files.disk import cannot_read, cannot_write, disk_full, is_full
from voxterra.pipeline.events import RunFailed

log = logging.getLogger(__name__)

INTERNAL_ERROR_CODE = 70  # EX_SOFTWARE of sysexits.h

RESUME_STEP = "Give the same command again to resume; finished stages are kept."

DISK_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EFBIG,
}


def as_user_error(
    error: BaseException, stage: str | None = None, folder: Path | None = None
) -> VoxterraError | None:
    """The error a user sees for `error` of a stage; None for a bug in Voxterra.

    `folder` is where the run writes, for errors that do not name a file.
    """
    if isinstance(error, VoxterraError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Cancelled("The run was stopped.", next_step=RESUME_STEP)
    if is_out_of_memory(error):
        return VoxterraError(
            "This machine has too little memory.",
            next_step="Use a smaller --preset or a smaller --depth.max-size, or close other "
            "programs; finished stages are kept.",
        )
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        path = Path(error.filename or folder or Path.cwd())
        ours = folder is None or Path(os.path.abspath(path)).is_relative_to(folder.absolute())
        return cannot_write(error, path) if ours else cannot_read(error, path)
    if isinstance(error, Exception) and folder is not None and is_full(folder):
        return disk_full(folder)  # some libraries report it in another way, or not at all
    if isinstance(error, OSError) and error.errno is not None:
        return _unexpected(error, stage)
    return None


def may_be_leftovers(error: BaseException, folder: Path) -> bool:
    """Whether a stage that resumed in `folder` may have failed because of its content.

    Errors without meaning for a user count too, such as a library's error about a damaged file.
    """
    shown = as_user_error(error, folder=folder)
    if shown is None:
        return isinstance(error, Exception)
    if not isinstance(shown, FormatError | WorkspaceError) or not shown.where:
        return False
    return Path(shown.where).is_relative_to(folder)


def _unexpected(error: OSError, stage: str | None) -> VoxterraError:
    """The error for an unexpected failure, such as a file deleted while a stage needed it."""
    reason = error.strerror or str(error)
    where = str(error.filename) if error.filename else f"stage {stage}" if stage else None
    below = Path(where or "").parts
    inside = "stages" in below
    while "stages" in below:
        below = below[below.index("stages") + 1 :]
    # Files in the folder of an unfinished stage (a hidden one) are made by that stage itself.
    again = below[0] if inside and below and not below[0].startswith(".") else stage
    redo = f"voxterra run --out DIR --from {again}" if again else "give the same command again"
    return WorkspaceError(
        f"A file that the run needs cannot be used: {reason}.",
        where=where,
        next_step=f"Make it again: {redo}."
        if inside
        else f"Put it back if it is yours, then {redo}.",
    )


def failure(
    error: BaseException,
    stage: str | None = None,
    component: int | None = None,
    *,
    folder: Path | None = None,
) -> RunFailed:
    """The event of `error`; the traceback of an internal one goes to the log.

    `component` names the stage's site where it is not the main one; `folder` as in `as_user_error`.
    """
    shown = as_user_error(error, stage, folder)
    if shown is None:
        log.error("internal error in stage %s", stage, exc_info=error)
        message = f"Internal error ({type(error).__name__}: {error})."
        return RunFailed(
            "internal",
            message,
            INTERNAL_ERROR_CODE,
            stage,
            next_step="The details are in log.txt of the run; please report them.",
            component=component,
        )
    log.error("%s", shown, exc_info=error if shown is not error else None)
    return RunFailed(
        type(shown).__name__,
        shown.what,
        exit_code(shown),
        stage,
        shown.where,
        shown.next_step,
        component,
    )
