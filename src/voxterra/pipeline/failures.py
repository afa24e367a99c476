"""What a user is told when a run ends early."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path

from voxterra.errors import (
    Cancelled,
    FormatError,
    OutputError,
    VoxterraError,
    WorkspaceError,
    exit_code,
    is_out_of_memory,
)
from voxterra.pipeline.events import RunFailed

log = logging.getLogger(__name__)

INTERNAL_ERROR_CODE = 70  # EX_SOFTWARE of sysexits.h

_FULL_BYTES = 4 << 20

GO_ON = "Give the same command again to go on; finished stages are kept."

_DISK_ERRORS = {
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
    """The error a user sees for `error` of a stage; None when it is a mistake in Voxterra.

    Libraries hide that a disk is full behind errors of their own; so where the disk of `folder`
    is, it counts as the reason.
    """
    if isinstance(error, VoxterraError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Cancelled("The run was stopped.", next_step=GO_ON)
    if is_out_of_memory(error):
        return VoxterraError(
            "The memory of this machine does not suffice.",
            next_step="Take a smaller --preset or a smaller --depth.max-size, or close other "
            "programs; finished stages are kept.",
        )
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return OutputError(
            f"A result cannot be written: {error.strerror}.",
            where=str(error.filename) if error.filename else None,
            next_step="Make space on the disk or check the folder's permissions, then give the "
            "same command again; finished stages are kept.",
        )
    if isinstance(error, OSError) and error.errno is not None:
        return _unexpected(error, stage)
    if folder is not None and isinstance(error, Exception) and _is_full(folder):
        return OutputError(
            f"A result cannot be written: {os.strerror(errno.ENOSPC)}.",
            where=str(folder),
            next_step="Make space on the disk, then give the same command again; finished stages "
            "are kept.",
        )
    return None


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _FULL_BYTES
    except OSError:
        return False


def may_be_leftovers(error: BaseException, folder: Path) -> bool:
    """Whether a stage that went on in `folder` may have failed by what it found there.

    So may everything that has no meaning for a user, as a library's complaint of a damaged file.
    """
    told = as_user_error(error, folder=folder)
    if told is None:
        return isinstance(error, Exception)
    if not isinstance(told, FormatError | WorkspaceError) or not told.where:
        return False
    return Path(told.where).is_relative_to(folder)


def _unexpected(error: OSError, stage: str | None) -> VoxterraError:
    """Such as a file that somebody deleted or moved while a stage needed it."""
    reason = error.strerror or str(error)
    where = str(error.filename) if error.filename else f"stage {stage}" if stage else None
    below = Path(where or "").parts
    inside = "stages" in below
    while "stages" in below:
        below = below[below.index("stages") + 1 :]
    # What lies in the folder of an unfinished stage (a hidden one) is made by that stage itself.
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
    error: BaseException, stage: str | None = None, folder: Path | None = None
) -> RunFailed:
    """The event that tells `error`; the traceback of an internal one goes to the log.

    `folder` is as in `as_user_error`.
    """
    told = as_user_error(error, stage, folder)
    if told is None:
        log.error("internal error in stage %s", stage, exc_info=error)
        message = f"Internal error ({type(error).__name__}: {error})."
        return RunFailed(
            "internal",
            message,
            INTERNAL_ERROR_CODE,
            stage,
            next_step="The details are in log.txt of the run; please report them.",
        )
    log.error("%s", told, exc_info=error if told is not error else None)
    return RunFailed(
        type(told).__name__, told.what, exit_code(told), stage, told.where, told.next_step
    )
