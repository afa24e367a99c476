"""Where the photos are: a folder, a zip archive, or a list of files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from voxterra.core.photos import RejectedFile
from voxterra.core.progress import Progress
from voxterra.errors import InputError, NoPhotosError, UsageError
from voxterra.ingest.config import IngestConfig
from voxterra.ingest.listing import (
    children,
    files_under,
    has_photo,
    why_not_read,
    why_unusable_name,
)
from voxterra.ingest.matching import MASK_SUFFIXES
from voxterra.io.archive import extract_zip
from voxterra.io.images import PHOTO_SUFFIXES

_META, _MASKS, _IMAGES = "meta.csv", "masks", "images"
_UNPACKED = PHOTO_SUFFIXES | {".csv"}


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
        picked: photos were named one by one, so that table and masks may know of others too.
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


def find_sources(
    source: Path | str | Sequence[Path | str],
    config: IngestConfig,
    *,
    work_dir: Path,
    progress: Progress,
) -> Sources:
    """Find photos, table and masks; a zip is unpacked into `work_dir/unpacked`.

    Raises:
        InputError: the source does not exist or cannot be listed.
        FormatError: the zip is damaged or hostile.
        NoPhotosError: there is no photo in it.
    """
    items = [source] if isinstance(source, str | Path) else source
    paths = [_existing(Path(item)) for item in items]
    if _is_one_zip(paths):
        found = _from_zip(paths[0], config, work_dir, progress)
    else:
        found = _from_paths(paths)
    if not found.photos:
        raise _no_photos(source, found)
    return replace(
        found,
        meta_csv=found.meta_csv if config.meta_csv is None else _existing(config.meta_csv),
        masks=_masks(found, config),
        notes=_about_unread(found, config),
    )


def files_read(source: Sequence[Path]) -> tuple[Path, ...]:
    """Every file whose content matters for the photos of a source: photos, table, masks; or a zip.

    This is what `find_sources` finds, before anything is unpacked or opened.

    Raises:
        InputError: the source does not exist or cannot be listed.
        UsageError: a zip among other things.
    """
    paths = [_existing(path) for path in source]
    if _is_one_zip(paths):
        return tuple(paths)
    found = _from_paths(paths)
    table = (found.meta_csv,) if found.meta_csv else ()
    masks = tuple(sorted(files_under(found.masks, skip=""))) if found.masks else ()
    return (
        *found.photos,
        *table,
        *(path for path in masks if path.suffix.lower() in MASK_SUFFIXES),
    )


def _is_one_zip(paths: Sequence[Path]) -> bool:
    zips = [path for path in paths if path.suffix.lower() == ".zip" and not path.is_dir()]
    if zips and len(paths) > 1:
        raise UsageError(
            "One zip at a time, and nothing beside it.",
            where=str(zips[-1]),
            next_step="Unpack it into a folder and give the folders, or run each by itself.",
        )
    return bool(zips)


def _from_paths(paths: Sequence[Path]) -> Sources:
    if len(paths) == 1 and paths[0].is_dir():
        return _from_folder(paths[0])
    return _from_list(paths)


def _about_unread(found: Sources, config: IngestConfig) -> tuple[str, ...]:
    notes = []
    for path in found.unread:
        is_masks = path.is_dir()
        if (config.masks if is_masks else config.meta_csv) is not None:
            continue
        if is_masks and not config.use_masks:
            continue
        option = "--ingest.masks" if is_masks else "--ingest.meta-csv"
        notes.append(
            f"{path.parent.name}/{path.name} is not read, since several folders were given: put "
            f"one {path.name} for all into {found.root.name}, or name it with {option}"
        )
    return tuple(notes)


def _masks(found: Sources, config: IngestConfig) -> Path | None:
    if not config.use_masks:
        return None
    if config.masks is None:
        return found.masks
    masks = _existing(config.masks)
    if not masks.is_dir():
        raise UsageError(
            "Masks are given as a folder.",
            where=f"--ingest.masks {config.masks}",
            next_step="Give the folder that holds the mask files.",
        )
    return masks


def _existing(path: Path) -> Path:
    """The absolute path, or an error that names what is there with a similar name."""
    try:
        if path.exists():
            return Path(os.path.abspath(path))
    except (OSError, ValueError) as error:
        raise InputError(
            f"The path cannot be used: {error}.",
            where=str(path)[:200],
            next_step="Give a folder of photos, a zip file, or photo files.",
        ) from error
    folder = next((p for p in path.absolute().parents if p.is_dir()), Path(path.anchor or "."))
    missing = path.absolute().relative_to(folder).parts[0]
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        names = []
    lower = {name.lower(): name for name in names}
    near = [lower[name] for name in get_close_matches(missing.lower(), lower, n=3, cutoff=0.6)]
    meant = f"Did you mean {' or '.join(repr(name) for name in near)}? " if near else ""
    raise InputError(
        "There is no such file or folder.",
        where=str(path),
        next_step=f"{meant}Looked in {folder}.",
    )


def _from_zip(path: Path, config: IngestConfig, work_dir: Path, progress: Progress) -> Sources:
    folder = work_dir / "unpacked"
    links = extract_zip(
        path,
        folder,
        _UNPACKED,
        max_bytes=int(config.max_unpacked_gb * 1e9),
        progress=progress,
    )
    found = _from_folder(folder)
    refused = tuple(RejectedFile(name, "a symbolic link inside the zip") for name in links)
    return replace(found, rejected=found.rejected + refused)


def _from_folder(folder: Path) -> Sources:
    top = _project_folder(folder)
    inside = children(top)
    root = top
    # images/ beside meta.csv and masks/: only what lies in it is a photo.
    if _IMAGES in inside and inside[_IMAGES].is_dir() and not has_photo(top):
        root = inside[_IMAGES]
    meta = inside.get(_META) or (children(root).get(_META) if root != top else None)
    masks = inside.get(_MASKS) or (children(root).get(_MASKS) if root != top else None)
    photos, rejected = [], []
    for path in files_under(root, skip=_MASKS):
        name = path.relative_to(root).as_posix()
        if path.suffix.lower() in PHOTO_SUFFIXES:
            if unusable := why_unusable_name(name):
                rejected.append(RejectedFile(ascii(name), unusable))
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
            found = _from_folder(item)
            files += found.photos
            rejected += found.rejected
            own += [found.meta_csv, found.masks]
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


def _no_photos(source: object, found: Sources) -> NoPhotosError:
    where = str(source) if isinstance(source, str | Path) else "the list of files"
    seen = ""
    if found.rejected:
        first = found.rejected[0]
        seen = (
            f" {len(found.rejected)} other files are there, such as {first.name} ({first.reason})."
        )
    return NoPhotosError(
        f"There are no photos.{seen}",
        where=where,
        next_step="Give a folder, a zip or files with JPEG, PNG, TIFF or HEIC photos.",
    )
