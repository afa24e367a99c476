"""Record of a finished stage, and check that its files are unchanged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxterra.io.files.json_file import read_json, write_json

RECORD_FILE = "fingerprint.json"

FileFacts = tuple[int, int, str]
"""A file's size [bytes], its time of change [ns], and the sha256 of its content."""


@dataclass(frozen=True)
class StageRecord:
    """Record of a finished stage: `stages/NAME/fingerprint.json`.

    Attributes:
        fingerprint: of everything the result depends on.
        result: unique name of this result; done again, it gets another one.
        inputs: names of the results it was made from (of the source, its fingerprint).
        summary: one line for people.
        warnings: for people.
        seconds, peak_rss_bytes: wall time and peak memory.
        products: deliverables it put into the run folder, as (path, description).
        files: all files of the result, as `products/NAME` or relative to the stage's folder, with
            their facts at the end of the stage; None if an earlier version did not record them.
    """

    fingerprint: str
    result: str
    inputs: dict[str, str]
    summary: str
    warnings: tuple[str, ...]
    seconds: float
    peak_rss_bytes: int
    products: tuple[tuple[str, str], ...]
    files: dict[str, FileFacts | None] = field(default_factory=dict)

    @property
    def delivered(self) -> tuple[str, ...]:
        """All files it put into the run folder: its products and files that belong to them."""
        beside = [name for name in self.files if name.startswith("products/")]
        return tuple(dict.fromkeys([*(path for path, _ in self.products), *beside]))


def read_record(folder: Path) -> StageRecord | None:
    """Read the record in a stage's folder; None if there is none or it is damaged."""
    data = read_json(folder / RECORD_FILE)
    try:
        return _from_dict(data) if data else None
    except (AttributeError, LookupError, TypeError, ValueError):
        return None


def write_record(record: StageRecord, folder: Path) -> None:
    """Write a record into a stage's folder, atomically.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(vars(record), folder / RECORD_FILE)


def facts_of(path: Path) -> FileFacts:
    """Current size, time of change and content hash of a file.

    Raises:
        OSError: it cannot be read.
    """
    stat = path.stat()
    with path.open("rb") as file:
        return stat.st_size, stat.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()


def compare(
    record: StageRecord, places: Mapping[str, Path]
) -> tuple[tuple[str, ...], dict[str, FileFacts | None]]:
    """Check whether the files of a record are unchanged.

    A file is read only if its time of change differs, as after a copy; so the check is quick.

    Args:
        record: of the stage.
        places: path of each of `record.files`.

    Returns:
        Names of missing or changed files; and the facts of all files, with their current times.
    """
    wrong, facts = [], dict(record.files)
    for name, path in places.items():
        known = record.files[name]
        try:
            stat = path.stat()
            if known is None or (stat.st_size, stat.st_mtime_ns) == known[:2]:
                continue
            now = facts_of(path) if stat.st_size == known[0] else None
        except OSError:
            now = None
        if now is None or known is None or now[2] != known[2]:
            wrong.append(name)
        else:
            facts[name] = now
    return tuple(wrong), facts


def _from_dict(data: dict[str, Any]) -> StageRecord:
    products = tuple((str(path), str(text)) for path, text in data["products"])
    noted = data.get("files", {})
    if isinstance(noted, list):  # of an earlier version
        noted = dict.fromkeys([*noted, *(path for path, _ in products)])
    files = {
        str(k): None if v is None else (int(v[0]), int(v[1]), str(v[2])) for k, v in noted.items()
    }
    for path in (*files, *(path for path, _ in products)):
        if ".." in Path(path).parts or Path(path).is_absolute():  # these files may be deleted
            raise ValueError("a file outside the run folder")
    warnings = tuple(str(text) for text in data["warnings"])
    return StageRecord(**{**data, "warnings": warnings, "products": products, "files": files})
