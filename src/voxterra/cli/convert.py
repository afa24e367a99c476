"""`voxterra convert`: COLMAP model to Nerfstudio's `transforms.json`, and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from voxterra.cli.arguments import parse
from voxterra.core.reconstruction import Reconstruction
from voxterra.errors import InputError, UsageError

DESCRIPTION = """\
Convert cameras and sparse points: a COLMAP model (folder) to transforms.json (Nerfstudio; points
go into transforms_points.ply beside it), or cameras back. A run folder counts as its largest
component, in the world if it is georeferenced.

Examples:
  voxterra convert runs/site transforms.json
  voxterra convert transforms.json colmap/
"""


@dataclass(frozen=True)
class ConvertArguments:
    """Options of `voxterra convert`."""

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SOURCE")]
    """COLMAP model folder, run folder, or .json file."""
    target: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="TARGET")]
    """A .json file, or a folder for a COLMAP model."""


def run(args: list[str]) -> int:
    """Read one format, write the other."""
    given = parse(ConvertArguments, args, verb="convert", description=DESCRIPTION)
    to_json = given.target.suffix.lower() == ".json"
    if to_json == (given.source.suffix.lower() == ".json"):
        raise UsageError(
            "Source and target are of the same kind.",
            where=f"{given.source} -> {given.target}",
            next_step="Give a .json file and a folder: the first is read, the second written.",
        )
    reconstruction = read(given.source)
    from voxterra.io.nerf import points_file, write_transforms

    if to_json:
        write_transforms(reconstruction, given.target)
    else:
        from voxterra.io.colmap.model import write_colmap

        write_colmap(reconstruction, given.target)
    print(
        f"{given.target}: {len(reconstruction.images)} images, "
        f"{len(reconstruction.points):,} sparse points"
        + (f", in {points_file(given.target)}" if to_json and len(reconstruction.points) else "")
    )
    return 0


def read(source: Path) -> Reconstruction:
    """Cameras of a `.json` file, a COLMAP model or a run.

    Raises:
        InputError: nothing of the kind is there.
    """
    if source.suffix.lower() == ".json":
        from voxterra.io.nerf import read_transforms

        return read_transforms(source)
    from voxterra.io.colmap.model import read_colmap

    stages = source / "stages"
    for folder in (stages / "georef" / "component_0", stages / "sfm" / "component_0", source):
        if folder.is_dir() and (folder == source) is not stages.is_dir():
            return read_colmap(folder)
    raise InputError(
        "There are no cameras here.",
        where=str(source),
        next_step="Give a COLMAP model, a run that got as far as sfm, or a transforms.json.",
    )
