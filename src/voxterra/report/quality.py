"""Photos one by one, reprojection errors, depth."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree.ElementTree import Element

import numpy as np

from voxterra.core.photos import Photo
from voxterra.report import charts
from voxterra.report.findings import Findings
from voxterra.report.markup import Content, el, figure, section, table
from voxterra.report.overview import length

UNKNOWN_REASON = "It overlaps too little with the others: more overlap, or more texture, is needed."


def failed_section(found: Findings) -> Element | None:
    """Photos that are not registered and files that were left out, each with its reason."""
    registered = {fit.name for fit in found.fits}
    listed = found.facts.metadata.get("photos", [])
    why = {p["id"]: p["unregistered"] for p in listed if p.get("unregistered")}
    rows: list[tuple[Content, ...]] = []
    for photo in found.photos.photos:
        if photo.id not in registered:
            reason = _sentences(why[photo.id]) if photo.id in why else UNKNOWN_REASON
            rows.append((photo.id, "not registered", reason, _remarks(photo)))
    rows += [(f.name, "left out", f.reason, "") for f in found.photos.rejected]
    if not rows:
        return None
    head = ("file", "", "why", "remarks")
    return section("Photos that are not in the model", table(head, rows))


def _sentences(why: Mapping[str, str]) -> str:
    """The reason why a photo is not registered, and what to shoot."""
    reason = why["reason"][:1].upper() + why["reason"][1:]
    return f"{reason}. {why.get('advice', '')}".strip()


def photo_section(found: Findings) -> Element:
    """A row a photo in the model."""
    by_id = found.photos.by_id()
    depth = {view.name: view for view in found.coverage.views}
    residuals = {r.name: r for p in found.georeference.placements for r in p.residuals}
    many = len(found.georeference.components) > 1
    rows = []
    for fit in sorted(found.fits, key=lambda f: f.name):
        view, residual, photo = depth.get(fit.name), residuals.get(fit.name), by_id.get(fit.name)
        gps: tuple[Content, ...] = ("", "") if residuals else ()
        if residual is not None:
            aside = " (set aside)" if residual.outlier else ""
            flat = f"{np.hypot(residual.east_m, residual.north_m):.2f}"
            up = "" if residual.up_m is None else f"{round(residual.up_m, 2) + 0.0:+.2f}"
            gps = (flat + aside, up)
        rows.append(
            (
                fit.name,
                *((f"{found.georeference.number(fit.component)}",) if many else ()),
                f"{len(fit.errors_px):,}",
                "" if fit.median_px is None else f"{fit.median_px:.2f}",
                *gps,
                "" if view is None else f"{100 * view.known:.0f}",
                "" if view is None or not view.known else f"{view.confidence:.2f}",
                _remarks(photo),
            )
        )
    head = (
        *("photo", *(("component",) if many else ()), "points", "error px"),
        *(("GPS m", "up m") if residuals else ()),
        *("depth %", "confidence", "remarks"),
    )
    numbers = tuple(range(1, len(head) - 1))
    note = (
        "points: sparse points it sees; error: median reprojection error; depth: share of its "
        "pixels with one"
    )
    if residuals:
        note += "; GPS: how far the model has it from the recorded position, horizontally and up"
        if any(placement.lag is not None for placement in found.georeference.placements):
            note += ", after the lag of the positions was taken off"
    return section("Photos in the model", el("p", f"{note}.", class_="quiet"),
                   table(head, rows, numbers=numbers))  # fmt: skip


def _remarks(photo: Photo | None) -> str:
    if photo is None:
        return ""
    return "; ".join([*photo.warnings, *(("masked",) if photo.mask_path else ())])


def reprojection_section(found: Findings) -> Element:
    """Reprojection errors of the sparse points."""
    fits = sorted(found.fits, key=lambda f: f.name)
    errors = [fit.errors_px for fit in fits if len(fit.errors_px)]
    if not errors:
        return section("Reprojection errors", el("p", "There are no sparse points."))
    every = np.concatenate(errors)
    share = float((every < 1.0).mean())
    points = sum(len(c.points) for c in found.georeference.components)
    text = (
        f"{len(every):,} observations of {points:,} sparse points: median {np.median(every):.2f} "
        f"px, RMS {np.sqrt((every**2).mean()):.2f} px, {share:.0%} below one pixel. Pixels are "
        "those of the photos as delivered."
    )
    parts = [
        figure(
            charts.histogram(every, x_title="reprojection error [px]", y_title="observations"),
            "All observations, up to the 99th percentile.",
        ),
        figure(
            charts.columns([f.name for f in fits], [f.median_px for f in fits], y_title="px"),
            "Median error by photo. One much higher than the others was badly placed or moved.",
        ),
    ]
    return section("Reprojection errors", el("p", text), el("div", parts, class_="plates"))


def depth_section(found: Findings) -> Element:
    """Share of each photo with a depth, and its confidence."""
    views = sorted(found.coverage.views, key=lambda v: v.name)
    if not views:
        return section("Depth", el("p", "There are no depth maps."))
    known = np.array([v.known for v in views])
    sure = [v for v in views if v.known]
    text = f"{len(views)} depth maps; {known.mean():.0%} of their pixels have a depth"
    if sure:
        pixel = float(np.median([v.pixel for v in sure]))
        confidence = float(
            np.average([v.confidence for v in sure], weights=[v.known for v in sure])
        )
        measured = float(np.mean([v.measured for v in views]))
        distance = float(np.median([v.median_depth for v in sure]))
        text += (
            f" (from {known.min():.0%} to {known.max():.0%} a photo), {measured:.0%} one that "
            f"several photos agree on. Mean confidence {confidence:.2f}. Median distance "
            f"{length(distance, found.unit)}: a pixel of the photos as delivered shows "
            f"{length(pixel, found.unit)} of the surface"
        )
    names = [v.name for v in views]
    parts = [
        figure(
            charts.columns(names, [100 * v.known for v in views], y_title="%", top=100.0),
            "Share of each photo's pixels with a depth.",
        ),
        figure(
            charts.columns(names, [v.confidence if v.known else None for v in views],
                           y_title="confidence", top=1.0),
            "Mean confidence by photo, of 1.",
        ),
    ]  # fmt: skip
    return section("Depth", el("p", f"{text}."), el("div", parts, class_="plates"))
