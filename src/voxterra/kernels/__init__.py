"""Array operations: one documented function an operation, compiled by Numba for all cores.

Compiled kernels are cached in the user's cache folder, so that an installed package needs no
write access to its own folder; `NUMBA_CACHE_DIR` overrides it.
"""

import os
from pathlib import Path

import numba


def _user_cache_dir() -> Path:
    base = os.environ.get("VOXTERRA_CACHE") or os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "voxterra" / "kernels"


if not numba.config.CACHE_DIR:  # type: ignore[attr-defined]
    numba.config.CACHE_DIR = str(_user_cache_dir())  # type: ignore[attr-defined]
