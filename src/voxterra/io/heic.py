"""HEIC: opened through pi_heif, after a safety check of the file.

libheif's binding can crash the whole process on a damaged file (seen with pi_heif 1.4: a broken
metadata block). So each file is first decoded in a process of its own; only what survives there is
opened here.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path

from voxterra.errors import FormatError

logger = logging.getLogger(__name__)

HEIC_SUFFIXES = (".heic", ".heif", ".hif")

_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_SECONDS = 300
_PROBE = (
    "import sys, pi_heif; from PIL import Image; Image.MAX_IMAGE_PIXELS = None; "
    "pi_heif.register_heif_opener(thumbnails=False); Image.open(sys.argv[1]).load()"
)
_lock = threading.Lock()
_registered = False


def is_heic(path: Path) -> bool:
    """Whether a file starts as HEIC files do.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(12)
    return start[4:8] == b"ftyp" and start[8:12] in _BRANDS


def prepare_heic(path: Path) -> None:
    """Enable Pillow to open HEIC files, and check that this one does not crash it.

    Raises:
        FormatError: the file makes the decoder crash or hang.
        OSError: the file cannot be read.
    """
    global _registered
    with _lock:
        if not _registered:
            import pi_heif

            pi_heif.register_heif_opener(thumbnails=False)
            _registered = True
    stat = path.stat()
    if _crashes(path, stat.st_size, stat.st_mtime_ns):
        raise FormatError(
            "The image cannot be read: it is so damaged that the HEIC decoder crashes.",
            where=str(path),
            next_step="Copy it again from the camera, or leave it out.",
        )


@lru_cache(maxsize=100_000)
def _crashes(path: Path, size: int, mtime_ns: int) -> bool:
    # Size and time are there for the cache. An ordinary error (exit code 1) is not a crash: the
    # file fails in the same way when it is opened here, with its message.
    command = [sys.executable, "-I", "-c", _PROBE, str(path)]
    quiet = subprocess.DEVNULL
    try:
        code = subprocess.run(
            command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=_SECONDS
        ).returncode
    except subprocess.TimeoutExpired:
        return True
    except OSError as error:
        logger.warning("HEIC files are opened unchecked, no process can be started: %s", error)
        return False
    return code not in (0, 1)
