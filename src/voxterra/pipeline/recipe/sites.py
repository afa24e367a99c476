"""Other sites of a run from its georeference: their options, and facts for the report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from voxterra.core.sites import Site, sites_of
from voxterra.pipeline.engine.sites import failed, site_workspace
from voxterra.pipeline.folder.workspace import Workspace
from voxterra.report.facts import SiteFacts


def find_sites(workspace: Workspace, config: Any) -> tuple[tuple[Site, Any], ...]:
    """Other sites by the georeference of a run, and the options of each.

    A CRS, boxes in world coordinates and the line of a facade are meant for the site of most
    photos.

    Raises:
        FormatError: the georeference is damaged.
    """
    from voxterra.io.georeference import read_placements

    path = workspace.stage_dir("georef") / "georeference.json"
    return tuple((site, _options(config, site)) for site in sites_of(read_placements(path)))


def _options(config: Any, site: Site) -> Any:
    from voxterra.report.write import TITLE

    title = f"{config.report.title or TITLE}: {site.describe()}"
    return replace(
        config,
        map=replace(config.map, crs=None),
        surface=replace(config.surface, bounds_m=None),
        voxels=replace(config.voxels, bound=None),
        products=replace(config.products, facade_line=None),
        report=replace(config.report, title=title),
    )


def site_facts(workspace: Workspace, config: Any) -> tuple[SiteFacts, ...]:
    """Facts about the other sites for the report."""
    found = []
    for site, _ in find_sites(workspace, config):
        own = site_workspace(workspace, site)
        found.append(
            SiteFacts(
                site,
                own.products_dir,
                own.stage_dir("mesh") / "mesh.npz",
                own.stage_dir("depth"),
                failed(own),
            )
        )
    return tuple(found)
