"""`voxterra run`: everything, from photos to products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, cast

import tyro

from voxterra.cli.arguments import parse, peek
from voxterra.cli.display import follow
from voxterra.core.map_config import MapConfig
from voxterra.core.options import with_values
from voxterra.ingest.config import IngestConfig
from voxterra.pipeline.folder.run_file import RUN_FILE, read_run_file
from voxterra.pipeline.recipe.config import PresetName, RunConfig, recorded_config
from voxterra.pipeline.recipe.config_file import read_values
from voxterra.pipeline.recipe.presets import preset
from voxterra.pipeline.run import run as run_pipeline

StageName = Literal["ingest", "sfm", "georef", "depth", "surface", "mesh", "products", "report"]

DESCRIPTION = """\
Photographs in; mesh, point cloud, DSM and orthophoto out, each with its CRS.
Give the same command again: it resumes where it was stopped, or does nothing. A changed option
redoes only what depends on it.

Examples:
  voxterra run photos/ --out runs/site --preset preview
  voxterra run photos.zip --out runs/site --crs EPSG:25833 --heights ellipsoidal
  voxterra run photos/ --out runs/site --until sfm
  voxterra run photos/ --out runs/site --backend voxels --preset preview
  voxterra run photos/ --out runs/site --config runs/site/config.yaml --depth.max-size 2400
"""


@dataclass(frozen=True)
class RunArguments:
    """Options of `voxterra run`."""

    photos: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="PHOTOS", help_behavior_hint=""),
    ]
    """Folder of photos, zip file, or photo files; none: photos and options of the last run."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The run folder: new, empty, or of an earlier run."""
    preset: Literal["preview", "standard", "high"] = "standard"
    """preview: minutes on a laptop; standard; high: hours for the finest detail."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """YAML file with options; what is given on the command line wins."""
    crs: Annotated[
        str | None, tyro.conf.arg(metavar="CRS", help_behavior_hint="(default: the UTM zone)")
    ] = None
    """Projected CRS of the products, such as EPSG:25833; short for --map.crs."""
    heights: Annotated[
        Literal["egm96", "ellipsoidal"] | None,
        tyro.conf.arg(help_behavior_hint=f"(default: {MapConfig().heights})"),
    ] = None
    """Vertical datum of the products; short for --map.heights."""
    gps_heights: Annotated[
        Literal["auto", "egm96", "ellipsoidal"] | None,
        tyro.conf.arg(help_behavior_hint=f"(default: {IngestConfig().gps_heights})"),
    ] = None
    """What the photos' recorded heights count from; short for --ingest.gps-heights."""
    cameras: Annotated[
        Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: estimated)")
    ] = None
    """Calibrated cameras to use as they are (COLMAP's cameras.bin or cameras.txt, such as an
    earlier run's stages/sfm/component_0/cameras.bin); short for --sfm.cameras."""
    scale_bar: Annotated[
        Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")
    ] = None
    """Known distances marked in photos, which give the scale; short for --georef.scale-bar."""
    aoi: Annotated[
        Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: everything)")
    ] = None
    """Area of interest (GeoJSON): photos that do not see it get no depth, and products are cut to
    it; short for --depth.aoi and --products.aoi."""
    from_: Annotated[
        StageName | None, tyro.conf.arg(name="from", help_behavior_hint="(default: what changed)")
    ] = None
    """Do this stage, and what depends on it, again."""
    until: Annotated[
        StageName | None, tyro.conf.arg(help_behavior_hint="(default: the last one)")
    ] = None
    """Stop after this stage."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Start even where memory or disk will hardly suffice, by estimate."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON event a line, and nothing else."""
    options: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=RunConfig)


def run(args: list[str]) -> int:
    """Parse the command line, run, show; returns the exit code."""
    given = _parse(args, starting_options(args))
    if not given.photos and not {"--preset", "--config"} & {a.split("=")[0] for a in args}:
        recorded = recorded_options(given.out)  # resuming a run, not starting one
        given = _parse(args, recorded) if recorded else given
    events = run_pipeline(
        given.photos or None,
        given.out,
        resolved(given),
        from_stage=given.from_,
        until=given.until,
        force=given.force,
    )
    return follow(events, as_json=given.json)


def starting_options(args: Sequence[str]) -> RunConfig:
    """Options of the preset and of the config file that a command line names."""
    name, file = peek(args, "--preset"), peek(args, "--config")
    if file is None:
        return preset(cast(PresetName, name or "standard"))  # which says what is no preset
    values = read_values(Path(file))
    named = values.pop("preset", None)  # by its name alone a file means all of its options
    values.pop("machine", None)  # of the machine that wrote the file
    base = preset(cast(PresetName, name or named or "standard"))
    return with_values(base, values, where=file)


def recorded_options(folder: Path) -> RunConfig | None:
    """Options of the last run in a folder; None where there was none.

    Raises:
        WorkspaceError: the run folder is damaged or of another version.
        UsageError: it has options that this version does not know.
    """
    recorded = read_run_file(folder).get("config")
    return recorded and recorded_config(recorded, where=str(folder / RUN_FILE))


def _parse(args: list[str], base: RunConfig) -> RunArguments:
    """The arguments; options that are not given are those of `base`, as the help shows too."""

    @dataclass(frozen=True)
    class Arguments(RunArguments):
        options: Annotated[RunConfig, tyro.conf.arg(name="")] = base

    return parse(Arguments, args, verb="run", description=DESCRIPTION, options=base)


def resolved(given: RunArguments) -> RunConfig:
    """All options, with the short ones put in their places."""
    config = given.options
    if given.crs is not None:
        config = replace(config, map=replace(config.map, crs=given.crs))
    if given.heights is not None:
        config = replace(config, map=replace(config.map, heights=given.heights))
    if given.cameras is not None:
        config = replace(config, sfm=replace(config.sfm, cameras=given.cameras))
    if given.aoi is not None:
        config = replace(config, products=replace(config.products, aoi=given.aoi))
        config = replace(config, depth=replace(config.depth, aoi=given.aoi))
    if given.scale_bar is not None:
        config = replace(config, georef=replace(config.georef, scale_bar=given.scale_bar))
    if given.gps_heights is not None:
        config = replace(config, ingest=replace(config.ingest, gps_heights=given.gps_heights))
    return config
