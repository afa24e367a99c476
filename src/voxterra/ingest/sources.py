"""Find the photos: in a folder, a zip archive or a list of files; all of them or a selection."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from voxterra.core.photos import RejectedFile
from voxterra.core.progress import Progress
from voxterra.core.wording import nearest
from voxterra.errors import FormatError, InputError, NoPhotosError, UsageError
from voxterra.ingest.config import IngestConfig
from voxterra.ingest.folders import Sources, from_folder, from_paths
from voxterra.ingest.listing import files_under, why_no_file, why_not_read
from voxterra.ingest.matching import MASK_SUFFIXES
from voxterra.io.archive import extract_zip
from voxterra.io.files.disk import cannot_read
from voxterra.io.images import PHOTO_SUFFIXES

_UNPACKED = PHOTO_SUFFIXES | {".csv"}
_EXPECTED_LIST = "Give a text file with one photo a line, named as metadata.json names it."


def find_sources(
    source: Path | str | Sequence[Path | str],
    config: IngestConfig,
    *,
    work_dir: Path,
    progress: Progress,
) -> Sources:
    """Find photos, table and masks; a zip is unpacked into `work_dir/unpacked`.

    Raises:
        NoPhotosError: the source does not exist, or there is no photo in it.
        InputError: it cannot be listed.
        FormatError: the zip is damaged or hostile.
        UsageError: a zip among other things, or masks that are no folder.
    """
    items = [source] if isinstance(source, str | Path) else source
    paths = [_existing(Path(item), NoPhotosError) for item in items]
    if _is_one_zip(paths):
        found = _from_zip(paths[0], config, work_dir, progress)
    else:
        found = from_paths(paths)
    if not found.photos:
        raise _no_photos(source, found)
    return replace(
        found,
        meta_csv=found.meta_csv if config.meta_csv is None else _existing(config.meta_csv),
        masks=_masks(found, config),
        notes=_about_unread(found, config),
    )


def only_listed(sources: Sources, listing: Path) -> Sources:
    """Keep only the photos that a text file names, one id a line.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not text, names no photo, or names a missing photo.
    """
    wanted = _listed_names(listing)
    by_id = {path.relative_to(sources.root).as_posix(): path for path in sources.photos}
    missing = [name for name in wanted if name not in by_id]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FormatError(
            f"The list names photos that do not exist: {missing[0]}{more}"
            f"{nearest(missing[0], by_id)}",
            where=str(listing),
            next_step=_EXPECTED_LIST,
        )
    return replace(sources, photos=tuple(by_id[name] for name in sorted(set(wanted))), picked=True)


def _listed_names(listing: Path) -> Sequence[str]:
    try:
        text = listing.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise cannot_read(error, listing) from error
    except UnicodeDecodeError as error:
        raise FormatError(
            "The list is not UTF-8 text.", where=str(listing), next_step=_EXPECTED_LIST
        ) from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise FormatError("The list names no photo.", where=str(listing), next_step=_EXPECTED_LIST)
    return names


def files_read(source: Sequence[Path]) -> tuple[Path, ...]:
    """List the files that a source's photos depend on: photos, table, masks; or the zip.

    The same as `find_sources` finds, before anything is unpacked or opened.

    Raises:
        NoPhotosError: the source does not exist.
        InputError: it cannot be listed.
        UsageError: a zip among other things.
    """
    paths = [_existing(path, NoPhotosError) for path in source]
    if _is_one_zip(paths):
        return tuple(paths)
    found = from_paths(paths)
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
            "A zip must be the only input.",
            where=str(zips[-1]),
            next_step="Unpack it and give folders, or run each input separately.",
        )
    return bool(zips)


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
            "Masks must be a folder.",
            where=f"--ingest.masks {config.masks}",
            next_step="Give the folder that holds the mask files.",
        )
    return masks


def _existing(path: Path, kind: type[InputError] = InputError) -> Path:
    """Return the absolute path, or raise a `kind` of error that suggests similar names."""
    try:
        if path.exists():
            return Path(os.path.abspath(path))
    except (OSError, ValueError) as error:
        raise InputError(
            f"The path cannot be used: {getattr(error, 'strerror', None) or error}.",
            where=str(path)[:200],
            next_step="Give a folder of photos, a zip file, or photo files.",
        ) from error
    if path.is_symlink() and (why := why_no_file(path)):
        raise kind(
            f"The path cannot be used: it is {why}.",
            where=str(path),
            next_step="Restore its target, or give the folder of the photos itself.",
        )
    folder = next((p for p in path.absolute().parents if p.is_dir()), Path(path.anchor or "."))
    missing = path.absolute().relative_to(folder).parts[0]
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        names = []
    lower = {name.lower(): name for name in names}
    near = [lower[name] for name in get_close_matches(missing.lower(), lower, n=3, cutoff=0.6)]
    meant = f"Did you mean {' or '.join(repr(name) for name in near)}? " if near else ""
    raise kind(
        "There is no such file or folder.",
        where=str(path),
        next_step=f"{meant}Give a folder of photos, a zip or photo files; looked in {folder}.",
    )


def _from_zip(path: Path, config: IngestConfig, work_dir: Path, progress: Progress) -> Sources:
    folder = work_dir / "unpacked"
    left_out = extract_zip(
        path,
        folder,
        _UNPACKED,
        max_bytes=int(config.max_unpacked_gb * 1e9),
        progress=progress,
    )
    found = from_folder(folder)
    links = [RejectedFile(name, "a symbolic link inside the zip") for name in left_out.links]
    reasons = [(name, why_not_read(Path(name))) for name in left_out.others]
    others = [RejectedFile(name, why) for name, why in reasons if why]
    return replace(found, rejected=(*found.rejected, *links, *others))


def _no_photos(source: object, found: Sources) -> NoPhotosError:
    where = str(source) if isinstance(source, str | Path) else "the list of files"
    seen = ""
    if found.rejected:
        first, more = found.rejected[0], len(found.rejected) - 1
        seen = f" {first.name} is left out: {first.reason}"
        seen += f"; so are {more} more." if more else "."
    return NoPhotosError(
        f"There are no photos.{seen}",
        where=where,
        next_step="Give a folder, a zip or files with JPEG, PNG, TIFF or HEIC photos.",
    )
