"""Match rows of the table and mask files with the photos they belong to."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from voxterra.core.photos import Photo, RejectedFile
from voxterra.errors import InputError
from voxterra.ingest.listing import files_under
from voxterra.io.images import open_image, same_shape
from voxterra.io.meta_csv import MetaRow

MASK_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def _key(name: str) -> str:
    """Key that ignores case and how accents are composed."""
    return unicodedata.normalize("NFC", name).casefold()


def match_rows(
    rows: Sequence[MetaRow], ids: Sequence[str]
) -> tuple[dict[str, MetaRow], list[MetaRow]]:
    """Rows by photo id, and the rows that match no photo.

    A row names a photo by its path in the set, or by its file name, or by its name without the
    ending; the last two only where exactly one photo has that name.
    """
    index = _index(ids, (str, _key, lambda i: _key(PurePosixPath(i).name), _stem))
    matched: dict[str, MetaRow] = {}
    unmatched = []
    for row in rows:
        name = PurePosixPath(row.filename)
        for key in (str(name), _key(str(name)), _key(name.name)):
            if (photo := index.get(key)) and photo not in matched:
                matched[photo] = row
                break
        else:
            unmatched.append(row)
    return matched, unmatched


def _stem(name: str) -> str:
    return _key(PurePosixPath(name).stem)


def _index(ids: Iterable[str], kinds: Sequence[Callable[[str], str]]) -> dict[str, str]:
    """Photo id by each of its names; an earlier kind wins, ambiguous names are left out."""
    index: dict[str, str] = {}
    for make_key in kinds:
        level: dict[str, str | None] = {}
        for photo in ids:
            key = make_key(photo)
            level[key] = None if key in level else photo
        index = {**{k: v for k, v in level.items() if v is not None}, **index}
    return index


def match_masks(folder: Path, ids: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """Masks by photo id, and names of mask files that belong to no photo.

    The mask of `a/b.jpg` is `a/b.jpg.png` or `a/b.png` in `folder`, or the same without `a/`.
    """
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(files_under(folder, skip=""))
        if path.suffix.lower() in MASK_SUFFIXES
    }
    by_key = {_key(name.rpartition(".")[0]): (name, path) for name, path in files.items()}
    names = [PurePosixPath(i).name for i in ids]
    times = Counter(names)
    matched: dict[str, Path] = {}
    used = set()
    for photo, name in zip(ids, names, strict=True):
        keys = [photo, photo.rpartition(".")[0]]
        if times[name] == 1:
            keys += [name, name.rpartition(".")[0]]
        for key in map(_key, keys):
            if key in by_key:
                used.add(by_key[key][0])
                matched[photo] = by_key[key][1]
                break
    return matched, sorted(set(files) - used)


def with_masks(
    photos: Sequence[Photo], folder: Path | None, *, picked: bool = False
) -> tuple[list[Photo], list[RejectedFile], list[str]]:
    """Attach masks to photos; also return unusable mask files and warnings for the set.

    Args:
        photos: without masks yet.
        folder: folder of masks, or None.
        picked: the photos are a selection, so masks of other photos need no warning.
    """
    if folder is None:
        return list(photos), [], []
    masks, unused = match_masks(folder, [photo.id for photo in photos])
    rejected: list[RejectedFile] = []
    out = []
    for photo in photos:
        mask = masks.get(photo.id)
        if mask is not None and (why := _why_not_mask(mask, photo)):
            rejected.append(RejectedFile(f"{folder.name}/{mask.name}", why))
            photo = replace(photo, warnings=(*photo.warnings, f"its mask is not used: {why}"))
            mask = None
        out.append(replace(photo, mask_path=mask))
    warnings = []
    if unused and not picked:
        rest = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
        warnings.append(
            f"masks that belong to no photo: {unused[0]}{rest}; name the mask of a/b.jpg "
            "a/b.jpg.png or a/b.png"
        )
    if masks and len(masks) < len(photos):
        warnings.append(
            f"{len(photos) - len(masks)} of {len(photos)} photos have no mask; all of them is used"
        )
    return out, rejected, warnings


def _why_not_mask(mask: Path, photo: Photo) -> str | None:
    try:
        with open_image(mask) as image:
            size = image.size
    except InputError as error:
        return error.what
    if same_shape(size, (photo.width, photo.height)):
        return None
    return f"it is {size[0]} x {size[1]} pixels, the photo {photo.width} x {photo.height}"
