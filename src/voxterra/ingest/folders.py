"""Which files of folders and lists are photos, and where their table and masks lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voxterra.core.photos import RejectedFile
from voxterra.errors import InputError
from voxterra.ingest.listing import (
    children,
    entries_under,
    has_photo,
    why_no_file,
    why_not_read,
    why_unusable_name,
)
from voxterra.io.images import PHOTO_SUFFIXES

_META, _MASKS, _IMAGES = "meta.csv", "masks", "images"


@dataclass(frozen=True)
class Sources:
    """Files found, before any is opened.

    Attributes:
        root: folder that photo ids are relative to.
        photos: photo files under `root`, sorted.
        rejected: files that somebody may have meant as photos, with the reason.
        meta_csv: table with positions, or None.
        masks: folder of masks, or None.
        unread: tables and folders of masks that several folders have for themselves.
        picked: photos were named one by one, so table and masks may be for others too.
        notes: what a user should know.
    """

    root: Path
    photos: tuple[Path, ...]
    rejected: tuple[RejectedFile, ...] = ()
    meta_csv: Path | None = None
    masks: Path | None = None
    unread: tuple[Path, ...] = ()
    picked: bool = False
    notes: tuple[str, ...] = ()


def from_paths(paths: Sequence[Path]) -> Sources:
    """Files of a folder, or of several files and folders, that are no zips.

    Raises:
        InputError: a folder cannot be listed.
    """
    if len(paths) == 1 and paths[0].is_dir():
        return from_folder(paths[0])
    return _from_list(paths)


def from_folder(folder: Path) -> Sources:
    """Files of a folder; the table and masks lie in it, or beside its `images`.

    Raises:
        InputError: it cannot be listed.
    """
    top = _project_folder(folder)
    inside = children(top)
    root = top
    # images/ beside meta.csv and masks/: only what lies in it is a photo.
    if _IMAGES in inside and inside[_IMAGES].is_dir() and not has_photo(top):
        root = inside[_IMAGES]
    meta = inside.get(_META) or (children(root).get(_META) if root != top else None)
    masks = inside.get(_MASKS) or (children(root).get(_MASKS) if root != top else None)
    photos, rejected = [], []
    for path in entries_under(root, skip=_MASKS):
        name = path.relative_to(root).as_posix()
        if os.path.isdir(path):
            rejected.append(RejectedFile(name, "a folder that cannot be listed: check permissions"))
        elif path.suffix.lower() in PHOTO_SUFFIXES:
            if unusable := why_unusable_name(name):
                rejected.append(RejectedFile(ascii(name), unusable))
            elif no_file := why_no_file(path):
                rejected.append(RejectedFile(name, no_file))
            else:
                photos.append(path)
        elif reason := why_not_read(path):
            rejected.append(RejectedFile(name.encode("utf-8", "replace").decode(), reason))
    return Sources(
        root,
        tuple(sorted(photos, key=lambda p: p.relative_to(root).as_posix())),
        tuple(sorted(rejected, key=lambda r: r.name)),
        meta if meta and meta.is_file() else None,
        masks if masks and masks.is_dir() else None,
    )


def _project_folder(folder: Path) -> Path:
    """`folder`, or the one folder in it that holds the project, as zips often have it."""
    inside = children(folder)
    while len(inside) == 1 and not inside.keys() & {_IMAGES, _MASKS}:
        (child,) = inside.values()
        if not child.is_dir() or child.is_symlink():
            break
        inside = children(child)
        if inside.keys() & {_IMAGES, _META, _MASKS}:
            return child
    return folder


def _from_list(items: Sequence[Path]) -> Sources:
    files: list[Path] = []
    rejected: list[RejectedFile] = []
    own: list[Path | None] = []  # tables and masks of single folders
    for item in items:
        if item.is_dir():
            found = from_folder(item)
            files += found.photos
            rejected += found.rejected
            own += [found.meta_csv, found.masks]
        elif no_file := why_no_file(item):
            rejected.append(RejectedFile(item.name, no_file))
        elif item.suffix.lower() in PHOTO_SUFFIXES:
            files.append(item)
        else:
            why = why_not_read(item) or "not a photo: JPEG, PNG, TIFF and HEIC are"
            rejected.append(RejectedFile(item.name, why))
    unique = sorted({Path(os.path.abspath(file)) for file in files}, key=str)
    if not unique:
        return Sources(Path("."), (), tuple(rejected))
    root = Path(os.path.commonpath([str(file.parent) for file in unique]))
    named = []
    for file in unique:
        if unusable := why_unusable_name(file.relative_to(root).as_posix()):
            rejected.append(RejectedFile(ascii(file.name), unusable))
        else:
            named.append(file)
    meta, masks = _beside(root)
    return Sources(
        root,
        tuple(named),
        tuple(rejected),
        meta,
        masks,
        unread=tuple(path for path in own if path is not None and path not in (meta, masks)),
        picked=any(not item.is_dir() for item in items),
    )


def _beside(root: Path) -> tuple[Path | None, Path | None]:
    """Table and masks in the common folder of listed photos, or beside it where it is images/."""
    folders = [root.parent, root] if root.name.lower() == _IMAGES else [root]
    meta = masks = None
    for folder in folders:
        try:
            inside = children(folder)
        except InputError:  # photos can be read from a folder that cannot be listed
            continue
        table, own = inside.get(_META), inside.get(_MASKS)
        meta = meta or (table if table and table.is_file() else None)
        masks = masks or (own if own and own.is_dir() else None)
    return meta, masks
