"""Surface, timings, products, options and versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element

from voxterra.core.surface_source import SurfaceSource
from voxterra.report import charts
from voxterra.report.charts import number
from voxterra.report.coverage import SeenFromAbove
from voxterra.report.findings import Findings
from voxterra.report.markup import Content, el, section, table
from voxterra.report.overview import duration


def surface_section(found: Findings) -> Element:
    """Size of the surface, and how much of the map it covers."""
    numbers = found.facts.metadata.get("coverage", {})
    made = found.facts.metadata.get("run", {}).get("surface", {})
    rows: list[tuple[Content, Content]] = []
    if made:
        rows.append(("Made by", _made_by(made)))
    mesh, above = found.mesh, found.coverage.above
    faces = (
        "none" if mesh is None else f"{len(mesh.faces):,} faces, {len(mesh.vertices):,} vertices"
    )
    rows.append(("Mesh", faces))
    if mesh is not None and mesh.texture is not None:
        height, width = mesh.texture.image.shape[:2]
        rows.append(("Texture", f"{width} × {height} px"))
    if "cloud_points" in numbers:
        rows.append(("Point cloud", f"{numbers['cloud_points']:,} points"))
    if "area_measured" in numbers:
        rows.append(("Surface model", _by_source(numbers)))
    if above is not None:
        rows.append(("Seen by", _seen(above)))
    if numbers.get("note"):
        rows.append(("Note", numbers["note"]))
    return section("Surface", el("dl", [(el("dt", k), el("dd", v)) for k, v in rows]))


def _by_source(numbers: Mapping[str, Any]) -> str:
    """Such as "cells of 0.1 m; 812 m² (96%) measured, 34 m² (4%) filled"."""
    unit = numbers["area_unit"].replace("square ", "") + "²"
    names = [source.name.lower() for source in SurfaceSource]
    areas = {name: numbers.get(f"area_{name}", 0.0) for name in names}
    whole = sum(areas.values()) or 1.0
    shown = ", ".join(
        f"{number(area)} {unit} ({area / whole:.0%}) {name}" for name, area in areas.items() if area
    )
    cell = f"{number(numbers['dsm_cell_size'])} {numbers['dsm_cell_unit']}"
    return f"cells of {cell}; {shown or 'none known'}"


def _made_by(made: Mapping[str, Any]) -> str:
    return str(made.get("made_by") or made.get("backend", "unknown"))


def _seen(above: SeenFromAbove) -> str:
    few = above.share(0, 1)
    return (
        f"three or more photos: {above.share(3):.0%} of the surface from above; two: "
        f"{above.share(2, 2):.0%}; fewer: {few:.0%}"
    )


def timing_section(found: Findings) -> Element:
    """Time, memory and summary of each stage."""
    stages = found.facts.stages
    labels = [f"{duration(s.seconds)}, {s.peak_rss_bytes / 1e9:.1f} GB" for s in stages]
    chart = charts.bars([s.name for s in stages], [s.seconds for s in stages], labels)
    rows = [(s.name, s.summary) for s in stages]
    return section("Steps", el("figure", chart), table(("step", "result"), rows))


def product_section(found: Findings) -> Element | None:
    """The files beside the report."""
    listed = found.facts.metadata.get("products", [])
    if not listed:
        return None
    rows = [
        (
            el("a", p["name"], href=quote(p["name"])),
            p["description"],
            f"{p['bytes'] / 1e6:.1f} MB",
        )
        for p in listed
    ]
    license_ = found.facts.metadata.get("license")
    note = el("p", f"Licence: {license_}") if license_ else None
    return section("Products", table(("file", "what", "size"), rows, numbers=(2,)), note)


def option_section(found: Findings) -> Element | None:
    """All options that affect results, and versions of the software."""
    config = found.facts.metadata.get("config") or {}
    groups = []
    for name, options in config.items():
        if not isinstance(options, Mapping):
            options = {name: options}
        lines = [el("div", f"{key}: ", el("b", _plain(value))) for key, value in options.items()]
        groups.append(el("div", el("h3", name), lines, class_="group"))
    software = found.facts.metadata.get("software") or {}
    versions = [el("div", f"{key}: ", el("b", _plain(v))) for key, v in software.items() if v]
    if versions:
        groups.append(el("div", el("h3", "versions"), versions, class_="group"))
    if not groups:
        return None
    return section("Options", el("div", groups, class_="options"))


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
