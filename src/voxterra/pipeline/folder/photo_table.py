"""The photo table in a run folder, and the location of the photos."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from voxterra.core.photos import Photo, PhotoSet
from voxterra.errors import FormatError
from voxterra.io.files.json_file import write_json
from voxterra.io.photoset import read_photoset, write_photoset

TABLE_FILE, ROOT_FILE = "photos.json", "root.json"


def write_photos(
    photos: PhotoSet, folder: Path, source: Sequence[Path], masks: Path | None = None
) -> None:
    """Write the table, with the photos' root relative to the result's folder or the source.

    Photos from an archive are in the result's folder and move with it; others stay where the user
    has them. So do masks elsewhere (the folder `masks` of the options).
    """
    root = photos.root.resolve()
    inside = root.is_relative_to(folder.resolve())
    start = folder.resolve() if inside else source[0].resolve()
    write_photoset(photos, folder / TABLE_FILE)
    data = {
        "in_result": inside,
        "path": os.path.relpath(root, start),
        "masks": os.path.abspath(masks) if masks else None,
    }
    write_json(data, folder / ROOT_FILE)


def read_photos(folder: Path, source: Sequence[Path], masks: Path | None = None) -> PhotoSet:
    """Read the table of `write_photos`, also if folder, source and masks have been moved.

    Raises:
        FormatError: it is damaged.
    """
    try:
        data = json.loads((folder / ROOT_FILE).read_text(encoding="utf-8"))
        start = folder.resolve() if data["in_result"] else source[0].resolve()
        root = Path(os.path.normpath(start / data["path"]))
        recorded = data.get("masks")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"The table of photos is damaged ({error}).",
            where=str(folder / ROOT_FILE),
            next_step="Do it again: voxterra run --out DIR --from ingest.",
        ) from error
    photos = read_photoset(folder / TABLE_FILE, root)
    if not recorded or masks is None or os.path.abspath(masks) == recorded:
        return photos
    return replace(
        photos, photos=tuple(_with_moved_mask(p, recorded, masks) for p in photos.photos)
    )


def _with_moved_mask(photo: Photo, old: str, new: Path) -> Photo:
    if photo.mask_path is None or not photo.mask_path.is_relative_to(old):
        return photo
    return replace(photo, mask_path=Path(os.path.abspath(new)) / photo.mask_path.relative_to(old))
