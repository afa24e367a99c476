"""The photo table in a run folder, and where the photos themselves lie."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from voxterra.core.photos import PhotoSet
from voxterra.errors import FormatError
from voxterra.io.photoset import read_photoset, write_photoset
from voxterra.pipeline.workspace import write_json

TABLE_FILE, ROOT_FILE = "photos.json", "root.json"


def write_photos(photos: PhotoSet, folder: Path, source: Sequence[Path]) -> None:
    """Write the table, and the photos' root as seen from the result's folder or the source.

    Photos out of an archive lie in the result's folder and move with it; others stay where the
    user has them.
    """
    root = photos.root.resolve()
    inside = root.is_relative_to(folder.resolve())
    start = folder.resolve() if inside else source[0].resolve()
    write_photoset(photos, folder / TABLE_FILE)
    write_json(folder / ROOT_FILE, {"in_result": inside, "path": os.path.relpath(root, start)})


def read_photos(folder: Path, source: Sequence[Path]) -> PhotoSet:
    """Read what `write_photos` wrote, wherever folder and source lie now.

    Raises:
        FormatError: it is damaged.
    """
    try:
        data = json.loads((folder / ROOT_FILE).read_text(encoding="utf-8"))
        start = folder.resolve() if data["in_result"] else source[0].resolve()
        root = Path(os.path.normpath(start / data["path"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"The table of photos is damaged ({error}).",
            where=str(folder / ROOT_FILE),
            next_step="Do it again: voxterra run --from ingest.",
        ) from error
    return read_photoset(folder / TABLE_FILE, root)
