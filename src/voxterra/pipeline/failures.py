"""What a user is told when a run ends early."""

from __future__ import annotations

import errno
import logging

from voxterra.errors import Cancelled, OutputError, VoxterraError, exit_code
from voxterra.pipeline.events import RunFailed

log = logging.getLogger(__name__)

INTERNAL_ERROR_CODE = 70  # EX_SOFTWARE of sysexits.h

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


def as_user_error(error: BaseException) -> VoxterraError | None:
    """The error a user sees for `error`; None when it is a mistake in Voxterra."""
    if isinstance(error, VoxterraError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Cancelled("The run was stopped.", next_step=GO_ON)
    if isinstance(error, MemoryError):
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
    return None


def failure(error: BaseException, stage: str | None = None) -> RunFailed:
    """The event that tells `error`; the traceback of an internal one goes to the log."""
    told = as_user_error(error)
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
