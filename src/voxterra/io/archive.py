"""Unpack zip archives of photos safely: nothing outside the folder, nothing beyond the size limit.

Only files that ingest can use are written. Nothing is trusted: not the names, not the sizes that
the archive states.
"""

from __future__ import annotations

import errno
import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from voxterra.core.machine import gigabytes
from voxterra.core.progress import Progress, no_progress
from voxterra.errors import FormatError, InputError, OutputError
from voxterra.io.files.disk import cannot_write

_MAX_ENTRIES = 200_000
# Photos hardly shrink in a zip; only bombs shrink a thousandfold. Small archives may (masks).
_MAX_RATIO = 200.0
_RATIO_FROM_BYTES = 200_000_000
_CHUNK = 1 << 20
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,
)


@dataclass(frozen=True)
class LeftOut:
    """Names of files in an archive that were not unpacked.

    Attributes:
        links: symbolic links, devices and the like.
        others: files with other suffixes than asked for.
    """

    links: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def extract_zip(
    archive: Path,
    folder: Path,
    suffixes: frozenset[str],
    *,
    max_bytes: int,
    progress: Progress = no_progress,
) -> LeftOut:
    """Unpack the files with the given suffixes (lower case) into `folder`.

    `folder` appears whole or not at all and replaces an earlier one of that name.

    Returns:
        Names of files that are left out: symbolic links, and those with other suffixes.

    Raises:
        FormatError: not a zip, damaged, encrypted; a name leads out of the folder; more than
            `max_bytes` unpacked; a compression ratio that no photos have.
        InputError: the archive cannot be read.
        OutputError: `folder` cannot be written, or the disk has no room for it.
    """
    partial = folder.with_name(folder.name + ".partial")
    try:
        with zipfile.ZipFile(archive) as source:
            members, left_out = _select(source, archive, suffixes)
            total = _check_sizes(members, archive, max_bytes)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            _check_room(partial, total, archive)
            _unpack(source, members, partial, max_bytes, archive, progress)
    except _DAMAGE as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise _bad(archive, "it is damaged, cut off, or no zip") from error
    except RuntimeError as error:  # zipfile's way to ask for a password
        shutil.rmtree(partial, ignore_errors=True)
        raise _bad(archive, "it is encrypted", _DECRYPT) from error
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if error.errno == errno.EINVAL:  # a seek to where the archive cannot have data
            raise _bad(archive, "it is damaged") from error
        if str(error.filename) != str(archive):
            raise cannot_write(error, folder) from error
        raise InputError(
            f"The archive cannot be read: {error.strerror or error}.",
            where=str(archive),
            next_step="Check that it is there and that you may read it.",
        ) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    return left_out


_DECRYPT = "Unpack it with its password and give the folder."
_PACK_AGAIN = "Copy it again, or unpack it yourself and give the folder."
_DO_NOT_TRUST = "Do not unpack it. Get the photos from their source, as a folder or a new archive."


def _bad(archive: Path, why: str, next_step: str = _PACK_AGAIN) -> FormatError:
    return FormatError(
        f"The archive cannot be used: {why}.", where=str(archive), next_step=next_step
    )


def _hostile(archive: Path, why: str) -> FormatError:
    """The error for an archive that must be malicious: do not unpack it by hand."""
    return _bad(archive, why, _DO_NOT_TRUST)


Member = tuple[zipfile.ZipInfo, PurePosixPath]


def _select(
    source: zipfile.ZipFile, archive: Path, suffixes: frozenset[str]
) -> tuple[list[Member], LeftOut]:
    infos = source.infolist()
    if len(infos) > _MAX_ENTRIES:
        raise _hostile(archive, f"it has {len(infos)} entries, more than {_MAX_ENTRIES}")
    members: list[Member] = []
    links: list[str] = []
    others: list[str] = []
    seen: set[str] = set()
    for info in infos:
        path = _safe_path(info.filename, archive)
        if info.filename.endswith("/"):
            continue
        if path.suffix.lower() not in suffixes:
            others.append(str(path))
            continue
        mode = info.external_attr >> 16
        if stat.S_ISLNK(mode) or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
            links.append(str(path))
            continue
        if info.flag_bits & 0x1:
            raise _bad(archive, "it is encrypted", _DECRYPT)
        key = str(path).casefold()
        if key in seen:
            raise _bad(archive, f"two entries are named '{path}'")
        seen.add(key)
        members.append((info, path))
    for _, path in members:
        if any(str(parent).casefold() in seen for parent in path.parents):
            raise _bad(archive, f"'{path.parent}' is both a file and a folder in it")
    return members, LeftOut(tuple(links), tuple(others))


def _safe_path(name: str, archive: Path) -> PurePosixPath:
    """The entry's path inside the folder; names that lead elsewhere are an attack."""
    path = PurePosixPath(name.replace("\\", "/"))
    drive = len(name) > 1 and name[1] == ":"
    if path.is_absolute() or drive or ".." in path.parts or "\0" in name:
        raise _hostile(archive, f"its entry '{name[:80]}' would be written outside the folder")
    if any(len(part.encode("utf-8", "replace")) > 255 for part in path.parts):
        raise _bad(archive, f"its entry '{name[:80]}...' has too long a name")
    return path


def _check_sizes(members: list[Member], archive: Path, max_bytes: int) -> int:
    total = sum(info.file_size for info, _ in members)
    if total > max_bytes:
        why = f"it unpacks to {gigabytes(total)}, more than {gigabytes(max_bytes)}"
        raise _bad(archive, why, "Raise --ingest.max-unpacked-gb if that is right.")
    packed = archive.stat().st_size
    if total > _RATIO_FROM_BYTES and total > _MAX_RATIO * packed:
        why = f"{gigabytes(packed)} that unpack to {gigabytes(total)} are no photos"
        raise _hostile(archive, why)
    return total


def _check_room(folder: Path, total: int, archive: Path) -> None:
    free = shutil.disk_usage(folder).free
    if total > free:
        raise OutputError(
            f"Unpacking needs {gigabytes(total)}, the disk has {gigabytes(free)} free.",
            where=f"{folder.parent}, for {archive}",
            next_step="Make space on that disk, or choose an output folder on another one.",
        )


def _unpack(
    source: zipfile.ZipFile,
    members: list[Member],
    folder: Path,
    max_bytes: int,
    archive: Path,
    progress: Progress,
) -> None:
    written = 0
    for index, (info, path) in enumerate(members):
        progress(index / max(len(members), 1), f"unpacking {index + 1}/{len(members)}")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open(info) as packed, target.open("xb") as out:
            written += _copy(packed, out, min(info.file_size, max_bytes - written), archive)


def _copy(packed: IO[bytes], out: IO[bytes], limit: int, archive: Path) -> int:
    """Copy at most `limit` bytes: sizes in an archive's directory may be wrong."""
    written = 0
    while chunk := packed.read(_CHUNK):
        written += len(chunk)
        if written > limit:
            raise _hostile(archive, "an entry is larger than the archive states")
        out.write(chunk)
    return written
