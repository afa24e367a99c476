"""Tables of scores, a row for each scan, with the mean below: NAME.json and NAME.csv.

Scans may be scored together or one after the other: a row joins those that are there.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxterra.errors import FormatError, InputError
from voxterra.io.files.atomic import atomic_path
from voxterra.io.files.json_file import write_json

Figures = Mapping[str, float | int | None]


def add_rows(
    folder: Path, name: str, settings: Mapping[str, Any], rows: Mapping[str, Figures]
) -> dict[str, Any]:
    """Put rows into a table, in the place of those of the same scans, and write it.

    Args:
        folder: for NAME.json and NAME.csv; made when it is not there.
        name: of the protocol.
        settings: what rows must have in common to be averaged.
        rows: figures by scan.

    Returns:
        The whole table: settings, scans (by name, in their order) and mean. A figure's mean is
        None where a scan has none.

    Raises:
        InputError: the rows there were scored with other settings.
        FormatError: the table there is damaged.
        OutputError: it cannot be written.
    """
    file = Path(folder) / f"{name}.json"
    settings = json.loads(json.dumps(settings))
    scans = {**_scans(file, settings), **{scan: dict(row) for scan, row in rows.items()}}
    ordered = {scan: scans[scan] for scan in sorted(scans, key=_place)}
    table = {
        "protocol": name,
        "settings": settings,
        "scans": ordered,
        "mean": _mean(list(ordered.values())),
    }
    write_json(table, file)
    _write_csv(file.with_suffix(".csv"), table)
    return table


def _scans(file: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of the table that is there."""
    if not file.is_file():
        return {}
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
        known, scans = there["settings"], {k: dict(v) for k, v in there["scans"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"The table that is to be added to cannot be read: {error}.",
            where=str(file),
            next_step="Take the file away, or give another folder with --stat.",
        ) from error
    if known != settings:
        names = {*known, *settings}
        differs = sorted(k for k in names if known.get(k, names) != settings.get(k, names))
        raise InputError(
            f"The table there was made with other settings ({', '.join(differs)}); their means "
            "cannot be compared.",
            where=str(file),
            next_step="Give another folder with --stat, or take the table away.",
        )
    return scans


def _mean(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    out: dict[str, float | None] = {}
    for key in rows[0] if rows else ():
        values = [row.get(key) for row in rows]
        known = [float(v) for v in values if v is not None]
        out[key] = sum(known) / len(known) if len(known) == len(values) else None
    return out


def _write_csv(path: Path, table: Mapping[str, Any]) -> None:
    columns = list(table["mean"])
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["scan", *columns])
        for scan, row in [*table["scans"].items(), ("mean", table["mean"])]:
            values = [row.get(c) for c in columns]
            writer.writerow([scan, *("" if v is None else v for v in values)])


def _place(scan: str) -> tuple[int, str]:
    """Numbers by their size, then names."""
    return (int(scan), "") if scan.isdigit() else (1 << 62, scan)
