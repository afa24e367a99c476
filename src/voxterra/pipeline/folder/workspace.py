"""The run folder: its content, and how a stage's result is committed to it atomically."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from voxterra.core.sites import FOLDER_OF_COMPONENTS
from voxterra.errors import OutputError, UsageError
from voxterra.io.files.atomic import remove_leftovers, sync, sync_tree
from voxterra.io.files.json_file import read_json, write_json
from voxterra.pipeline.folder.lock import LOCK_FILE
from voxterra.pipeline.folder.record import (
    RECORD_FILE,
    FileFacts,
    StageRecord,
    compare,
    facts_of,
    read_record,
    write_record,
)
from voxterra.pipeline.folder.run_file import RUN_FILE

CONFIG_FILE = "config.yaml"
ATTEMPT_FILE = "attempt.json"
SOURCE_CACHE_FILE = "source.json"

_OWN = {"stages", "log.txt", "events.jsonl"}  # a run that was stopped at once may leave these
# Where only its own file was lost.
_OWN_WITH_STAGES = {"products", FOLDER_OF_COMPONENTS, CONFIG_FILE}
_PRODUCTS = "products"


@dataclass(frozen=True)
class Workspace:
    """A run folder, or the part of one for another site.

    Attributes:
        root: the folder.
        deliver_to: folder of the deliverables; None = `products` in `root`.
    """

    root: Path
    deliver_to: Path | None = None

    @property
    def products_dir(self) -> Path:
        return self.deliver_to or self.root / _PRODUCTS

    @property
    def hashes_file(self) -> Path:
        """File with hashes of the photos and options of the run, for all its sites."""
        run = self.root if self.deliver_to is None else self.root.parent.parent
        return run / "stages" / SOURCE_CACHE_FILE

    def stage_dir(self, stage: str) -> Path:
        return self.root / "stages" / stage

    def partial_dir(self, stage: str) -> Path:
        return self.root / "stages" / f".{stage}.partial"

    def record_file(self, stage: str) -> Path:
        return self.stage_dir(stage) / RECORD_FILE

    def record(self, stage: str) -> StageRecord | None:
        """Record of a stage's result in place, or None."""
        return read_record(self.stage_dir(stage))

    def has_damaged_record(self, stage: str) -> bool:
        """Whether there is a result of a stage, but no readable record of it."""
        folder = self.stage_dir(stage)
        return folder.is_dir() and any(folder.iterdir()) and self.record(stage) is None

    def faults(self, stage: str, record: StageRecord) -> tuple[str, ...]:
        """Files of a result that are missing or not as the stage wrote them.

        People delete files, disks fail, copies are interrupted. If only the time of a file differs,
        as after a copy, the new time is recorded.
        """
        places = {name: self._place(stage, name) for name in record.files}
        wrong, facts = compare(record, places)
        if facts != record.files:
            write_record(replace(record, files=facts), self.stage_dir(stage))
        return wrong

    def _place(self, stage: str, name: str) -> Path:
        product = name.split("/", 1)[0] == _PRODUCTS
        return self.deliverable(name) if product else self.stage_dir(stage) / name

    def deliverable(self, name: str) -> Path:
        """Path of a deliverable that a stage's record names `products/NAME`."""
        return self.products_dir / Path(name).relative_to(_PRODUCTS)

    def recover(self) -> None:
        """Complete interrupted commits of a killed run; call only under the run's lock.

        A complete result that is not in its place yet is moved there. Temporary files are deleted.
        """
        stages = self.root / "stages"
        for folder in (self.root, stages, self.products_dir):
            remove_leftovers(folder)
        for partial in sorted(stages.glob(".*.partial")):
            if read_record(partial) is not None:
                self._put_in_place(partial.name.removeprefix(".").removesuffix(".partial"))

    def begin(self, stage: str, fingerprint: str, *, resumable: bool) -> bool:
        """Make the folder a stage writes in, or keep that of a stopped run of the same stage.

        Returns:
            True when there is such work to resume.
        """
        partial = self.partial_dir(stage)
        attempt = read_json(partial / ATTEMPT_FILE)
        known = attempt.get("fingerprint") if isinstance(attempt, dict) else None
        resumed = resumable and known == fingerprint
        if resumed:
            remove_leftovers(partial, below=True)
        else:
            self.drop_partial(stage)
            partial.mkdir(parents=True)
            write_json({"fingerprint": fingerprint}, partial / ATTEMPT_FILE)
        return resumed

    def drop_partial(self, stage: str) -> None:
        """Delete the partial work of a stopped run on a stage."""
        _remove_tree(self.partial_dir(stage))

    def drop(self, stage: str) -> None:
        """Delete a stage's result and its deliverables."""
        record = self.record(stage)
        for name in record.delivered if record else ():
            self.deliverable(name).unlink(missing_ok=True)
        _remove_tree(self.stage_dir(stage))

    def commit(self, stage: str, record: StageRecord) -> None:
        """Replace the old result by a finished one.

        The record is written last, when everything else is on disk: it makes the folder a result.
        Only renames follow, which the next run completes (`recover`) after a kill or power cut.

        Raises:
            OutputError, OSError: the disk refuses.
        """
        partial = self.partial_dir(stage)
        sync_tree(partial)
        made = sorted(p for p in partial.rglob("*") if p.is_file() and p != partial / ATTEMPT_FILE)
        facts: dict[str, FileFacts | None] = {
            path.relative_to(partial).as_posix(): facts_of(path) for path in made
        }
        write_record(replace(record, files=facts), partial)
        sync(partial)
        self._put_in_place(stage)

    def _put_in_place(self, stage: str) -> None:
        """The rest of `commit`; can be repeated after an interruption at any point."""
        partial, final = self.partial_dir(stage), self.stage_dir(stage)
        new, old = read_record(partial), read_record(final)
        assert new is not None  # it was written before
        self._publish(partial / _PRODUCTS, new, old)
        (partial / ATTEMPT_FILE).unlink(missing_ok=True)
        _remove_tree(final)
        os.replace(partial, final)
        sync(final.parent)

    def _publish(self, made: Path, new: StageRecord, old: StageRecord | None) -> None:
        """Move deliverables from a stage's folder to the run folder, file by file.

        Other files beside them stay; obsolete deliverables of an earlier result are deleted.
        """
        for path in old.delivered if old else ():
            if path not in new.files:
                self.deliverable(path).unlink(missing_ok=True)
        if not made.is_dir():
            return
        for file in sorted(made.rglob("*")):
            if file.is_file():
                target = self.products_dir / file.relative_to(made)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, target)
        shutil.rmtree(made)
        sync(self.products_dir)


def open_workspace(out: Path) -> Workspace:
    """Make or open a run folder.

    Raises:
        UsageError: the folder holds something else, or belongs to another run.
        OutputError: it cannot be made or written in.
        WorkspaceError: it is damaged or of another format version.
    """
    out = Path(out)
    require_no_component(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        names = sorted(p.name for p in out.iterdir() if not p.name.startswith("."))
        own = _OWN | (_OWN_WITH_STAGES if "stages" in names else set())
        foreign = [name for name in names if name not in own]
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


def require_no_component(folder: Path) -> None:
    """Refuse the folder of another site in a run folder: its run brings it up to date.

    Raises:
        UsageError: it is one.
    """
    run = folder.absolute().parent.parent
    if folder.absolute().parent.name == FOLDER_OF_COMPONENTS and (run / RUN_FILE).exists():
        raise UsageError(
            "This is the folder of one component of a run, not of a whole run.",
            where=str(folder),
            next_step=f"Give the folder of the run, {run}; it does all its components.",
        )


def _remove_tree(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
