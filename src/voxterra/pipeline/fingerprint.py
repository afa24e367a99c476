"""Fingerprints: what a stage's result depends on, in one hash.

A result is used again only when the hash of its config, its inputs' fingerprints and its code
version is the same. No absolute path enters a hash, so a run folder can be moved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from voxterra.errors import InputError, NoPhotosError

HashCache = dict[str, list[Any]]  # file's path relative to the source -> [size, mtime_ns, sha256]


def canonical(value: Any) -> Any:
    """JSON-ready form of a config value; a file's path counts by the file's content."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: canonical(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): canonical(v) for k, v in value.items()}
    if isinstance(value, Path):
        return fingerprint_source((value,)) if value.exists() else {"path": value.name}
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
    """Files of a source by a name without the source's own place: folders are walked.

    Raises:
        NoPhotosError: something of the source does not exist.
    """
    found: dict[str, Path] = {}
    for entry in source:
        if entry.is_dir():
            for path in sorted(entry.rglob("*")):
                relative = path.relative_to(entry)
                if path.is_file() and not any(p.startswith(".") for p in relative.parts):
                    found[relative.as_posix()] = path
        elif entry.is_file():
            found[entry.name] = entry
        else:
            raise NoPhotosError(
                "There is no such file or folder.",
                where=str(entry),
                next_step="Give a folder of photos, a zip file, or photo files that exist.",
            )
    return found


def fingerprint_source(source: Sequence[Path], cache: HashCache | None = None) -> str:
    """sha256 over the names and contents of all files of a source.

    Args:
        source: a folder, an archive, or files.
        cache: content hashes of an earlier call; updated in place. A file whose size and time of
            change are the same is not read again.

    Raises:
        NoPhotosError: something of the source does not exist.
        InputError: a file cannot be read.
    """
    cache = {} if cache is None else cache
    listing = []
    for name, path in sorted(source_files(source).items()):
        try:
            stat = path.stat()
            known = cache.get(name)
            if not known or known[:2] != [stat.st_size, stat.st_mtime_ns]:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                known = cache[name] = [stat.st_size, stat.st_mtime_ns, digest]
        except OSError as error:
            raise InputError(
                f"The file cannot be read: {error.strerror or error}.",
                where=str(path),
                next_step="Check its permissions, or leave it out.",
            ) from error
        listing.append([name, known[2]])
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()
