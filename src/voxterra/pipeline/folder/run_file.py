"""`voxterra.json`: photos and options of a run, found again after it was moved."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from voxterra.errors import WorkspaceError
from voxterra.io.files.json_file import read_json, write_json
from voxterra.pipeline.folder import upgrade

FORMAT_VERSION = 2

RUN_FILE = "voxterra.json"


def read_run_file(root: Path) -> dict[str, Any]:
    """`voxterra.json`, or {} in a new folder.

    Files and folders among the options have their current paths, if they were moved together with
    the run.

    Raises:
        WorkspaceError: damaged, or of another format version.
    """
    path = root / RUN_FILE
    if not path.exists():
        return {}
    data = read_json(path)
    if not isinstance(data, dict) or "format" not in data:
        raise _damaged(path)
    if data["format"] not in (upgrade.FORMAT, FORMAT_VERSION):
        raise WorkspaceError(
            f"The run folder has format {data['format']}; this Voxterra reads formats up to "
            f"{FORMAT_VERSION}.",
            where=str(path),
            next_step="Use the version of Voxterra that wrote it, or a new folder.",
        )
    try:
        for key in ("source", "source_from_run"):
            data[key] = [str(Path(part)) for part in data.get(key, [])]
        for option, relative in data.get("paths_from_run", {}).items():
            *sections, name = option.split(".")
            values = data["config"]
            for section in sections:
                values = values[section]
            values[name] = str(_where_now(root, values[name], relative))
        if data["format"] == upgrade.FORMAT and "config" in data:
            data["config"] = upgrade.options_of_today(data["config"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path) from error
    return data


def has_run_file(root: Path) -> bool:
    """Whether a run was started here before."""
    return (root / RUN_FILE).exists()


def write_run_file(
    root: Path,
    source: Sequence[Path],
    config: dict[str, Any],
    version: str,
    paths: Mapping[str, Path] | None = None,
) -> None:
    """Record the source, the full resolved config and the version.

    The source, and the `paths` among the options by name ("ingest.masks"), are recorded as absolute
    paths and relative to the run folder, so that a run moved together with them finds them.
    """
    from_run = {name: _relative(path, root) for name, path in (paths or {}).items()}
    data = {
        "format": FORMAT_VERSION,
        "voxterra": version,
        "source": [str(path.absolute()) for path in source],
        "source_from_run": [_relative(path, root) for path in source],
        "config": config,
        "paths_from_run": from_run,
    }
    write_json(data, root / RUN_FILE)


def recorded_source(root: Path) -> tuple[Path, ...]:
    """Source of the last run, at its current path if it was moved together with the run."""
    data = read_run_file(root)
    pairs = zip(data.get("source", []), data.get("source_from_run", []))
    return tuple(_where_now(root, absolute, relative) for absolute, relative in pairs)


def _where_now(root: Path, absolute: str, relative: str) -> Path:
    moved = Path(os.path.abspath(root / relative))
    there, here = os.path.exists(absolute), os.path.exists(moved)
    return moved if here and not there else Path(absolute)


def _damaged(path: Path) -> WorkspaceError:
    return WorkspaceError(
        "The run folder's own file is damaged.",
        where=str(path),
        next_step=f"Delete this file and give photos and options again: voxterra run PHOTOS "
        f"--out {shlex.quote(str(path.parent))}; finished stages are kept.",
    )


def _relative(path: Path, start: Path) -> str:
    try:
        return os.path.relpath(path.absolute(), start.absolute())
    except ValueError:  # another drive of Windows
        return str(path.absolute())
