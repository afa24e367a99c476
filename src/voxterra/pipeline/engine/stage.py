"""A stage as the pipeline sees it: a row of the table in `recipe/stages.py`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxterra.core.progress import Progress
from voxterra.core.sites import Site
from voxterra.pipeline.folder.workspace import Workspace


@dataclass(frozen=True)
class StageOutput:
    """Summary, warnings and products of a stage's result, which is in its folder.

    Attributes:
        summary: one line for people.
        warnings: for the user.
        products: deliverables it wrote under `StageContext.out / "products"`, as (path relative
            to the run folder, description); they are moved to `products/` of the run folder.
    """

    summary: str
    warnings: tuple[str, ...] = ()
    products: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class StageContext:
    """Inputs and output folder of a stage.

    Attributes:
        source: folder, archive or files of photos.
        config: the run's `RunConfig`.
        workspace: of the run.
        stage: the stage's name.
        inputs: stages whose results it may read, as the table declares them.
        progress: for the stage to call often.
        site: another site to work on; None = the main one of the run.
        inputs_elsewhere: folders of results in another workspace, by stage.
    """

    source: tuple[Path, ...]
    config: Any
    workspace: Workspace
    stage: str
    inputs: tuple[str, ...]
    progress: Progress
    site: Site | None = None
    inputs_elsewhere: Mapping[str, Path] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        """Folder to write in; becomes `stages/NAME` when the stage ends well."""
        return self.workspace.partial_dir(self.stage)

    @property
    def work(self) -> Path:
        """Folder for temporary files of the stage; see `drop_work`."""
        folder = self.out / "work"
        folder.mkdir(exist_ok=True)
        return folder

    def drop_work(self) -> None:
        """Delete the working folder; a stage that is stopped keeps it, to resume."""
        shutil.rmtree(self.out / "work", ignore_errors=True)

    def input(self, stage: str) -> Path:
        """Folder of an earlier stage's result.

        Raises:
            KeyError: the table does not declare it as an input, so the result would not be updated
                with it.
        """
        if stage not in self.inputs:
            raise KeyError(f"the stage {self.stage} does not declare that it reads {stage}")
        return self.inputs_elsewhere.get(stage) or self.workspace.stage_dir(stage)


StageFunction = Callable[[StageContext], StageOutput]
"""Does a stage; at the top of a module, engines can have other processes call it."""


@dataclass(frozen=True)
class Stage:
    """A row of the table.

    Attributes:
        name: also that of its folder and of its verb.
        inputs: stages whose results it reads; "source" is the photos.
        config: sections of `RunConfig` that its result depends on.
        run: does the work.
        code_version: raise it if the code gives other results for the same input, so that results
            of earlier versions are not used again.
        resumable: whether it can resume from the folder of a stopped run; a function of the
            `RunConfig` if that depends on it.
        reports_accuracy: its summary is part of the run's statement of accuracy.
        counting: options of a `RunConfig` that the result depends on, by section, if not all of
            `config` always count.
        requires: raises a `VoxterraError` if this machine cannot do the stage with this
            `RunConfig`; called before the first stage of a run starts.
        splits: finds other sites in its result, each with its own options; this stage and later
            ones are also done for each of them (`pipeline.engine.sites`).
        gathers: its result covers the other sites too, so they are done before it.
    """

    name: str
    inputs: tuple[str, ...]
    config: tuple[str, ...]
    run: StageFunction
    code_version: int = 1
    resumable: bool | Callable[[Any], bool] = False
    reports_accuracy: bool = False
    counting: Callable[[Any], Mapping[str, Any]] | None = None
    requires: Callable[[Any], None] | None = None
    splits: Callable[[Workspace, Any], tuple[tuple[Site, Any], ...]] | None = None
    gathers: bool = False

    def can_resume(self, config: Any) -> bool:
        """Whether the stage can resume the work of a stopped run."""
        return self.resumable(config) if callable(self.resumable) else self.resumable

    def options(self, config: Any) -> Mapping[str, Any]:
        """The options of the run that enter the fingerprint, by section."""
        if self.counting is not None:
            return self.counting(config)
        return {name: getattr(config, name) for name in self.config}
