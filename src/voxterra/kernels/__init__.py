"""Array operations: one documented function an operation, compiled by Numba for all cores.

Compiled kernels are cached in the user's cache folder, so that an installed package needs no
write access to its own folder; `NUMBA_CACHE_DIR` overrides it. The folder's name holds a digest of
all kernels' sources: Numba itself sees only the file of the outermost function, and would go on
using a kernel whose inlined parts in another file have changed.
"""

import hashlib
import os
from pathlib import Path

import numba


def _cache_dir() -> Path:
    base = os.environ.get("VOXTERRA_CACHE") or os.environ.get("XDG_CACHE_HOME")
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    folder = Path(base) if base else Path.home() / ".cache"
    return folder / "voxterra" / "kernels" / digest.hexdigest()[:12]


if not numba.config.CACHE_DIR:  # type: ignore[attr-defined]
    numba.config.CACHE_DIR = str(_cache_dir())  # type: ignore[attr-defined]
