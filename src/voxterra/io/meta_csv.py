"""`meta.csv`: positions, heights and attitudes of photos given by hand or by another program.

One row a photo; columns in any order, names in any case, `filename` required. A comma, semicolon
or tab separates; with the last two a decimal comma is understood.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from voxterra.core.photos import HeightReference
from voxterra.errors import FormatError
from voxterra.io.files.disk import cannot_read

_ALIASES = {
    "filename": "filename file name image photo imagename photoname filepath path",
    "lat": "lat latitude gpslat gpslatitude latitudedeg",
    "lon": "lon lng long longitude gpslon gpslongitude longitudedeg",
    "alt": "alt altitude height elevation gpsalt gpsaltitude altm heightm altitudem",
    "alt_ellipsoidal": "heightellipsoidal ellipsoidalheight heightellipsoidalm altellipsoidal",
    "yaw": "yaw heading yawdeg gimbalyaw",
    "pitch": "pitch pitchdeg gimbalpitch",
    "roll": "roll rolldeg gimbalroll",
    "accuracy": "accuracy accuracym horizontalaccuracy hacc accuracyh sigma xyaccuracy accuracyxy",
    "accuracy_vertical": "verticalaccuracy vacc accuracyv zaccuracy accuracyz",
}
_COLUMN = {alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()}
# Smallest and largest credible value of a column.
_RANGES = {
    "lat": (-90.0, 90.0),
    "lon": (-180.0, 360.0),
    "alt": (-12_000.0, 100_000.0),
    "alt_ellipsoidal": (-12_000.0, 100_000.0),
    "yaw": (-720.0, 720.0),
    "pitch": (-180.0, 180.0),
    "roll": (-360.0, 360.0),
    "accuracy": (0.0, 100_000.0),
    "accuracy_vertical": (0.0, 100_000.0),
}
_MAX_PROBLEMS = 5
_MAX_BYTES = 200_000_000


@dataclass(frozen=True)
class MetaRow:
    """A row of the table; None where a cell is empty or the column is missing.

    Attributes:
        filename: as written; a name or a path with "/".
        line: number in the file, counting from 1.
        lon, lat: [deg], WGS 84.
        height_m: with `height_reference`; a plain `alt` column has no stated reference.
        yaw_deg, pitch_deg, roll_deg: see `core.photos.Attitude`.
        sigma_horizontal_m, sigma_vertical_m: `accuracy` holds for both unless the file has a
            column of its own for the vertical one.
    """

    filename: str
    line: int
    lon: float | None = None
    lat: float | None = None
    height_m: float | None = None
    height_reference: HeightReference = "unknown"
    yaw_deg: float | None = None
    pitch_deg: float | None = None
    roll_deg: float | None = None
    sigma_horizontal_m: float | None = None
    sigma_vertical_m: float | None = None


def read_meta_csv(path: Path) -> tuple[MetaRow, ...]:
    """All rows of a `meta.csv`.

    Raises:
        FormatError: no `filename` column, values that are no numbers or out of range (each with
            its line), a photo named twice, half a position.
        InputError: the file cannot be read.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise FormatError(
                "The file is too large to be a table of photos.",
                where=str(path),
                next_step="Give a CSV file with one line a photo.",
            )
        data = path.read_bytes()
    except OSError as error:
        raise cannot_read(error, path) from error
    return parse_meta_csv(_decode(data), where=str(path))


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def parse_meta_csv(text: str, *, where: str = "meta.csv") -> tuple[MetaRow, ...]:
    """Rows of the text of a `meta.csv`; see `read_meta_csv`."""
    header_line = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=header_line.count)
    reader = csv.reader(io.StringIO(text.replace("\0", ""), newline=""), delimiter=delimiter)
    columns: list[str | None] | None = None
    rows: list[MetaRow] = []
    problems: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith("#"):
                continue
            if columns is None:
                columns = _columns(cells, where)
                continue
            row = _row(columns, cells, reader.line_num, delimiter != ",", problems)
            if row is not None:
                rows.append(row)
    except csv.Error as error:
        problems.append(f"line {reader.line_num}: {error}")
    if columns is None:
        raise FormatError("The table is empty.", where=where, next_step=_EXPECTED)
    problems += _repeated(rows)
    if problems:
        more = len(problems) - _MAX_PROBLEMS
        shown = "; ".join(problems[:_MAX_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
        raise FormatError(f"The table has errors: {shown}.", where=where, next_step=_FIX)
    return tuple(rows)


_EXPECTED = (
    "Give a first line with column names: filename and any of lat, lon, alt, yaw, pitch, roll, "
    "accuracy."
)
_FIX = "Correct these lines; leave a cell empty when a value is not known."


def _columns(cells: list[str], where: str) -> list[str | None]:
    keys = ["".join(c for c in cell.lower().split("[")[0] if c.isalnum()) for cell in cells]
    columns = [_COLUMN.get(key) for key in keys]
    if "filename" not in columns:
        near = [m for key in keys for m in get_close_matches(key, ["filename", "image"], 1)]
        named = ", ".join(cell.strip() for cell in cells[:12])[:200]
        hint = f" Is '{near[0]}' misspelt?" if near else ""
        raise FormatError(
            f"The table has no 'filename' column; its first line reads: {named}.{hint}",
            where=where,
            next_step=_EXPECTED,
        )
    for name in set(columns) - {None}:
        if columns.count(name) > 1:
            raise FormatError(f"Two columns both mean '{name}'.", where=where, next_step=_EXPECTED)
    return columns


def _row(
    columns: list[str | None], cells: list[str], line: int, comma: bool, problems: list[str]
) -> MetaRow | None:
    values: dict[str, float] = {}
    filename = ""
    before = len(problems)
    for column, raw in zip(columns, cells, strict=False):
        cell = raw.strip()
        if column == "filename":
            filename = cell.replace("\\", "/")
        elif column and cell:
            value = _value(column, cell, comma)
            if isinstance(value, str):
                problems.append(f"line {line}: {value}")
            else:
                values[column] = value
    if not filename:
        problems.append(f"line {line}: no filename")
    if len(problems) == before and ("lat" in values) != ("lon" in values):
        problems.append(f"line {line}: lat and lon must be given together")
    if len(problems) > before:
        return None
    lon = values.get("lon")
    ellipsoidal = values.get("alt_ellipsoidal")
    sigma = values.get("accuracy") or None
    return MetaRow(
        filename=filename,
        line=line,
        lon=lon - 360.0 if lon is not None and lon > 180.0 else lon,
        lat=values.get("lat"),
        height_m=ellipsoidal if ellipsoidal is not None else values.get("alt"),
        height_reference="ellipsoidal" if ellipsoidal is not None else "unknown",
        yaw_deg=values.get("yaw"),
        pitch_deg=values.get("pitch"),
        roll_deg=values.get("roll"),
        sigma_horizontal_m=sigma,
        sigma_vertical_m=values.get("accuracy_vertical") or sigma,
    )


def _value(column: str, cell: str, comma: bool) -> float | str:
    """The number in a cell, or the problem with it."""
    try:
        number = float(cell.replace(",", ".") if comma else cell)
    except ValueError:
        return f"{column} '{cell[:40]}' is not a number"
    low, high = _RANGES[column]
    if not math.isfinite(number) or not low <= number <= high:
        return f"{column} {cell[:40]} is outside {low:g} .. {high:g}"
    return number


def _repeated(rows: list[MetaRow]) -> list[str]:
    first: dict[str, int] = {}
    problems = []
    for row in rows:
        if row.filename in first:
            earlier = first[row.filename]
            problems.append(f"line {row.line}: '{row.filename}' is already on line {earlier}")
        first.setdefault(row.filename, row.line)
    return problems
