"""The tree of errors a user can meet, and the one table that maps them to exit codes.

Every error says *what* went wrong, *where* (photo, file, option), and the *next step*.
"""

from __future__ import annotations

import errno


class VoxterraError(Exception):
    """Base of all errors that reach a user.

    Args:
        what: one sentence, what went wrong.
        where: the photo, file, option or stage concerned.
        next_step: what the user can do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, next_step: str | None = None):
        super().__init__(what)
        self.what = what
        self.where = where
        self.next_step = next_step

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.next_step:
            lines.append(f"  next:  {self.next_step}")
        return "\n".join(lines)


class UsageError(VoxterraError):
    """A wrong option, option value or combination of options."""


class InputError(VoxterraError):
    """Photos, metadata or other input files cannot be used."""


class NoPhotosError(InputError):
    """There is no usable photo in the input."""


class TooFewPhotosError(InputError):
    """Too few usable photos to reconstruct anything."""


class FormatError(InputError):
    """A file does not hold what its format says."""


class ReconstructionError(VoxterraError):
    """The photos were read but no model came out of them."""


class NoOverlapError(ReconstructionError):
    """No two photos see the same thing well enough to be related."""


class OutsideAreaError(ReconstructionError):
    """Nothing of the model lies in the area of interest."""


class GeoError(VoxterraError):
    """A CRS, datum, geoid or georeference is wrong or missing."""


class OutputError(VoxterraError):
    """A result cannot be written."""


class WorkspaceError(VoxterraError):
    """The run folder is in use, damaged, or of an incompatible version."""


class MissingPartError(VoxterraError):
    """A part of Voxterra is not installed, or does not load."""


class Cancelled(VoxterraError):
    """The user stopped the run; what was finished is kept."""


# The one table. A subclass that is not listed takes the code of its nearest listed parent.
# HTTP statuses join this table with the web app.
EXIT_CODES: dict[type[VoxterraError], int] = {
    VoxterraError: 1,
    UsageError: 2,
    InputError: 3,
    NoPhotosError: 4,
    TooFewPhotosError: 5,
    FormatError: 6,
    ReconstructionError: 10,
    OutsideAreaError: 10,
    NoOverlapError: 11,
    GeoError: 12,
    OutputError: 20,
    WorkspaceError: 21,
    MissingPartError: 30,
    Cancelled: 130,
}


_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "failed to map segment",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "when calling `cublasCreate(handle)`",
)
"""What torch says as a RuntimeError, and the loader of libraries as an ImportError, where the
machine, or the GPU without torch having asked for memory itself, has none left. A handle of cuBLAS
that cannot be made has other causes in principle; memory is the one that is met."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is full: the machine's, or a GPU's as torch reports it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    raised = isinstance(error, RuntimeError | ImportError)
    return raised and any(text in str(error) for text in _NO_MEMORY)


def exit_code(error: VoxterraError) -> int:
    """Exit code of `error`: that of the nearest class in `EXIT_CODES`."""
    return next(EXIT_CODES[cls] for cls in type(error).__mro__ if cls in EXIT_CODES)
