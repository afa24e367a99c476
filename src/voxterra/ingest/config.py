"""Configuration of ingest."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from voxterra.errors import UsageError


@dataclass(frozen=True)
class IngestConfig:
    """How photos and their metadata are read."""

    gps_heights: Literal["auto", "egm96", "ellipsoidal"] = "auto"
    """What recorded heights count from. auto: as the metadata says (GPSAltitudeRef, XMP; RTK drones
    of DJI record ellipsoidal heights), and above sea level (EGM96) where it says nothing."""

    meta_csv: Path | None = None
    """Table with positions and attitudes; without it, meta.csv beside the photos is used."""

    masks: Path | None = None
    """Folder with masks (0 = ignore); without it, the folder masks/ beside the photos is used."""

    use_masks: bool = True
    """Use masks where there are any."""

    only: Path | None = None
    """Text file that names the photos to use, one a line, such as products/component_2.txt; the
    others are not read."""

    max_megapixels: float = 400.0
    """Larger images are left out, since a forged one could fill the memory."""

    max_unpacked_gb: float = 100.0
    """A zip that unpacks to more is refused [GB]."""

    workers: int = field(default=0, metadata={"affects_result": False})
    """Photos read at the same time; 0 = one per processor, at most 16."""


def check(config: IngestConfig) -> None:
    """Find options that cannot work, before any photo is read.

    Raises:
        UsageError: one is out of its range.
    """
    rules = (
        (0 <= config.workers <= 256, "workers", "Give 1 to 256, or 0 for one per processor."),
        (config.max_megapixels > 0, "max-megapixels", "Give a number above 0, such as 400."),
        (config.max_unpacked_gb > 0, "max-unpacked-gb", "Give a number above 0, such as 100."),
    )
    for fine, name, next_step in rules:
        if not fine:
            value = getattr(config, name.replace("-", "_"))
            option = f"--ingest.{name}"
            raise UsageError(f"{option} cannot be {value}.", where=option, next_step=next_step)
