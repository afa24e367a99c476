"""`georeference.json`: the frame and the placements. The components are stored as COLMAP models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference, Placement
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.registration import UnregisteredPhoto
from voxterra.errors import FormatError
from voxterra.io.files.json_file import write_json

FORMAT = "voxterra georeference 1"


def write_georeference(georeference: Georeference, path: Path) -> None:
    """Write frame and placements as JSON, without the components."""
    data = {
        "format": FORMAT,
        "frame": georeference.frame.to_dict(),
        "placements": [p.to_dict() for p in georeference.placements],
        "warnings": list(georeference.warnings),
        "unregistered": [photo.to_dict() for photo in georeference.unregistered],
        "numbers": list(georeference.numbers),
    }
    write_json(data, path)


def read_georeference(path: Path, components: Sequence[Reconstruction]) -> Georeference:
    """Read what `write_georeference` wrote.

    Args:
        path: the JSON file.
        components: in world coordinates, in the order of the placements.

    Raises:
        FormatError: not such a file, or the number of components differs.
    """
    found = read_placements(path)
    if len(found.placements) != len(components):
        raise FormatError(
            f"It places {len(found.placements)} components, but there are {len(components)}.",
            where=str(path),
            next_step="Do that step again: voxterra georef RUN.",
        )
    return replace(found, components=tuple(components))


def read_placements(path: Path) -> Georeference:
    """Read placements of `write_georeference`: a georeference without its components.

    Raises:
        FormatError: not such a file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format is {data['format']!r}")
        frame = GeoFrame.from_dict(data["frame"])
        placements = tuple(Placement.from_dict(p) for p in data["placements"])
        warnings = tuple(data["warnings"])
        unregistered = tuple(UnregisteredPhoto(**p) for p in data.get("unregistered", ()))
        numbers = tuple(int(number) for number in data.get("numbers", ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"This is not a readable georeference ({error}).",
            where=str(path),
            next_step="Do that step again: voxterra georef RUN.",
        ) from error
    return Georeference(frame, (), placements, warnings, unregistered, numbers)
