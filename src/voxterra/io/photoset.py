"""A `PhotoSet` as JSON, without absolute paths, so that a run folder can move."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from voxterra.core.photos import Attitude, Gps, Photo, PhotoSet, RejectedFile
from voxterra.errors import FormatError, InputError
from voxterra.io.files.atomic import atomic_path

_FORMAT, _VERSION = "voxterra-photos", 1
_PATHS = ("path", "mask_path")
_READ_AGAIN = "Read the photos again: voxterra ingest RUN."


def write_photoset(photoset: PhotoSet, path: Path) -> None:
    """Write a photo set as JSON.

    Files under the set's root, or beside it under the root's parent (masks, for one), are stored
    relative to the root; others by their absolute path.

    Raises:
        OutputError: the file cannot be written.
    """
    data = {
        "format": _FORMAT,
        "version": _VERSION,
        "warnings": list(photoset.warnings),
        "rejected": [asdict(file) for file in photoset.rejected],
        "photos": [_photo_to_dict(photo, photoset.root) for photo in photoset.photos],
    }
    with atomic_path(Path(path)) as temporary:
        text = json.dumps(data, indent=1, ensure_ascii=False)
        # File names on Linux are bytes; those that are no UTF-8 survive as surrogates.
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def read_photoset(path: Path, root: Path) -> PhotoSet:
    """Read a photo set whose photos are now under `root`.

    Raises:
        FormatError: not such a file, or of an unknown version.
        InputError: the file cannot be read.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError as error:
        raise InputError(
            f"The file cannot be read: {error.strerror}.",
            where=str(path),
            next_step=_READ_AGAIN,
        ) from error
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"The file is not JSON: {error}.",
            where=str(path),
            next_step=_READ_AGAIN,
        ) from error
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise FormatError(
            "The file is not a list of photos of Voxterra.",
            where=str(path),
            next_step=_READ_AGAIN,
        )
    if data.get("version") != _VERSION:
        raise FormatError(
            f"The list of photos has version {data.get('version')}, known is {_VERSION}.",
            where=str(path),
            next_step=_READ_AGAIN,
        )
    try:
        return PhotoSet(
            root=Path(root),
            photos=tuple(_photo_from_dict(entry, Path(root)) for entry in data["photos"]),
            rejected=tuple(RejectedFile(**entry) for entry in data["rejected"]),
            warnings=tuple(data["warnings"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"The list of photos is damaged: {error}.",
            where=str(path),
            next_step=_READ_AGAIN,
        ) from error


def _photo_to_dict(photo: Photo, root: Path) -> dict[str, Any]:
    data = asdict(photo)
    for name in _PATHS:
        value = getattr(photo, name)
        data[name] = None if value is None else _relative(value, root)
    return data


def _relative(path: Path, root: Path) -> str:
    path, root = Path(os.path.abspath(path)), Path(os.path.abspath(root))
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    if path.is_relative_to(root.parent) and root.parent != Path(root.anchor):
        return f"../{path.relative_to(root.parent).as_posix()}"
    return path.as_posix()


def _photo_from_dict(data: dict[str, Any], root: Path) -> Photo:
    known = {field.name for field in fields(Photo)}
    if unknown := set(data) - known:
        raise ValueError(f"unknown fields {sorted(unknown)}")
    data = dict(data)
    for name in _PATHS:
        if data[name] is not None:
            data[name] = Path(os.path.normpath(root / data[name]))
    data["gps"] = None if data["gps"] is None else Gps(**data["gps"])
    data["attitude"] = None if data["attitude"] is None else Attitude(**data["attitude"])
    data["warnings"] = tuple(data["warnings"])
    if data.get("stretch") is not None:  # absent in photo sets of version 0.1
        low, high = data["stretch"]
        data["stretch"] = (float(low), float(high))
    return Photo(**data)
