"""Other sites of a run: components outside its main world frame get all products too.

They get the products of a run of their photos alone, without solving them again: the stages from
georef on, in `components/N/` of the run folder (stages as in the run folder itself), and their
deliverables in `products/component_N/`. N is the number of the site's largest component.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from voxterra.core.sites import FOLDER_OF_COMPONENTS, Site
from voxterra.errors import (
    GeoError,
    OutsideAreaError,
    ReconstructionError,
    TooFewPhotosError,
    VoxterraError,
)
from voxterra.io.files.json_file import read_json, write_json
from voxterra.pipeline import events as ev
from voxterra.pipeline.engine.freshness import TO_COME, Freshness
from voxterra.pipeline.engine.stage import Stage
from voxterra.pipeline.engine.stage_runner import StageRunner
from voxterra.pipeline.events import Event
from voxterra.pipeline.folder.workspace import Workspace

log = logging.getLogger(__name__)

FAILED_FILE = "failed.json"

# Errors that mean too few or too weak photos: the run continues without the site. Others end it.
OF_PHOTOS = (ReconstructionError, TooFewPhotosError, GeoError)


def site_workspace(workspace: Workspace, site: Site) -> Workspace:
    """Workspace of another site in a run folder: its stages and deliverables."""
    return Workspace(workspace.root / site.work_folder, workspace.products_dir / site.folder)


def site_runners(
    main: StageRunner, results: Mapping[str, str], from_stage: str | None
) -> tuple[StageRunner, ...]:
    """Runners of the other sites, from the result of the stage that splits.

    Unfinished commits of a killed run in their folders are completed.

    Args:
        main: that of the run's main site.
        results: its results by stage; there must be one of the stage that splits.
        from_stage: as in `Freshness`.
    """
    plan = main.freshness.plan
    at = next((i for i, stage in enumerate(plan) if stage.splits), len(plan))
    names, found = [stage.name for stage in plan[:at]], []
    splits = plan[at].splits if at < len(plan) else None
    for site, config in splits(main.workspace, main.config) if splits else ():
        which = " ".join(map(str, site.numbers))
        workspace = site_workspace(main.workspace, site)
        workspace.recover()
        freshness = Freshness(
            workspace,
            config,
            main.source,
            main.freshness.hashes,
            plan[at:],
            from_stage,
            {name: f"{main.freshness.fingerprints[name]} {which}" for name in names},
            {name: f"{results[name]} {which}" for name in names},
        )
        freshness.find_out()
        found.append(
            replace(
                main,
                workspace=workspace,
                config=config,
                freshness=freshness,
                site=site,
                inputs_elsewhere={name: main.workspace.stage_dir(name) for name in names},
            )
        )
    return tuple(found)


def bring_up_to_date(runner: StageRunner) -> Iterator[Event]:
    """Run all stages of another site; too few or too weak photos end it with a warning.

    Then its older results are deleted from that stage on, so that nobody takes an old product for a
    new one.

    Raises:
        VoxterraError, Exception: other errors, which end the run.
    """
    assert runner.site is not None
    note, plan = runner.workspace.root / FAILED_FILE, runner.freshness.plan
    for stage in plan:
        try:
            yield from runner.bring_up_to_date(stage)
        except OF_PHOTOS as error:
            log.warning("%s: %s ends: %s", runner.site.describe(), stage.name, error)
            write_json({"stage": stage.name, "why": error.what}, note)
            for later in _from(runner, stage):
                runner.workspace.drop(later.name)
            yield ev.StageWarning(stage.name, _why_it_ends(runner.site, error), runner.number)
            return
    # A note of a stage that is not in the plan still holds.
    if _note(runner.workspace).get("stage") in [stage.name for stage in plan]:
        note.unlink(missing_ok=True)


def _why_it_ends(site: Site, error: VoxterraError) -> str:
    text = f"{site.describe()} ends here, and has no products of later steps: {error.what}"
    if isinstance(error, OutsideAreaError) or not error.next_step:  # the area is of another site
        return text
    return f"{text} {error.next_step}"


def continue_without(
    main: StageRunner, others: tuple[StageRunner, ...], stage: Stage, error: OutsideAreaError
) -> Iterator[Event]:
    """End the main site if the area of interest is in other sites, which are finished.

    Deliverables of earlier options are deleted, as in `bring_up_to_date`; what they were made of
    stays: hours of work may be in it, and a run without the area resumes from there.

    Raises:
        OutsideAreaError: `error`, where no other site holds the area either.
    """
    made = [o.site for o in others if o.site is not None and failed(o.workspace) is None]
    if not made:
        raise error
    log.warning("%s ends: %s", stage.name, error)
    main.workspace.drop_partial(stage.name)
    for later in _from(main, stage):
        record = main.workspace.record(later.name)
        if record is not None and record.products:
            main.workspace.drop(later.name)
    names = " and ".join(site.describe() for site in made)
    folders = ", ".join(f"products/{site.folder}" for site in made)
    yield ev.StageWarning(
        stage.name,
        f"the main site has no products of this step and later ones: {error.what} "
        f"It lies in {names}: look into {folders}; without --aoi all sites have products",
    )


def _from(runner: StageRunner, stage: Stage) -> tuple[Stage, ...]:
    """A stage of a runner's plan, and all later ones."""
    plan = tuple(runner.freshness.plan)
    return plan[plan.index(stage) :]


def failed(workspace: Workspace) -> str | None:
    """Why a site has no products; None if it has some, or was not started."""
    return _note(workspace).get("why")


def _note(workspace: Workspace) -> dict[str, str]:
    note = read_json(workspace.root / FAILED_FILE)
    return note if isinstance(note, dict) else {}


def results_of_sites(others: tuple[StageRunner, ...], table: tuple[Stage, ...]) -> dict[str, str]:
    """Results of the other sites that the gathering stage reads, by name."""
    return {o.site.describe(): _last_result(o, table) for o in others if o.site is not None}


def _last_result(runner: StageRunner, table: tuple[Stage, ...]) -> str:
    """The last gathered result of a site, `TO_COME`, or why there is none."""
    last = [stage for stage in table if not stage.gathers][-1]
    foreseen = runner.freshness.foreseen()
    why = failed(runner.workspace)
    if last.name not in foreseen:  # after the plan
        if why:
            return f"failed: {why}"
        later = tuple(s for s in table if s.name not in foreseen)
        record = runner.workspace.record(last.name)
        old = record is None or last.name in runner.freshness.outdated(later)
        return TO_COME if old or record is None else record.result
    result = foreseen[last.name]
    return f"failed: {why}" if result == TO_COME and why else result


def drop_others(main: Workspace, others: tuple[StageRunner, ...]) -> None:
    """Delete stages and deliverables of sites that no longer exist.

    Files of a user beside their deliverables stay.
    """
    kept = {other.workspace.root.name for other in others}
    folder = main.root / FOLDER_OF_COMPONENTS
    for old in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not old.name.isdigit() or old.name in kept:
            continue
        workspace = site_workspace(main, Site((int(old.name) - 1,)))
        # Hidden ones too: a killed run delivers before the record is in its place.
        for stage in (old / "stages").iterdir() if (old / "stages").is_dir() else ():
            workspace.drop(stage.name)
        shutil.rmtree(old)
        with suppress(OSError):  # not empty, or never made
            workspace.products_dir.rmdir()
    with suppress(OSError):
        folder.rmdir()


def photo_count(main: Workspace, site: Site) -> int:
    """Number of photos of another site."""
    from voxterra.io.colmap.model import read_colmap

    folder = main.stage_dir("georef")
    return sum(len(read_colmap(folder / f"component_{i}").images) for i in site.components)


def ended(runner: StageRunner, root: Path) -> ev.ApartFinished:
    """Event about another site at the end of a run in `root`."""
    assert runner.site is not None
    return ev.ApartFinished(
        runner.site.numbers,
        runner.workspace.products_dir.relative_to(root).as_posix(),
        runner.workspace.root.relative_to(root).as_posix(),
        runner.accuracy(),
        failed(runner.workspace),
    )
