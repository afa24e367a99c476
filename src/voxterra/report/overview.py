"""First page: the figures that matter, warnings, CRS and accuracy, components."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from voxterra.core.gaps import distance_apart_m
from voxterra.core.georeference import Placement
from voxterra.core.sites import sites_of
from voxterra.io.metadata import vertical_datum
from voxterra.report.charts import number
from voxterra.report.findings import Findings
from voxterra.report.markup import Content, el, section, table


def tiles(found: Findings) -> Element:
    """The figures that matter, large."""
    coverage = found.facts.metadata.get("coverage", {})
    pixels = [view.pixel for view in found.coverage.views if view.pixel]
    errors = [fit.errors_px for fit in found.fits if len(fit.errors_px)]
    seconds = sum(stage.seconds for stage in found.facts.stages)
    shown = [(f"{found.registered} of {len(found.photos)}", "photos in the model")]
    if pixels:
        shown.append((length(float(np.median(pixels)), found.unit), "pixel on the surface"))
    if "area_measured" in coverage:
        area, unit = coverage["area_measured"], coverage["area_unit"].replace("square ", "")
        shown.append((f"{number(area)} {unit}²", "measured from above"))
    if errors:
        shown.append((f"{np.median(np.concatenate(errors)):.2f} px", "median reprojection error"))
    if found.coverage.above is not None:
        share = found.coverage.above.share(3)
        shown.append((f"{100 * share:.0f} %", "of the surface in 3 or more photos"))
    shown.append((duration(seconds), "of computing"))
    return el(
        "div",
        [el("div", el("strong", value), el("span", name)) for value, name in shown],
        class_="tiles",
    )


def warnings(found: Findings) -> Element | None:
    """Warnings of every stage; None without any."""
    lines = [
        el("li", el("b", f"{stage.name}: "), message)
        for stage in found.facts.stages
        for message in stage.warnings
    ]
    return section("Warnings", el("ul", lines, class_="warnings")) if lines else None


def accuracy(found: Findings) -> Element:
    """CRS, heights, accuracy, and how each component was placed."""
    frame, stated = found.georeference.frame, found.facts.metadata.get("accuracy", {})
    crs = "none: a local frame" if frame.is_local else frame.describe().split(",")[0]
    scale = "metres" if frame.scale_known else "unknown: one unit is not known to be a metre"
    rows: list[tuple[Content, Content]] = [
        ("CRS", crs),
        ("Heights", vertical_datum(frame)),
        ("Scale", scale),
        ("Accuracy", stated.get("statement", "not stated")),
        ("Check points", _check_points(stated.get("check_points", 0))),
    ]
    tie = stated.get("datum_tie_accuracy_m")
    if tie:
        rows.append(("Tie of the CRS to WGS 84", f"{number(tie)} m, as PROJ states"))
    parts: list[Content] = [el("dl", [(el("dt", k), el("dd", v)) for k, v in rows])]
    return section("Place and accuracy", parts, _components(found))


def _check_points(count: int) -> str:
    if count:
        return f"{count} were held out"
    return "none were used: only surveyed points held out could confirm the above"


def _components(found: Findings) -> list[Element]:
    georeference = found.georeference
    placed_by = {"gps+attitude": "GPS and attitudes", "gps": "GPS", "none": "nothing"}
    folders = {i: site.folder for site in sites_of(georeference) for i in site.components}
    rows = []
    for index, (component, placement) in enumerate(
        zip(georeference.components, georeference.placements, strict=True)
    ):
        shown = any(component is c for c in georeference.mappable_components)
        rows.append(
            (
                f"{georeference.number(index)}",
                f"{len(component.images)}",
                placed_by[placement.method],
                _plus_minus(placement.position_sigma_horizontal_m, "m"),
                _plus_minus(placement.position_sigma_vertical_m, "m"),
                _plus_minus(placement.tilt_sigma_deg, "°"),
                _plus_minus(placement.scale_sigma, "%", 100.0),
                gps_fit(placement),
                "in the products" if shown else f"apart: in {folders.get(index)}",
            )
        )
    head = ("component", "photos", "placed by", "position", "height", "tilt", "scale",
            "GPS residuals, RMS", "")  # fmt: skip
    parts = [table(head, rows, numbers=(1,))]
    parts += _lags(found)
    if len(rows) > 1:
        parts.append(_gaps(found))
    parts.append(
        el("p", "± is one standard deviation. Residuals are model minus GPS: they measure the GPS, "
           "not the model.", class_="quiet")
    )  # fmt: skip
    return parts


def _lags(found: Findings) -> list[Element]:
    """Sentences about corrected lags of the positions, one a component."""
    lines = []
    for index, placement in enumerate(found.georeference.placements):
        lag = placement.lag
        if lag is None:
            continue
        side = "late" if lag.distance_m > 0 else "early"
        time = "" if lag.seconds is None else f" (about {abs(lag.seconds):.1f} s)"
        lines.append(
            el("p", f"The positions of component {found.georeference.number(index)} were recorded "
               f"{side}, {abs(lag.distance_m):.2f} ± {lag.sigma_m:.2f} m along the path{time}. "
               "Model and residuals are corrected for that: photos left out of the fit were "
               f"{lag.left_out_without_m:.2f} m from their positions before, and "
               f"{lag.left_out_with_m:.2f} m after.")
        )  # fmt: skip
    return lines


def _gaps(found: Findings) -> Element:
    """Sentences about the gaps between components, and what to photograph to join them."""
    lines, pairs, number = [], set(), found.georeference.number
    for gap in found.gaps:
        if (gap.other, gap.component) in pairs:
            continue
        pairs.add((gap.component, gap.other))
        lines.append(
            el("li", f"Component {number(gap.component)} is {length(gap.distance, found.unit)} "
               f"from component {number(gap.other)}. Photos that overlap from {gap.photo} to "
               f"{gap.other_photo} would join them.")
        )  # fmt: skip
    for index in range(len(found.georeference.placements)):
        distance = distance_apart_m(found.georeference, index)
        if distance is not None:
            lines.append(
                el("li", f"Component {number(index)} is {length(distance, 'm')} from the others, "
                   "too far for one map.")
            )  # fmt: skip
    lost = [
        number(index)
        for index, placement in enumerate(found.georeference.placements)
        if found.georeference.frame.is_local or not placement.placed
    ]
    if len(lost) > 1 or (lost and len(lost) < len(found.georeference.placements)):
        names = ", ".join(str(n) for n in lost)
        which = f"component {names} is" if len(lost) == 1 else f"components {names} are"
        lines.append(
            el("li", f"The position of {which} unknown: give photos GPS positions, or take photos "
               "that show two components at once.")
        )  # fmt: skip
    return el("div", el("p", "Photos of different components do not overlap:"), el("ul", lines))


def gps_fit(placement: Placement) -> str:
    """How well the recorded positions fit, such as "0.42 m horizontal; 1 set aside"."""
    if placement.rmse_horizontal_m is None:
        return "no GPS"
    text = f"{placement.rmse_horizontal_m:.2f} m horizontal"
    if placement.rmse_vertical_m is not None:
        text += f", {placement.rmse_vertical_m:.2f} m vertical"
    lag = placement.lag
    if lag is not None:
        text += f", after a lag of {lag.distance_m:.2f} ± {lag.sigma_m:.2f} m was corrected"
    outliers = len(placement.outliers)
    return text + (f"; {outliers} set aside" if outliers else "")


def _plus_minus(value: float | None, unit: str, factor: float = 1.0) -> str:
    return "unknown" if value is None else f"±{factor * value:.2g}\u00a0{unit}"


def length(value: float, unit: str) -> str:
    """Such as "7.2 cm", "12.5 m", "3.4 km" or "0.021 model units"."""
    if unit == "m" and value < 1:
        return f"{number(100 * value)} cm"
    if unit == "m" and value >= 2000:
        return f"{number(value / 1000)} km"
    return f"{number(value)} {unit}"


def duration(seconds: float) -> str:
    """Such as "45 s", "7 min" or "2 h 10 min"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def subtitle(metadata: Any) -> str:
    """Version and date of the run."""
    version = metadata.get("software", {}).get("voxterra") or ""
    created = str(metadata.get("created", ""))[:16].replace("T", " ")
    return " · ".join(part for part in (f"Voxterra {version}".strip(), created) if part)
