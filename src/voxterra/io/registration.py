"""`registration.json`: photos left out. The components are stored as COLMAP models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from voxterra.core.reconstruction import Reconstruction
from voxterra.core.registration import Registration, UnregisteredPhoto
from voxterra.errors import FormatError
from voxterra.io.files.json_file import write_json

FORMAT = "voxterra registration 1"


def write_registration(registration: Registration, path: Path) -> None:
    """Write unregistered photos and warnings as JSON; the components are not part of the file.

    Raises:
        OutputError: the file cannot be written.
    """
    write_json({"format": FORMAT} | registration.to_dict(), path)


def read_registration(path: Path, components: Sequence[Reconstruction]) -> Registration:
    """Read a file of `write_registration`.

    Raises:
        FormatError: not such a file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format is {data['format']!r}")
        unregistered = tuple(UnregisteredPhoto(**photo) for photo in data["unregistered"])
        return Registration(tuple(components), unregistered, tuple(map(str, data["warnings"])))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"This is not a readable registration ({error}).",
            where=str(path),
            next_step="Do that step again: voxterra sfm RUN.",
        ) from error
