"""NumPy's `.npz` archives, read so that a damaged one is a ValueError and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an archive by name; pickled objects are refused.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such archive, or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except OSError:
        raise
    except Exception as error:  # zipfile and zlib raise nearly anything on damaged files
        raise ValueError(str(error) or type(error).__name__) from error
