"""Data of a report."""

from __future__ import annotations

from dataclasses import dataclass

from voxterra.core.depth import DepthMaps
from voxterra.core.georeference import Georeference
from voxterra.core.mesh import TriMesh
from voxterra.core.photos import PhotoSet
from voxterra.report.coverage import Coverage
from voxterra.report.facts import RunFacts
from voxterra.report.map_data import MapData
from voxterra.report.residuals import Gap, PhotoFit


@dataclass(frozen=True)
class Findings:
    """Data that the parts of the report show.

    Attributes:
        georeference, photos, maps: of the run.
        mesh: of the run; None where the surface has none.
        facts: about the run.
        map_data: cameras and GPS on the map.
        coverage: overlap, and depth by photo.
        fits: reprojection errors, one entry a registered photo.
        gaps: between components.
        picture_px: longest side of pictures [px].
    """

    georeference: Georeference
    photos: PhotoSet
    maps: DepthMaps
    mesh: TriMesh | None
    facts: RunFacts
    map_data: MapData
    coverage: Coverage
    fits: tuple[PhotoFit, ...]
    gaps: tuple[Gap, ...]
    picture_px: int

    @property
    def unit(self) -> str:
        """Of lengths in the world: "m", or "model units"."""
        return self.georeference.frame.unit

    @property
    def registered(self) -> int:
        """Number of photos in the model."""
        return len(self.fits)
