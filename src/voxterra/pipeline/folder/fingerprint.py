"""Fingerprints: one hash over everything a stage's result depends on.

A result is used again only if the hash of its config, its inputs' fingerprints and its code version
is the same. No absolute path enters a hash, so a run folder can be moved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

OfPath = Callable[[Path], Any]
"""Hash of a file or folder named by an option: `FileHashes.of_option`."""


def no_paths(path: Path) -> Any:
    """For options that name no files.

    Raises:
        TypeError: they do.
    """
    raise TypeError(f"the content of {path} must count: give FileHashes.of_option")


def canonical(value: Any, of_path: OfPath = no_paths) -> Any:
    """JSON-ready form of the part of a config value that counts; paths count by file content.

    Fields with the metadata {"affects_result": False}, such as a number of threads, are left out.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {name: canonical(part, of_path) for name, part in _counting(value)}
    if isinstance(value, Mapping):
        return {str(k): canonical(v, of_path) for k, v in value.items()}
    if isinstance(value, Path):
        return of_path(value)
    if isinstance(value, list | tuple):
        return [canonical(v, of_path) for v in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a config cannot hold a {type(value).__name__}")


def paths_in(value: Any) -> Iterator[Path]:
    """The files and folders that count in a config value."""
    if isinstance(value, Path):
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        for _, part in _counting(value):
            yield from paths_in(part)
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from paths_in(part)


def _counting(options: Any) -> Iterator[tuple[str, Any]]:
    """Name and value of the fields of a dataclass that results depend on."""
    for field in fields(options):
        if field.metadata.get("affects_result", True):
            yield field.name, getattr(options, field.name)


def fingerprint(
    stage: str,
    code_version: int,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    of_path: OfPath = no_paths,
) -> str:
    """sha256 of everything that a stage's result depends on.

    Args:
        stage: its name.
        code_version: raised when the stage's code gives other results for the same input.
        config: the sections of the run's config that the stage reads, by name.
        inputs: fingerprints of the stages (or of the source) that it reads, by name.
        of_path: hash of files among the options.
    """
    content = {
        "stage": stage,
        "code": code_version,
        "config": canonical(config, of_path),
        "inputs": dict(inputs),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
