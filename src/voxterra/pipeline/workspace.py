"""The run folder: what is in it, and how a stage's result appears in it all at once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from voxterra.errors import OutputError, UsageError, WorkspaceError
from voxterra.io.json_file import write_json

FORMAT_VERSION = 1

RUN_FILE = "voxterra.json"
CONFIG_FILE = "config.yaml"
LOCK_FILE = ".voxterra.lock"
RECORD_FILE = "fingerprint.json"
ATTEMPT_FILE = "attempt.json"
SOURCE_CACHE_FILE = "source.json"

_OWN = {"stages", "log.txt", "events.jsonl"}  # what a run that was stopped at once may leave


@dataclass(frozen=True)
class StageRecord:
    """What is known of a finished stage: `stages/NAME/fingerprint.json`.

    Attributes:
        fingerprint: of everything the result depends on.
        result: names this very result; done again, it is another one.
        inputs: names of the results it was made from (of the source, its fingerprint).
        summary: one line for people.
        warnings: for people.
        seconds, peak_rss_bytes: what it took.
        products: deliverables it put into the run folder, as (path, description).
        files: all other files of the result, relative to the stage's folder.
    """

    fingerprint: str
    result: str
    inputs: dict[str, str]
    summary: str
    warnings: tuple[str, ...]
    seconds: float
    peak_rss_bytes: int
    products: tuple[tuple[str, str], ...]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workspace:
    """A run folder.

    Attributes:
        root: the folder.
    """

    root: Path

    def stage_dir(self, stage: str) -> Path:
        return self.root / "stages" / stage

    def partial_dir(self, stage: str) -> Path:
        return self.root / "stages" / f".{stage}.partial"

    def record(self, stage: str) -> StageRecord | None:
        """Record of a stage's result in place, or None."""
        data = _read_json(self.stage_dir(stage) / RECORD_FILE)
        try:
            return _record_from_dict(data) if data else None
        except (KeyError, TypeError, ValueError):
            return None

    def is_whole(self, stage: str, record: StageRecord) -> bool:
        """Whether all that a stage made is still there; people tidy up by hand."""
        products = (self.root / path for path, _ in record.products)
        folder = self.stage_dir(stage)
        return all(map(os.path.isfile, (*products, *(folder / f for f in record.files))))

    # --- the run file ---------------------------------------------------------------------------

    def read_run_file(self) -> dict[str, Any]:
        """`voxterra.json`, or {} in a new folder.

        Files and folders among the options are named where they lie now, if they were moved
        together with the run.

        Raises:
            WorkspaceError: damaged, or of another format version.
        """
        path = self.root / RUN_FILE
        if not path.exists():
            return {}
        data = _read_json(path)
        if not isinstance(data, dict) or "format" not in data:
            raise _damaged(path)
        if data["format"] != FORMAT_VERSION:
            raise WorkspaceError(
                f"The run folder has format {data['format']}; this Voxterra reads format "
                f"{FORMAT_VERSION}.",
                where=str(path),
                next_step="Use the version of Voxterra that wrote it, or a new folder.",
            )
        try:
            for key in ("source", "source_from_run"):
                data[key] = [str(Path(part)) for part in data.get(key, [])]
            for option, relative in data.get("paths_from_run", {}).items():
                section, name = option.split(".")
                values = data["config"][section]
                values[name] = str(self._where_now(values[name], relative))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(path) from error
        return data

    def has_run_file(self) -> bool:
        """Whether a run was started here before."""
        return (self.root / RUN_FILE).exists()

    def write_run_file(
        self,
        source: Sequence[Path],
        config: dict[str, Any],
        version: str,
        paths: Mapping[str, Path] | None = None,
    ) -> None:
        """Record the source, the full resolved config and the version.

        The source, and the `paths` among the options by name ("ingest.masks"), are kept as they
        lie on this machine and as they lie from the run folder, so that a run that is moved
        together with them still finds them.
        """
        from_run = {name: _relative(path, self.root) for name, path in (paths or {}).items()}
        data = {
            "format": FORMAT_VERSION,
            "voxterra": version,
            "source": [str(path.absolute()) for path in source],
            "source_from_run": [_relative(path, self.root) for path in source],
            "config": config,
            "paths_from_run": from_run,
        }
        write_json(data, self.root / RUN_FILE)

    def recorded_source(self) -> tuple[Path, ...]:
        """Source of the last run, where it lies now if it was moved together with the run."""
        data = self.read_run_file()
        pairs = zip(data.get("source", []), data.get("source_from_run", []))
        return tuple(self._where_now(absolute, relative) for absolute, relative in pairs)

    def _where_now(self, absolute: str, relative: str) -> Path:
        moved = Path(os.path.abspath(self.root / relative))
        there, here = os.path.exists(absolute), os.path.exists(moved)
        return moved if here and not there else Path(absolute)

    # --- results --------------------------------------------------------------------------------

    def begin(self, stage: str, fingerprint: str, *, resumable: bool) -> bool:
        """Make the folder a stage writes in; keep what a stopped run of the same stage left.

        Returns:
            True when there is such work to go on from.
        """
        partial = self.partial_dir(stage)
        attempt = _read_json(partial / ATTEMPT_FILE) or {}
        resumed = resumable and attempt.get("fingerprint") == fingerprint
        if not resumed:
            _remove_tree(partial)
            partial.mkdir(parents=True)
            write_json({"fingerprint": fingerprint}, partial / ATTEMPT_FILE)
        return resumed

    def commit(self, stage: str, record: StageRecord) -> None:
        """Put a finished result in the place of the old one, products first.

        The old record goes before anything else changes, so that a run killed in here does the
        stage again and never takes a mixture for a result.
        """
        partial, final = self.partial_dir(stage), self.stage_dir(stage)
        old = self.record(stage)
        (final / RECORD_FILE).unlink(missing_ok=True)
        self._publish(partial / "products", record, old)
        (partial / ATTEMPT_FILE).unlink()
        made = sorted(p.relative_to(partial).as_posix() for p in partial.rglob("*") if p.is_file())
        write_json(asdict(replace(record, files=tuple(made))), partial / RECORD_FILE)
        _remove_tree(final)
        os.replace(partial, final)

    def _publish(self, made: Path, record: StageRecord, old: StageRecord | None) -> None:
        """Move deliverables from a stage's folder to the run folder, file by file.

        Files of a user beside them stay; deliverables of an earlier result that are not made any
        more go.
        """
        names = {path for path, _ in record.products}
        for path, _ in old.products if old else ():
            if path not in names:
                (self.root / path).unlink(missing_ok=True)
        if not made.is_dir():
            return
        for file in sorted(made.rglob("*")):
            if file.is_file():
                target = self.root / "products" / file.relative_to(made)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, target)
        shutil.rmtree(made)


def open_workspace(out: Path) -> Workspace:
    """Make or open a run folder.

    Raises:
        UsageError: the folder holds something else.
        OutputError: it cannot be made or written in.
        WorkspaceError: it is damaged or of another format version.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        names = sorted(p.name for p in out.iterdir() if not p.name.startswith("."))
        foreign = [name for name in names if name not in _OWN]
        if foreign and not (out / RUN_FILE).exists():
            raise UsageError(
                f"The folder is not a Voxterra run and is not empty (it holds {foreign[0]}).",
                where=str(out),
                next_step="Give a new or empty folder as --out.",
            )
        with (out / LOCK_FILE).open("a"):  # the first thing a run writes: is that allowed?
            pass
    except OSError as error:
        raise OutputError(
            f"The run folder cannot be made or written in: {error.strerror or error}.",
            where=str(out),
            next_step="Give an --out folder that you may write in, on a disk with space left.",
        ) from error
    return Workspace(out)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _damaged(path: Path) -> WorkspaceError:
    return WorkspaceError(
        "The run folder's own file is damaged.",
        where=str(path),
        next_step="Start again in a new folder, or delete this one.",
    )


def _record_from_dict(data: dict[str, Any]) -> StageRecord:
    products = tuple((str(path), str(text)) for path, text in data["products"])
    lists = {name: tuple(map(str, data.get(name, ()))) for name in ("warnings", "files")}
    for path in (*lists["files"], *(path for path, _ in products)):
        if ".." in Path(path).parts or Path(path).is_absolute():  # these files may be deleted
            raise ValueError("a file outside the run folder")
    return StageRecord(**{**data, **lists, "products": products})


def _relative(path: Path, start: Path) -> str:
    try:
        return os.path.relpath(path.absolute(), start.absolute())
    except ValueError:  # another drive of Windows
        return str(path.absolute())


def _remove_tree(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
