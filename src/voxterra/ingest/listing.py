"""What lies in a folder, and which files cannot be photos."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from voxterra.errors import InputError
from voxterra.io.images import PHOTO_SUFFIXES

_IGNORED_FOLDERS = frozenset({"__macosx", "@eadir", "lost+found"})
_NOT_READ = {
    "RAW photos are not read: export them as JPEG or TIFF": (
        ".dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .raf .rw2 .orf .pef .srw .3fr .iiq .rwl"
    ),
    "archives among photos are not read: unpack them": ".zip .7z .rar .tar .gz .tgz .bz2 .xz",
    "video is not read: export frames as JPEG": ".mp4 .mov .avi .mkv .m4v .mts .insv .lrv",
    "not a format that is read: save it as JPEG, PNG or TIFF": (
        ".gif .bmp .webp .avif .jp2 .jxl .psd .svg .jfif .pgm .ppm .exr .hdr"
    ),
}
_REASONS = {suffix: why for why, suffixes in _NOT_READ.items() for suffix in suffixes.split()}


def children(folder: Path) -> dict[str, Path]:
    """What lies in a folder, by lower-case name, without hidden things.

    Raises:
        InputError: the folder cannot be listed.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"The folder cannot be listed: {error.strerror}.",
            where=str(folder),
            next_step="Check that you may read it.",
        ) from error
    return {
        path.name.lower(): path
        for path in paths
        if not path.name.startswith(".") and path.name.lower() not in _IGNORED_FOLDERS
    }


def has_photo(folder: Path) -> bool:
    """Whether a photo lies directly in a folder."""
    return any(p.suffix.lower() in PHOTO_SUFFIXES for p in children(folder).values())


def files_under(root: Path, *, skip: str) -> Iterator[Path]:
    """All files under `root` but in hidden folders and folders `skip`; links are followed once."""
    return (path for path in entries_under(root, skip=skip) if os.path.isfile(path))


def entries_under(root: Path, *, skip: str) -> Iterator[Path]:
    """As `files_under`, with links that lead nowhere, pipes, and folders that cannot be listed."""
    unlistable: list[Path] = []

    def skipped(error: OSError) -> None:
        unlistable.append(Path(error.filename))

    visited = set()
    for folder, folders, files in os.walk(root, onerror=skipped, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(
            f
            for f in folders
            if not f.startswith(".") and f.lower() not in _IGNORED_FOLDERS | {skip}
        )
        for name in files:
            if not name.startswith("."):
                yield Path(folder, name)
    yield from unlistable


def why_no_file(path: Path) -> str | None:
    """Reason why a path is not a regular file (broken link, pipe), or None if it is one."""
    try:
        mode = path.stat().st_mode
    except OSError:
        if os.path.islink(path):
            return "a symbolic link that leads nowhere"
        return "not readable: check its permissions"
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return "a pipe or a device, not a file"


def why_unusable_name(name: str) -> str | None:
    """Reason why a photo of this name cannot be used, or None."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not valid UTF-8: rename it"
    if any(ord(c) < 32 or ord(c) == 127 for c in name):
        return "its name has control characters: rename it"
    return None


def why_not_read(path: Path) -> str | None:
    """Reason why a file that may be meant as a photo cannot be read as one; None for others."""
    return _REASONS.get(path.suffix.lower())
