"""Some of the photos of a set, named in a text file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from voxterra.core.wording import nearest
from voxterra.errors import FormatError
from voxterra.ingest.folders import Sources
from voxterra.io.files.disk import cannot_read

_EXPECTED = "Give a text file with one photo a line, named as metadata.json names it."


def only_listed(sources: Sources, listing: Path) -> Sources:
    """The sources with the photos that a text file names, an id a line, and no others.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no text, names no photo, or one that is not there.
    """
    wanted = _names(listing)
    by_id = {path.relative_to(sources.root).as_posix(): path for path in sources.photos}
    missing = [name for name in wanted if name not in by_id]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FormatError(
            f"The list names photos that are not there: {missing[0]}{more}"
            f"{nearest(missing[0], by_id)}",
            where=str(listing),
            next_step=_EXPECTED,
        )
    return replace(sources, photos=tuple(by_id[name] for name in sorted(set(wanted))), picked=True)


def _names(listing: Path) -> Sequence[str]:
    try:
        text = listing.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise cannot_read(error, listing) from error
    except UnicodeDecodeError as error:
        raise FormatError(
            "The list is no text (UTF-8).", where=str(listing), next_step=_EXPECTED
        ) from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise FormatError("The list names no photo.", where=str(listing), next_step=_EXPECTED)
    return names
