"""Components that the run's own world does not hold: each world of theirs gets all products too.

What a run of their photos alone would do, without solving them again: the stages from the one that
places components on, in `components/N/` of the run folder (stages as in the run folder itself), and
their deliverables in `products/component_N/`. N is the number of the largest component in it.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxterra.core.sites import FOLDER_OF_COMPONENTS, Apart, worlds_apart
from voxterra.errors import (
    GeoError,
    OutsideAreaError,
    ReconstructionError,
    TooFewPhotosError,
    VoxterraError,
)
from voxterra.io.files.json_file import read_json, write_json
from voxterra.pipeline import events as ev
from voxterra.pipeline.engine.freshness import TO_COME, Standing
from voxterra.pipeline.engine.stage import Stage
from voxterra.pipeline.engine.stage_runner import World
from voxterra.pipeline.events import Event
from voxterra.pipeline.folder.workspace import Workspace
from voxterra.report.facts import ApartFacts

log = logging.getLogger(__name__)

FAILED_FILE = "failed.json"

# Of photos that show too little; the rest of the run goes on without. All else ends a run.
OF_PHOTOS = (ReconstructionError, TooFewPhotosError, GeoError)


def find_apart(workspace: Workspace, config: Any) -> tuple[tuple[Apart, Any], ...]:
    """Components that lie apart by the georeference of a run, and the options of each.

    A CRS, and boxes in world coordinates, are meant for the place where most photos are.

    Raises:
        FormatError: the georeference is damaged.
    """
    from voxterra.io.georeference import read_placements

    path = workspace.stage_dir("georef") / "georeference.json"
    return tuple((apart, _options(config, apart)) for apart in worlds_apart(read_placements(path)))


def _options(config: Any, apart: Apart) -> Any:
    from voxterra.report.write import TITLE

    title = f"{config.report.title or TITLE}: {apart.describe()}"
    return replace(
        config,
        map=replace(config.map, crs=None),
        surface=replace(config.surface, bounds_m=None),
        voxels=replace(config.voxels, bound=None),
        report=replace(config.report, title=title),
    )


def apart_workspace(workspace: Workspace, apart: Apart) -> Workspace:
    """Where the stages and deliverables of a world apart lie in a run folder."""
    return Workspace(workspace.root / apart.work_folder, workspace.products_dir / apart.folder)


def worlds_of(main: World, results: Mapping[str, str], from_stage: str | None) -> tuple[World, ...]:
    """The worlds apart from that of a run, as its result of the stage that splits them has them.

    What a killed run had begun in their folders is brought to its end.

    Args:
        main: the run's own world.
        results: its results by stage; there must be one of the stage that splits.
        from_stage: as in `Standing`.
    """
    plan = main.standing.plan
    at = next((i for i, stage in enumerate(plan) if stage.splits), len(plan))
    names, found = [stage.name for stage in plan[:at]], []
    splits = plan[at].splits if at < len(plan) else None
    for apart, config in splits(main.workspace, main.config) if splits else ():
        which = " ".join(map(str, apart.numbers))
        workspace = apart_workspace(main.workspace, apart)
        workspace.recover()
        standing = Standing(
            workspace,
            config,
            main.source,
            plan[at:],
            from_stage,
            {name: f"{main.standing.fingerprints[name]} {which}" for name in names},
            {name: f"{results[name]} {which}" for name in names},
        )
        standing.find_out()
        lent = {name: main.workspace.stage_dir(name) for name in names}
        found.append(
            World(workspace, config, main.source, standing, main.engine, main.log, apart, lent)
        )
    return tuple(found)


def bring_up_to_date(world: World) -> Iterator[Event]:
    """All stages of a world apart; photos that show too little end it with a warning.

    What earlier photos or options had made of it from that stage on goes, so that no product is
    taken for one of these.

    Raises:
        VoxterraError, Exception: what ends the run.
    """
    assert world.apart is not None
    note, plan = world.workspace.root / FAILED_FILE, world.standing.plan
    for stage in plan:
        try:
            yield from world.bring_up_to_date(stage)
        except OF_PHOTOS as error:
            log.warning("%s: %s ends: %s", world.apart.describe(), stage.name, error)
            write_json({"stage": stage.name, "why": error.what}, note)
            for later in _from(world, stage):
                world.workspace.drop(later.name)
            yield ev.StageWarning(stage.name, _told(world.apart, error), world.number)
            return
    if _note(world.workspace).get("stage") in [stage.name for stage in plan]:  # not behind the plan
        note.unlink(missing_ok=True)


def _told(apart: Apart, error: VoxterraError) -> str:
    told = f"{apart.describe()} ends here, and has no products of later steps: {error.what}"
    if isinstance(error, OutsideAreaError) or not error.next_step:  # the area is that of another
        return told
    return f"{told} {error.next_step}"


def go_on_without(
    main: World, worlds: tuple[World, ...], stage: Stage, error: OutsideAreaError
) -> Iterator[Event]:
    """End a run's own world where the area of interest lies in worlds apart, which are made.

    Deliverables of earlier options go, as in `bring_up_to_date`; what they were made of stays:
    hours of work may be in it, and a run without the area goes on from there.

    Raises:
        OutsideAreaError: `error`, where none of them holds the area either.
    """
    made = [w.apart for w in worlds if w.apart is not None and failed(w.workspace) is None]
    if not made:
        raise error
    log.warning("%s ends: %s", stage.name, error)
    main.workspace.drop_partial(stage.name)
    for later in _from(main, stage):
        record = main.workspace.record(later.name)
        if record is not None and record.products:
            main.workspace.drop(later.name)
    names = " and ".join(apart.describe() for apart in made)
    folders = ", ".join(f"products/{apart.folder}" for apart in made)
    yield ev.StageWarning(
        stage.name,
        f"the place of most photos has no products of this step and later ones: {error.what} "
        f"It lies in {names}: look into {folders}; without --aoi all places have products",
    )


def _from(world: World, stage: Stage) -> tuple[Stage, ...]:
    """A stage of a world's plan, and those behind it."""
    plan = tuple(world.standing.plan)
    return plan[plan.index(stage) :]


def failed(workspace: Workspace) -> str | None:
    """Why a world apart did not come to its end; None when it did, or was not begun."""
    return _note(workspace).get("why")


def _note(workspace: Workspace) -> dict[str, str]:
    note = read_json(workspace.root / FAILED_FILE)
    return note if isinstance(note, dict) else {}


def gathered(worlds: tuple[World, ...], table: tuple[Stage, ...]) -> dict[str, str]:
    """What the stage that gathers reads of worlds apart: their results, by name."""
    return {w.apart.describe(): _delivered(w, table) for w in worlds if w.apart is not None}


def _delivered(world: World, table: tuple[Stage, ...]) -> str:
    """The last result of a world that is to be told of, `TO_COME`, or why there is none."""
    last = [stage for stage in table if not stage.gathers][-1]
    foreseen = world.standing.foreseen()
    why = failed(world.workspace)
    if last.name not in foreseen:  # behind the plan
        if why:
            return f"failed: {why}"
        behind = tuple(s for s in table if s.name not in foreseen)
        record = world.workspace.record(last.name)
        old = record is None or last.name in world.standing.outdated(behind)
        return TO_COME if old or record is None else record.result
    result = foreseen[last.name]
    return f"failed: {why}" if result == TO_COME and why else result


def drop_others(main: Workspace, worlds: tuple[World, ...]) -> None:
    """Delete what an earlier result had of components that do not lie apart any more.

    Files of a user beside their deliverables stay.
    """
    kept = {world.workspace.root.name for world in worlds}
    folder = main.root / FOLDER_OF_COMPONENTS
    for old in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not old.name.isdigit() or old.name in kept:
            continue
        workspace = apart_workspace(main, Apart((int(old.name) - 1,)))
        # Hidden ones too: a killed run delivers before the record is in its place.
        for stage in (old / "stages").iterdir() if (old / "stages").is_dir() else ():
            workspace.drop(stage.name)
        shutil.rmtree(old)
        with suppress(OSError):  # not empty, or never made
            workspace.products_dir.rmdir()
    with suppress(OSError):
        folder.rmdir()


def photo_count(main: Workspace, apart: Apart) -> int:
    """How many photos a world apart has."""
    from voxterra.io.colmap.model import read_colmap

    folder = main.stage_dir("georef")
    return sum(len(read_colmap(folder / f"component_{i}").images) for i in apart.components)


def facts_apart(workspace: Workspace, config: Any) -> tuple[ApartFacts, ...]:
    """What the report of a run tells of its worlds apart."""
    found = []
    for apart, _ in find_apart(workspace, config):
        own = apart_workspace(workspace, apart)
        found.append(
            ApartFacts(
                apart,
                own.products_dir,
                own.stage_dir("mesh") / "mesh.npz",
                own.stage_dir("depth"),
                failed(own),
            )
        )
    return tuple(found)


def ended(world: World, root: Path) -> ev.ApartFinished:
    """What a run says at its end of a world apart."""
    assert world.apart is not None
    return ev.ApartFinished(
        world.apart.numbers,
        world.workspace.products_dir.relative_to(root).as_posix(),
        world.workspace.root.relative_to(root).as_posix(),
        world.accuracy(),
        failed(world.workspace),
    )
