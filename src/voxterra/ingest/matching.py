"""Which table row and which mask belong to which photo."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from voxterra.ingest.listing import files_under
from voxterra.io.meta_csv import MetaRow

MASK_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def _key(name: str) -> str:
    """File names compare without case and whatever way their accents are composed."""
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
