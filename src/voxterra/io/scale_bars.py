"""Scale bars: a table of known distances with their ends marked in photos.

One row a bar and photo, with the columns bar, length_m, photo, x1, y1, x2, y2 in any order.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

from voxterra.core.scale_bars import Pixel, ScaleBar
from voxterra.errors import FormatError
from voxterra.io.files.disk import cannot_read

_NUMBERS = ("length_m", "x1", "y1", "x2", "y2")
_COLUMNS = ("bar", "photo", *_NUMBERS)
_EXPECTED = (
    f"Give a first line '{','.join(_COLUMNS)}' and one line a bar and photo, each bar in two "
    "photos or more; lengths in metres, the ends in pixels of the photo as stored."
)


def read_scale_bars(path: Path) -> tuple[ScaleBar, ...]:
    """All bars of a table, in the order of their first row.

    Raises:
        InputError: the file cannot be read.
        FormatError: columns are missing, a value is no number or no length, a bar has two lengths
            or is marked in one photo only (each with its line).
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise cannot_read(error, path) from error
    except UnicodeDecodeError as error:
        raise _wrong("it is not text", path) from error
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    delimiter = ";" if lines and lines[0].count(";") > lines[0].count(",") else ","
    reader = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True)
    lengths: dict[str, float] = {}
    marks: dict[str, list[tuple[str, Pixel, Pixel]]] = {}
    try:
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise _wrong(f"it has no column {' and no column '.join(missing)}", path)
        for row in reader:
            name, photo, values = _row(row, path, reader.line_num)
            if lengths.setdefault(name, values["length_m"]) != values["length_m"]:
                raise _wrong(f"line {reader.line_num}: bar '{name}' has two lengths", path)
            first, second = (values["x1"], values["y1"]), (values["x2"], values["y2"])
            marks.setdefault(name, []).append((photo, first, second))
    except csv.Error as error:
        raise _wrong(f"line {reader.line_num}: {error}", path) from error
    if not marks:
        raise _wrong("it is empty", path)
    for name, found in marks.items():
        if len({photo for photo, _, _ in found}) < 2:
            raise _wrong(f"bar '{name}' is marked in one photo only", path)
    return tuple(ScaleBar(name, lengths[name], tuple(found)) for name, found in marks.items())


def _row(row: dict[str, str | None], path: Path, line: int) -> tuple[str, str, dict[str, float]]:
    values = {}
    for name in _NUMBERS:
        cell = (row[name] or "").strip()
        try:
            values[name] = float(cell)
        except ValueError:
            raise _wrong(f"line {line}: {name} '{cell[:40]}' is not a number", path) from None
        if not math.isfinite(values[name]):
            raise _wrong(f"line {line}: {name} is not finite", path)
    if values["length_m"] <= 0:
        raise _wrong(f"line {line}: a length of {values['length_m']:g} m", path)
    name, photo = (row["bar"] or "").strip(), (row["photo"] or "").strip().replace("\\", "/")
    if not name or not photo:
        raise _wrong(f"line {line}: no {'photo' if name else 'bar'}", path)
    return name, photo, values


def _wrong(what: str, path: Path) -> FormatError:
    return FormatError(
        f"This is no table of scale bars: {what}.", where=str(path), next_step=_EXPECTED
    )
