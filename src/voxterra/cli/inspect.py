"""`voxterra inspect`: metadata, overlap and warnings of photos before a run."""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from voxterra.cli.arguments import parse
from voxterra.core.photos import Photo, PhotoSet
from voxterra.errors import UsageError
from voxterra.ingest.capture import Capture, capture_of
from voxterra.ingest.config import IngestConfig

DESCRIPTION = """\
Print metadata of photos: size, camera, position, attitude, sharpness, and warnings. From
GPS, attitude and lens: spacing, overlap, and the size of a pixel on the ground.

Examples:
  voxterra inspect photos/
  voxterra inspect photos.zip --json
  voxterra inspect photos/ --above-ground 60      (where the drone recorded no height)
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
    above_ground: Annotated[
        float | None, tyro.conf.arg(metavar="METRES", help_behavior_hint="(default: as recorded)")
    ] = None
    """Flight height above the ground, for overlap and the size of a pixel."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON."""
    options: Annotated[_Options, tyro.conf.arg(name="")] = field(default_factory=_Options)


def run(args: list[str]) -> int:
    """Read the photos, print the table."""
    from voxterra.ingest.ingest import ingest_photos
    from voxterra.pipeline.engine.plan import require_photos_not_runs

    given = parse(
        InspectArguments, args, verb="inspect", description=DESCRIPTION, options=_Options()
    )
    above = given.above_ground
    if above is not None and not 0 < above < 10_000:
        raise UsageError(
            f"{above:g} m is no flight height.",
            where="--above-ground",
            next_step="Give metres above the ground, such as 60, or leave it out.",
        )
    require_photos_not_runs(given.photos)
    # Files left out are in the table; without a handler they would be printed twice.
    logging.getLogger("voxterra").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory(prefix="voxterra-") as folder:
        source = given.photos[0] if len(given.photos) == 1 else given.photos
        photos = ingest_photos(source, given.options.ingest, work_dir=Path(folder))
        capture = capture_of(photos.photos, above)
        if given.json:
            print(json.dumps(_as_dict(photos, capture), indent=1))
        else:
            _print_table(photos, capture)
    return 0


def _as_dict(photos: PhotoSet, capture: Capture) -> dict[str, object]:
    return {
        "photos": [
            {k: v for k, v in asdict(p).items() if k not in ("path", "mask_path")}
            | {"has_mask": p.mask_path is not None}
            for p in photos.photos
        ],
        "rejected": [asdict(r) for r in photos.rejected],
        "warnings": list(photos.warnings),
        "capture": asdict(capture),
    }


def _print_table(photos: PhotoSet, capture: Capture) -> None:
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
    for advice in capture.advice:
        console.print(f"[yellow]warning:[/] {escape(advice)}")
    for line in _summary(photos, capture):
        console.print(escape(line))


def _summary(photos: PhotoSet, capture: Capture) -> list[str]:
    """What holds for the set, in a few lines."""
    with_gps = sum(photo.gps is not None for photo in photos.photos)
    doubtful = sum(bool(photo.warnings) for photo in photos.photos)
    lines = [f"{len(photos)} photos, {with_gps} with GPS, {doubtful} with remarks"]
    if capture.spacing_m is not None and capture.extent_m is not None:
        east, north = capture.extent_m
        lines.append(f"positions: {_extent(east, north)}, a photo every {capture.spacing_m:.3g} m")
        if capture.places is not None and capture.places > 1:
            lines.append(
                f"{capture.places} places too far apart for one map: a run makes products of each"
            )
    if capture.height_m is None or capture.gsd_m is None or capture.footprint_m is None:
        if capture.spacing_m is not None:
            lines.append(
                "overlap: unknown, since the distance to the scene is unknown (taken from above? "
                "give --above-ground METRES)"
            )
        return lines
    width, height = capture.footprint_m
    lines.append(
        f"from above: {capture.down} photos look down from {capture.height_m:.0f} m "
        f"({capture.height_from}); a pixel shows {100 * capture.gsd_m:.2g} cm of level ground, "
        f"a photo {width:.0f} x {height:.0f} m"
    )
    parts = []
    if capture.forward_overlap is not None:
        parts.append(f"{capture.forward_overlap:.0%} with the next photo")
    if capture.side_overlap is not None:
        parts.append(f"{capture.side_overlap:.0%} with the best of the others")
    if capture.photos_per_place is not None:
        parts.append(f"each place is in {capture.photos_per_place:.0f} photos")
    return [*lines, f"overlap on level ground: {', '.join(parts)}"]


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
        "; ".join([*photo.warnings, *_remarks(photo)]),
    )


def _extent(east_m: float, north_m: float) -> str:
    if max(east_m, north_m) > 20_000:
        return f"{east_m / 1000:,.0f} x {north_m / 1000:,.0f} km"
    return f"{east_m:,.0f} x {north_m:,.0f} m"


def _remarks(photo: Photo) -> list[str]:
    """What is no fault."""
    turned = {3: "180°", 6: "90° clockwise", 8: "90° anticlockwise"}.get(photo.orientation)
    remarks = [f"to be shown turned by {turned}"] if turned else []
    return [*remarks, "masked"] if photo.mask_path else remarks
