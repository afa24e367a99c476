"""`voxterra inspect`: what is known of photos before a run."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from voxterra.cli.arguments import parse
from voxterra.core.photos import Photo, PhotoSet
from voxterra.ingest.config import IngestConfig

DESCRIPTION = """\
Print what is known of photos: size, camera, position, attitude, sharpness, and what to mind.

Examples:
  voxterra inspect photos/
  voxterra inspect photos.zip --json
"""


@dataclass(frozen=True)
class _Options:
    ingest: IngestConfig = field(default_factory=IngestConfig)


@dataclass(frozen=True)
class InspectArguments:
    """Options of `voxterra inspect`."""

    photos: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="PHOTOS", help_behavior_hint="(required)"),
    ]
    """Folder of photos, zip file, or photo files."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON."""
    options: Annotated[_Options, tyro.conf.arg(name="")] = field(default_factory=_Options)


def run(args: list[str]) -> int:
    """Read the photos, print the table."""
    from voxterra.ingest.ingest import ingest_photos

    given = parse(
        InspectArguments, args, verb="inspect", description=DESCRIPTION, options=_Options()
    )
    with tempfile.TemporaryDirectory(prefix="voxterra-") as folder:
        source = given.photos[0] if len(given.photos) == 1 else given.photos
        photos = ingest_photos(source, given.options.ingest, work_dir=Path(folder))
        if given.json:
            print(json.dumps(_as_dict(photos), indent=1))
        else:
            _print_table(photos)
    return 0


def _as_dict(photos: PhotoSet) -> dict[str, object]:
    return {
        "photos": [
            {k: v for k, v in asdict(p).items() if k not in ("path", "mask_path")}
            | {"has_mask": p.mask_path is not None}
            for p in photos.photos
        ],
        "rejected": [asdict(r) for r in photos.rejected],
        "warnings": list(photos.warnings),
    }


def _print_table(photos: PhotoSet) -> None:
    from rich.markup import escape
    from rich.table import Table

    from voxterra.cli.display import PipedConsole

    console = PipedConsole(highlight=False)
    if not console.is_terminal:
        console = PipedConsole(highlight=False, width=160)
    table = Table(box=None, pad_edge=False)
    for title, side in (
        ("photo", "left"),
        ("size", "right"),
        ("camera", "left"),
        ("focal px", "right"),
        ("lon, lat", "left"),
        ("height m", "right"),
        ("yaw, pitch", "right"),
        ("sharpness", "right"),
        ("notes", "left"),
    ):
        table.add_column(title, justify=side)  # type: ignore[arg-type]
    for photo in photos.photos:
        table.add_row(*(escape(cell) for cell in _row(photo)))
    console.print(table)
    for rejected in photos.rejected:
        console.print(f"left out: {escape(rejected.name)}: {escape(rejected.reason)}")
    for warning in photos.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}")
    with_gps = sum(photo.gps is not None for photo in photos.photos)
    console.print(f"{len(photos)} photos, {with_gps} with GPS")


def _row(photo: Photo) -> tuple[str, ...]:
    gps, attitude = photo.gps, photo.attitude
    height = "" if gps is None or gps.height_m is None else f"{gps.height_m:.1f}"
    return (
        photo.id,
        f"{photo.width}x{photo.height}",
        photo.model or "?",
        "" if photo.focal_px is None else f"{photo.focal_px:.0f}",
        "" if gps is None else f"{gps.lon:.6f}, {gps.lat:.6f}",
        height and f"{height} {gps.height_reference if gps else ''}",
        "" if attitude is None else f"{attitude.yaw_deg:.0f}, {attitude.pitch_deg:.0f}",
        f"{photo.sharpness:.0f}",
        "; ".join(photo.warnings) + (" masked" if photo.mask_path else ""),
    )
