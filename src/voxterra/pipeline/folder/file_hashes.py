"""Hash photos and files named by options (sha256): in threads, cached by size and time of change.

A file is read again only if its size or time of change differs; so a run that does nothing reads
none.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxterra.core.machine import gigabytes
from voxterra.core.scope import ScopedThreadPool
from voxterra.io.files.json_file import read_json, write_json
from voxterra.pipeline import machine
from voxterra.pipeline.events import ReadProgress

TICK_S = 0.1
_CHUNK_BYTES = 1 << 20
_MAX_THREADS = 8  # more of them only make a disk seek

_UNREADABLE = "unreadable"  # the stage that needs the file leaves it out, or fails with a reason


@dataclass(frozen=True)
class Listing:
    """Lists the files that count for a fingerprint, as the stage that reads them finds them.

    Attributes:
        source: all files of photos, tables and masks in a source.
        folder: all files in a folder named by an option.
    """

    source: Callable[[Sequence[Path]], Iterable[Path]]
    folder: Callable[[Path], Iterable[Path]]


@dataclass
class FileHashes:
    """Hashes of a run's files.

    Attributes:
        listing: which files count.
        cache_file: stores hashes between runs; None = no cache.
    """

    listing: Listing
    cache_file: Path | None = None
    _known: dict[str, list[Any]] = field(default_factory=dict)  # name -> [size, mtime_ns, sha256]
    _files: dict[tuple[Path, ...], dict[str, Path]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = read_json(self.cache_file) if self.cache_file else None
        self._known = known if isinstance(known, dict) else {}

    def read(
        self, source: Sequence[Path] | None, options: Iterable[Path]
    ) -> Iterator[ReadProgress]:
        """Read new or changed files of a source, and of files or folders of options.

        Closing the iterator stops the reading.

        Raises:
            NoPhotosError, InputError, UsageError: as of `listing`.
        """
        files = {} if source is None else dict(self._source_files(source))
        for path in options:
            files |= {self._key(p): p for p in self._option_files(path).values()}
        new = [name for name, path in files.items() if self._fresh(name, path) is None]
        if not new:
            return
        try:
            yield from self._read_all({name: files[name] for name in new})
        finally:  # also when stopped, so that files are not read again
            if self.cache_file:
                write_json(self._known, self.cache_file)

    def of_source(self, source: Sequence[Path]) -> str:
        """sha256 over the names and contents of all files of a source that ingest reads.

        Names are relative to the given folder, or to the innermost folder that holds all given
        files, as those of photos are: equal names in several folders differ, and the place of the
        source does not count.

        Raises:
            NoPhotosError, InputError, UsageError: as of `listing`.
        """
        files = self._source_files(source)
        return _hash_of({name: self._sha256(name, path) for name, path in files.items()})

    def known(self, source: Sequence[Path]) -> dict[Path, str]:
        """sha256 of each file of a source that is known and has not changed since."""
        found = {p: self._fresh(name, p) for name, p in self._source_files(source).items()}
        return {path: sha256 for path, sha256 in found.items() if sha256 not in (None, _UNREADABLE)}

    def of_option(self, path: Path) -> Any:
        """sha256 over a file or folder named by an option; its place does not count."""
        if not path.exists():
            return {"path": path.name}
        files = self._option_files(path)
        return _hash_of({name: self._sha256(self._key(p), p) for name, p in files.items()})

    def _source_files(self, source: Sequence[Path]) -> dict[str, Path]:
        key = tuple(source)
        if key not in self._files:
            found = self.listing.source(source)
            tops = [entry if entry.is_dir() else entry.parent for entry in source]
            common = Path(os.path.commonpath([os.path.abspath(top) for top in tops]))
            # relpath, since table and masks may lie beside the folder images/ of the photos.
            self._files[key] = {Path(os.path.relpath(p, common)).as_posix(): p for p in found}
        return self._files[key]

    def _option_files(self, path: Path) -> dict[str, Path]:
        if not path.is_dir():
            return {path.name: path}
        return {p.relative_to(path).as_posix(): p for p in self.listing.folder(path)}

    def _key(self, path: Path) -> str:
        """Name of an option's file in the cache: no name of the source looks like it."""
        return f"option: {os.path.abspath(path)}"

    def _fresh(self, name: str, path: Path) -> str | None:
        """The known hash of a file that has not changed; None where it must be read."""
        try:
            stat = path.stat()
        except OSError:
            return _UNREADABLE
        match self._known.get(name):  # out of a file that may be damaged
            case [stat.st_size, stat.st_mtime_ns, str(sha256)]:
                return sha256
        return None

    def _sha256(self, name: str, path: Path) -> str:
        known = self._fresh(name, path)
        if known is not None:
            return known
        facts = _read(path, lambda count: None)  # changed since `read`, or not read by it
        if facts is None:
            return _UNREADABLE
        self._known[name] = facts
        return str(facts[2])

    def _read_all(self, files: Mapping[str, Path]) -> Iterator[ReadProgress]:
        names: dict[Path, list[str]] = {}  # masks beside photos may also be named by an option
        for name, path in files.items():
            names.setdefault(path.absolute(), []).append(name)
        total = max(1, sum(map(_size, names)))
        counted, shown = _Counter(), -1
        with ScopedThreadPool(min(_MAX_THREADS, machine.cores())) as pool:
            jobs = {pool.submit(_read, path, counted.add): path for path in names}
            try:
                while wait(jobs, TICK_S).not_done:
                    if counted.bytes != shown:
                        shown = counted.bytes
                        message = f"{gigabytes(shown)} of {gigabytes(total)} read"
                        yield ReadProgress(min(shown / total, 1.0), message)
            finally:
                counted.stopped.set()
                pool.shutdown(wait=True, cancel_futures=True)
                for job, path in jobs.items():
                    facts = None if job.cancelled() or job.exception() else job.result()
                    if facts is not None:
                        self._known |= dict.fromkeys(names[path], facts)
        if shown >= 0:
            yield ReadProgress(1.0, f"{gigabytes(total)} read")


class _Counter:
    """Counts bytes that several threads have read; can stop them."""

    def __init__(self) -> None:
        self.bytes, self.stopped, self._lock = 0, threading.Event(), threading.Lock()

    def add(self, count: int) -> None:
        if self.stopped.is_set():
            raise InterruptedError
        with self._lock:
            self.bytes += count


def _read(path: Path, count: Callable[[int], None]) -> list[Any] | None:
    """Size, time of change [ns] and sha256 of a file; None if it cannot be read.

    Calls `count` with the size of each part that is read; it may raise `InterruptedError`.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            stat = os.fstat(file.fileno())  # before reading: a change meanwhile is noticed later
            # Not larger than the file: memory that is made ready for nothing took most of the time.
            buffer = memoryview(bytearray(min(_CHUNK_BYTES, stat.st_size + 1)))
            while size := file.readinto(buffer):
                digest.update(buffer[:size])
                count(size)
    except InterruptedError:
        raise
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns, digest.hexdigest()]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _hash_of(hashes: Mapping[str, str]) -> str:
    listing = [[name, sha256] for name, sha256 in sorted(hashes.items())]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()
