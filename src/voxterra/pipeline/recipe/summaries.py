"""One line about each stage's result, for people."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.gaps import component_gaps
from voxterra.core.georeference import Georeference, Placement
from voxterra.core.mesh import TriMesh
from voxterra.core.photos import PhotoSet
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.registration import UnregisteredPhoto
from voxterra.core.sites import sites_of
from voxterra.core.surface_source import SurfaceSource
from voxterra.core.wording import listed
from voxterra.io.depth_store import DepthStore
from voxterra.pipeline.folder.fingerprint import canonical
from voxterra.pipeline.folder.workspace import Workspace
from voxterra.pipeline.recipe.listing import hashes_of
from voxterra.pipeline.recipe.plugins import backend_sections
from voxterra.pipeline.recipe.surface_files import surface_facts
from voxterra.report.facts import StageFacts


def describe_photos(photos: PhotoSet) -> str:
    """Such as "18 photos, 18 with GPS, 2 files left out"."""
    with_gps = sum(photo.gps is not None for photo in photos.photos)
    text = f"{len(photos)} photo{'s' * (len(photos) != 1)}, {with_gps} with GPS"
    count = len(photos.rejected)
    return text + (f", {count} file{'s' * (count != 1)} left out" if count else "")


def about_single_files(photos: PhotoSet) -> tuple[str, ...]:
    """A warning about the files left out, and one about the photos that have warnings."""
    dropped = [f"{file.name} ({file.reason.rstrip('.')})" for file in photos.rejected]
    doubtful = [f"{p.id} ({'; '.join(p.warnings)})" for p in photos.photos if p.warnings]
    found = []
    if dropped:
        found.append(f"{len(dropped)} file{'s' * (len(dropped) != 1)} left out: {listed(dropped)}")
    if doubtful:
        plural = "s have" if len(doubtful) != 1 else " has"
        found.append(f"{len(doubtful)} photo{plural} warnings: {listed(doubtful)}")
    return tuple(found)


def describe_reconstruction(components: Sequence[Reconstruction], photos: PhotoSet) -> str:
    """Such as "18 of 18 photos, 12,345 points, 0.71 px"."""
    registered = sum(len(c.images) for c in components)
    points = sum(len(c.points) for c in components)
    errors = sum(float(c.points.errors_px.sum()) for c in components)
    text = f"{registered} of {len(photos)} photos, {points:,} points"
    text += f", {errors / points:.2f} px reprojection error" if points else ""
    return text + (f", {len(components)} components" if len(components) > 1 else "")


def about_unregistered(photos: Sequence[UnregisteredPhoto], photo_count: int) -> tuple[str, ...]:
    """A warning for each kind of reason: photos that are not registered, why, and what to shoot."""
    found = []
    for kind in dict.fromkeys(photo.kind for photo in photos):
        same = [photo for photo in photos if photo.kind == kind]
        names = listed([f"{photo.name} ({photo.reason})" for photo in same])
        are = "are" if len(same) != 1 else "is"
        found.append(
            f"{len(same)} of {photo_count} photos {are} not registered: {names}. {same[0].advice}"
        )
    return tuple(found)


def left_out(georeference: Georeference) -> tuple[str, ...]:
    """A warning for each other site, which is not in the surface and maps of the main one; its
    components are numbered as in the warnings of the placement."""
    found = []
    for site in sites_of(georeference):
        count = sum(len(georeference.components[index].images) for index in site.components)
        verb = "is" if len(site.components) == 1 else "are"
        found.append(
            f"{site.describe()} ({count} photos) {verb} not placed with the others and so not in "
            f"their surface and maps; surface, maps and all other products of it are in "
            f"products/{site.folder}"
        )
    return tuple(found)


def about_gaps(georeference: Georeference) -> tuple[str, ...]:
    """A warning for each gap between components on the map: how wide, how well known."""
    found = []
    for gap in component_gaps(georeference):
        text = (
            f"components {georeference.number(gap.first)} and {georeference.number(gap.second)} "
            "have no photos in common; each is placed by its "
            f"own GPS, {gap.distance_m:.0f} m apart ({gap.photos[0]} to {gap.photos[1]})"
        )
        if gap.sigma_horizontal_m is not None:
            text += f", known to ±{gap.sigma_horizontal_m:.1f} m"
            if gap.sigma_vertical_m is not None:
                text += f" and ±{gap.sigma_vertical_m:.1f} m in height"
        found.append(f"{text}; photos that lead from one to the other would join them")
    return tuple(found)


def describe_georeference(georeference: Georeference) -> str:
    """How well GPS and model agree: the run's statement of accuracy."""
    shown = georeference.mappable_indices()
    fits = [(i, _fit(georeference.placements[i])) for i in shown]
    if len(shown) > 1:
        number = georeference.number
        fits = [(i, f"; component {number(i)}: {text[2:]}") for i, text in fits if text]
    frame = georeference.frame
    if frame.is_local:
        return frame.describe()
    return "".join(text for _, text in fits).removeprefix("; ") or "placed on Earth"


def _fit(placement: Placement) -> str:
    used = sum(not residual.outlier for residual in placement.residuals)
    if placement.rmse_horizontal_m is None:
        return ""
    text = f"; GPS fit {placement.rmse_horizontal_m:.2f} m RMS horizontal"
    if placement.rmse_vertical_m is not None:
        text += f", {placement.rmse_vertical_m:.2f} m vertical"
    text += f" over {used} of {len(placement.residuals)} photos"
    if placement.lag is not None:
        text += f", a lag of {placement.lag.distance_m:.2f} m along the path corrected"
    if placement.position_sigma_horizontal_m is not None:
        text += f"; absolute position ±{placement.position_sigma_horizontal_m:.1f} m"
        if placement.position_sigma_vertical_m is not None:
            text += f", height ±{placement.position_sigma_vertical_m:.1f} m"
        # Shown where they would spoil a measurement; metadata.json always has them.
        if placement.scale_sigma is not None and placement.scale_sigma > 0.01:
            text += f", scale ±{100 * placement.scale_sigma:.0f} %"
        if placement.tilt_sigma_deg is not None and placement.tilt_sigma_deg > 1.0:
            text += f", tilt ±{placement.tilt_sigma_deg:.0f}°"
        text += " (1 sigma, no check points)"
    return text


def describe_depth(maps: DepthStore) -> str:
    """Such as "18 depth maps of about 800x600 px; 71% of their pixels measured, 9.3% weak"; with
    what made them where stereo did not."""
    if not maps.views:
        return "no depth maps"
    first = maps.load(0).depth.shape
    text = f"{len(maps.views)} depth maps of about {first[1]}x{first[0]} px"
    measured, *filled = maps.source_names
    if measured != "stereo":
        text += f" by {measured}"
    shares = maps.support_shares()
    text += f"; {shares[SurfaceSource.MEASURED]:.0%} of their pixels measured"
    text += _other_shares(shares)
    for name, share in zip(filled, maps.shares[1:]):
        text += f"; {share:.1%} of all pixels filled by {name}, not measured"
    return text


def _other_shares(shares: NDArray[np.float64]) -> str:
    """Such as ", 7.5% weak": those of `shares`, by `SurfaceSource`, that are not measured."""
    others = (SurfaceSource.WEAK, SurfaceSource.COARSE, SurfaceSource.FILLED)
    return "".join(f", {shares[s]:.1%} {s.name.lower()}" for s in others if shares[s] > 0)


def describe_area(components: Sequence[Reconstruction], placed: Georeference) -> str:
    """Such as "; 7 of 18 photos see the area of interest"."""
    seeing, of = (sum(len(c.images) for c in x) for x in (components, placed.mappable_components))
    return f"; {seeing} of {of} photos see the area of interest"


def describe_mesh(mesh: TriMesh) -> str:
    """Such as "150,000 faces (7.5% weak, 0.3% filled), texture 4096x4096 px"."""
    text = f"{len(mesh.faces):,} faces"
    if mesh.face_source is not None:
        counts = np.bincount(mesh.face_source, minlength=len(SurfaceSource))
        others = _other_shares(counts / len(mesh.faces))
        text += f" ({others[2:]})" if others else ""
    if mesh.texture is not None:
        height, width = mesh.texture.image.shape[:2]
        text += f", texture {width}x{height} px"
    return text


def run_info(config: Any, workspace: Workspace, stages: Sequence[str]) -> dict[str, Any]:
    """Provenance of a model for `metadata.json`: versions, options, timings.

    Paths of this machine are left out.
    """
    timings = {}
    for name in stages:
        record = workspace.record(name)
        if record is not None and name != stages[-1]:
            timings[name] = {
                "seconds": record.seconds,
                "peak_rss_bytes": record.peak_rss_bytes,
                "summary": record.summary,
                "fingerprint": record.fingerprint,
            }
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": {"python": platform.python_version()},  # packages are added by the products
        "platform": f"{sys.platform} {platform.machine()}",
        "config": canonical(_that_counts(config), hashes_of(workspace).of_option),
        "surface": surface_facts(workspace.stage_dir("surface")),
        "stages": timings,
    }


def stage_facts(workspace: Workspace, stages: Sequence[str]) -> tuple[StageFacts, ...]:
    """Facts for the report about the `stages` that have a result."""
    records = [(name, workspace.record(name)) for name in stages]
    return tuple(
        StageFacts(name, r.seconds, r.peak_rss_bytes, r.summary, r.warnings)
        for name, r in records
        if r is not None
    )


def _that_counts(config: Any) -> dict[str, Any]:
    """Options by section, without those of backends that were not used and of the report."""
    unused = {"report", "machine", *backend_sections(but=config.backend)}
    return {f.name: getattr(config, f.name) for f in fields(config) if f.name not in unused}
