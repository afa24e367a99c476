"""Fingerprints: what a stage's result depends on, in one hash.

A result is used again only when the hash of its config, its inputs' fingerprints and its code
version is the same. No absolute path enters a hash, so a run folder can be moved.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

HashCache = dict[str, list[Any]]  # file's path relative to the source -> [size, mtime_ns, sha256]


def canonical(value: Any) -> Any:
    """JSON-ready form of what counts of a config value; a path counts by the files' content.

    Fields with the metadata {"affects_result": False}, such as a number of threads, are left out.
    """
    if is_dataclass(value) and not isinstance(value, type):
        counting = [f for f in fields(value) if f.metadata.get("affects_result", True)]
        return {f.name: canonical(getattr(value, f.name)) for f in counting}
    if isinstance(value, Mapping):
        return {str(k): canonical(v) for k, v in value.items()}
    if isinstance(value, Path):
        return _hash_of(_option_files(value), {}) if value.exists() else {"path": value.name}
    if isinstance(value, list | tuple):
        return [canonical(v) for v in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a config cannot hold a {type(value).__name__}")


def fingerprint(
    stage: str, code_version: int, config: Mapping[str, Any], inputs: Mapping[str, str]
) -> str:
    """sha256 of everything that a stage's result depends on.

    Args:
        stage: its name.
        code_version: raised when the stage's code gives other results for the same input.
        config: the sections of the run's config that the stage reads, by name.
        inputs: fingerprints of the stages (or of the source) that it reads, by name.
    """
    content = {
        "stage": stage,
        "code": code_version,
        "config": canonical(config),
        "inputs": dict(inputs),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def source_files(source: Sequence[Path]) -> dict[str, Path]:
    """What ingest reads of a source, by a name without the source's own place.

    The names are relative to the folder that was given, or to the innermost folder that holds all
    that was given, as those of photos are; so equal file names in several folders stay apart.

    Raises:
        NoPhotosError: something of the source does not exist.
        InputError: a folder cannot be listed.
        UsageError: things that do not go together.
    """
    from voxterra.ingest.sources import files_read

    files = files_read(source)
    tops = [entry if entry.is_dir() else entry.parent for entry in source]
    common = Path(os.path.commonpath([os.path.abspath(top) for top in tops]))
    # relpath, since table and masks may lie beside the folder images/ that photos were taken from.
    return {Path(os.path.relpath(p, common)).as_posix(): p for p in files}


def fingerprint_source(source: Sequence[Path], cache: HashCache | None = None) -> str:
    """sha256 over the names and contents of all files that ingest reads of a source.

    Args:
        source: a folder, an archive, or files and folders.
        cache: content hashes of an earlier call; updated in place. A file whose size and time of
            change are the same is not read again.

    Raises:
        NoPhotosError: something of the source does not exist.
        InputError: a folder cannot be listed.
        UsageError: things that do not go together.
    """
    return _hash_of(source_files(source), {} if cache is None else cache)


def _option_files(path: Path) -> dict[str, Path]:
    """The files that an option names, by names without their own place."""
    from voxterra.ingest.listing import files_under

    if not path.is_dir():
        return {path.name: path}
    return {p.relative_to(path).as_posix(): p for p in files_under(path, skip="")}


def _hash_of(files: Mapping[str, Path], cache: HashCache) -> str:
    listing = []
    for name, path in sorted(files.items()):
        try:
            stat = path.stat()
            known = cache.get(name)
            size_and_time = [stat.st_size, stat.st_mtime_ns]
            # The cache may come out of a damaged file.
            if not isinstance(known, list) or known[:2] != size_and_time or len(known) != 3:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                known = cache[name] = [*size_and_time, digest]
        except OSError:  # the stage that needs it leaves it out, or tells
            known = [0, 0, "unreadable"]
        listing.append([name, known[2]])
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()
