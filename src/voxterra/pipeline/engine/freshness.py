"""Find which results of a run are up to date with photos and options."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxterra.pipeline.engine.stage import Stage
from voxterra.pipeline.events import ReadProgress
from voxterra.pipeline.folder.file_hashes import FileHashes
from voxterra.pipeline.folder.fingerprint import fingerprint, paths_in
from voxterra.pipeline.folder.record import StageRecord
from voxterra.pipeline.folder.run_file import recorded_source
from voxterra.pipeline.folder.workspace import Workspace

log = logging.getLogger(__name__)

TO_COME = "to come"
"""Stands for the result of a stage that is still to be done."""


@dataclass
class Freshness:
    """What each stage's result is to be made from, and which results there are so far.

    Attributes:
        workspace: the run folder.
        config: options of all stages.
        source: where the photos are.
        hashes: of photos and of files among the options.
        plan: the stages asked for, in their order.
        from_stage: this one counts as out of date in any case.
        fingerprints: of the content that each stage (and the source) is to have; those of stages
            whose results lie in another workspace are given.
        results: which of the results with that fingerprint it is; of stages that were looked at.
        of_sites: results of the other sites, for the stage that gathers them.
    """

    workspace: Workspace
    config: Any
    source: tuple[Path, ...]
    hashes: FileHashes
    plan: Sequence[Stage]
    from_stage: str | None
    fingerprints: dict[str, str] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    of_sites: dict[str, str] = field(default_factory=dict)

    def read_files(self) -> Iterator[ReadProgress]:
        """Read photos, and files named by options, that are new or changed.

        Raises:
            VoxterraError: the photos cannot be read.
        """
        options = (path for stage in self.plan for path in paths_in(stage.options(self.config)))
        source = None if self.fingerprints or self._recorded_source() else self.source
        yield from self.hashes.read(source, (path for path in options if path.exists()))

    def find_out(self) -> None:
        """Compute the fingerprints of all stages; quick after `read_files`.

        Raises:
            VoxterraError: the photos cannot be read.
        """
        if not self.fingerprints:
            source = self._recorded_source()
            if source is not None:
                log.warning("the photos have been moved or deleted; assumed to be unchanged")
            else:
                source = self.hashes.of_source(self.source)
            self.fingerprints["source"] = self.results["source"] = source
        for stage in self.plan:
            self.fingerprints[stage.name] = fingerprint(
                stage.name,
                stage.code_version,
                stage.options(self.config),
                {name: self.fingerprints[name] for name in stage.inputs},
                self.hashes.of_option,
            )

    def has_other_photos(self) -> bool:
        """Whether these are other photos than the run's, not the same ones in another place."""
        if self._same_place():
            return False
        first = self.workspace.record(self.plan[0].name)
        return first is not None and first.inputs.get("source") != self.fingerprints["source"]

    def inputs(self, stage: Stage) -> dict[str, str]:
        """The results that a stage works on."""
        return self._inputs(stage, self.results)

    def _inputs(self, stage: Stage, results: Mapping[str, str]) -> dict[str, str]:
        gathered = self.of_sites if stage.gathers else {}
        return {name: results.get(name, TO_COME) for name in stage.inputs} | gathered

    def to_do(self) -> tuple[Stage, ...]:
        """Stages of the plan that are not up to date."""
        results = self.foreseen()
        return tuple(stage for stage in self.plan if results[stage.name] == TO_COME)

    def foreseen(self) -> dict[str, str]:
        """The result of each stage; `TO_COME` if it is still to be done."""
        results = dict(self.results)
        for stage in self.plan:
            record = self._up_to_date(stage, self._inputs(stage, results))
            results[stage.name] = record.result if record else TO_COME
        return results

    def up_to_date(self, stage: Stage) -> StageRecord | None:
        """The record of a stage's result if it is up to date, else None."""
        return self._up_to_date(stage, self.inputs(stage))

    def faults(self, stage: Stage) -> tuple[str, ...]:
        """Missing or damaged files of a finished stage, for which it is done again though photos
        and options are the same."""
        record = self._fitting(stage, self.inputs(stage))
        return self.workspace.faults(stage.name, record) if record else ()

    def depending_on(self, stage: Stage) -> list[str]:
        """Names of later stages of the plan that depend on a stage's result."""
        changed = {stage.name}
        for later in self.plan:
            if changed & set(later.inputs):
                changed.add(later.name)
        return [s.name for s in self.plan if s.name in changed - {stage.name}]

    def outdated(self, later: Iterable[Stage]) -> list[str]:
        """Names of stages after the plan with results of changed inputs."""
        results, found = dict(self.results), []
        for stage in later:
            record = self.workspace.record(stage.name)
            if record is None:
                continue
            if record.inputs != self._inputs(stage, results):
                found.append(stage.name)
            else:
                results[stage.name] = record.result
        return found

    def _up_to_date(self, stage: Stage, inputs: Mapping[str, str]) -> StageRecord | None:
        record = self._fitting(stage, inputs)
        fits = record is not None and not self.workspace.faults(stage.name, record)
        return record if fits and stage.name != self.from_stage else None

    def _fitting(self, stage: Stage, inputs: Mapping[str, str]) -> StageRecord | None:
        """The record of a result of the same options and inputs, with or without its files."""
        record = self.workspace.record(stage.name)
        asked = (self.fingerprints[stage.name], inputs)
        return record if record and (record.fingerprint, record.inputs) == asked else None

    def _recorded_source(self) -> str | None:
        """The recorded fingerprint of the photos, for a moved run without its photos."""
        first = self.workspace.record(self.plan[0].name)
        gone = [path for path in self.source if not path.exists()]
        if not gone or first is None or not self._same_place():
            return None
        return first.inputs["source"]

    def _same_place(self) -> bool:
        """Whether the photos are in the same place as in the last run."""
        recorded = recorded_source(self.workspace.root)
        return [*map(os.path.abspath, self.source)] == [*map(os.path.abspath, recorded)]
