"""`report.html`: results of a run in one file that needs no network."""

from __future__ import annotations

from pathlib import Path

from voxterra.core.depth import DepthMaps
from voxterra.core.footprint import ground_points
from voxterra.core.georeference import Georeference
from voxterra.core.mesh import TriMesh
from voxterra.core.photos import PhotoSet
from voxterra.core.progress import Progress, no_progress, part
from voxterra.io.files.atomic import atomic_path
from voxterra.report.closing import (
    option_section,
    product_section,
    surface_section,
    timing_section,
)
from voxterra.report.config import ReportConfig, check
from voxterra.report.coverage import survey
from voxterra.report.facts import RunFacts
from voxterra.report.findings import Findings
from voxterra.report.map_data import map_data_of
from voxterra.report.markup import document, el
from voxterra.report.other_sites import other_sites_section
from voxterra.report.overview import accuracy, subtitle, tiles, warnings
from voxterra.report.plates import map_section, picture_section
from voxterra.report.quality import (
    depth_section,
    failed_section,
    photo_section,
    reprojection_section,
)
from voxterra.report.residuals import gaps, reprojection
from voxterra.report.style import STYLE

TITLE = "Reconstruction report"


def write_report(
    mesh: TriMesh | None,
    maps: DepthMaps,
    georeference: Georeference,
    photos: PhotoSet,
    facts: RunFacts,
    config: ReportConfig,
    *,
    path: Path,
    progress: Progress = no_progress,
) -> None:
    """Write one HTML file with maps, residuals, statistics and pictures of a run.

    It fetches nothing and runs no script: pictures are part of it, charts are SVG.

    Args:
        mesh: cleaned and textured, in world; None where the surface has none: what needs it is
            left out.
        maps: depth maps.
        georeference: frame and cameras.
        photos: of the project.
        facts: about the run.
        config: title, size of pictures.
        path: of the file, which appears whole or not at all.
        progress: of the whole.

    Raises:
        UsageError: an option out of its range.
        OutputError: the file cannot be written.
    """
    check(config)
    coverage = survey(mesh, maps, georeference.frame, progress=part(progress, 0.0, 0.6))
    progress(0.6, "residuals")
    fits = [reprojection(c, i) for i, c in enumerate(georeference.components)]
    found = Findings(
        georeference,
        photos,
        maps,
        mesh,
        facts,
        map_data_of(georeference, photos, maps.views, ground_points(mesh, georeference)),
        coverage,
        tuple(fit for component in fits for fit in component),
        gaps(georeference),
        config.picture_px,
    )
    progress(0.7, "pictures")
    text = page(found, config.title or TITLE)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    progress(1.0, "report written")


def page(found: Findings, title: str) -> str:
    """The whole HTML file."""
    body = [
        el("header", el("h1", title), el("p", subtitle(found.facts.metadata))),
        tiles(found),
        warnings(found),
        accuracy(found),
        other_sites_section(found),
        map_section(found),
        failed_section(found),
        picture_section(found),
        reprojection_section(found),
        depth_section(found),
        surface_section(found),
        photo_section(found),
        timing_section(found),
        product_section(found),
        option_section(found),
    ]
    return document([el("style", STYLE)], [b for b in body if b is not None], title=title)
