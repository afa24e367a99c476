"""Maps as SVG: footprints and cameras, overlap, GPS residuals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from voxterra.core.raster import Grid
from voxterra.report.charts import number, round_down, ticks
from voxterra.report.coverage import SeenFromAbove
from voxterra.report.map_data import Bounds, MapCamera, MapData
from voxterra.report.markup import el
from voxterra.report.pictures import inline

Float = NDArray[np.float64]

WIDTH = 500.0
_EDGE = 22.0  # for the coordinates beside the map
_TALLEST = 640.0
_TICK_EVERY = 120.0

# Red and blue with white between, which colour-blind people can distinguish.
CLASSES: tuple[tuple[int, int | None, str], ...] = (
    (0, 0, "#3b3b3b"),
    (1, 1, "#b2182b"),
    (2, 2, "#ef8a62"),
    (3, 4, "#fddbc7"),
    (5, 9, "#67a9cf"),
    (10, None, "#2166ac"),
)
COMPONENT_COLORS = ("#e8590c", "#1971c2", "#9c36b5", "#0c8599", "#846358", "#5c940d")


def component_color(index: int) -> str:
    """Colour of a component's cameras."""
    return COMPONENT_COLORS[index % len(COMPONENT_COLORS)]


def class_name(least: int, most: int | None) -> str:
    """Such as "3 to 4"."""
    if most is None:
        return f"{least} or more"
    return f"{least}" if least == most else f"{least} to {most}"


class Map:
    """A north-up map of `bounds`, with its scale, to put layers on."""

    def __init__(self, bounds: Bounds, unit: str, *, on_earth: bool):
        self.bounds, self.unit, self.on_earth = bounds, unit, on_earth
        left, bottom, right, top = bounds
        inner = WIDTH - _EDGE
        self.scale = min(inner / (right - left), (_TALLEST - _EDGE) / (top - bottom))
        self.width = (right - left) * self.scale
        self.height = (top - bottom) * self.scale
        self.layers: list[Element] = []

    def at(self, xy: Float) -> tuple[float, float]:
        """Place in the picture of map coordinates (2,)."""
        x = (float(xy[0]) - self.bounds[0]) * self.scale
        y = (self.bounds[3] - float(xy[1])) * self.scale
        return round(x, 2), round(y, 2)

    def holds(self, xy: Float) -> bool:
        """Whether map coordinates (2,) are on the map."""
        left, bottom, right, top = self.bounds
        return bool(left <= xy[0] <= right and bottom <= xy[1] <= top)

    def path(self, points: Float) -> str:
        """SVG points of (N, 2) map coordinates."""
        return " ".join(f"{x},{y}" for x, y in map(self.at, points))

    def picture(self, address: str, grid: Grid, name: str | None = None) -> None:
        """Lay a picture of a grid under what follows; `name` lets other maps use it again."""
        x, y = self.at(np.array([grid.left, grid.top]))
        size = grid.cell_size * self.scale
        self.layers.append(
            el("image", href=address, x=x, y=y, width=grid.width * size,
               height=grid.height * size, preserveAspectRatio="none", id=name)
        )  # fmt: skip

    def svg(self, name: str) -> Element:
        """The map with its border, coordinates, scale bar and north."""
        box = {"width": self.width, "height": self.height}
        clip = f"clip-{name}"
        return el(
            "svg",
            el("defs", el("clipPath", el("rect", **box), id=clip)),
            el("rect", class_="ground", **box),
            el("g", self.layers, clip_path=f"url(#{clip})"),
            el("rect", class_="frame", **box),
            self._coordinates(),
            self._scale_bar(),
            self._north() if self.on_earth else None,
            viewBox=f"-1 -1 {self.width + _EDGE + 1:.1f} {self.height + _EDGE + 12:.1f}",
            class_="map", role="img", style=f"max-width:{self.width + _EDGE:.0f}px",
        )  # fmt: skip

    def _coordinates(self) -> list[Element]:
        left, bottom, right, top = self.bounds
        shown = []
        for value in ticks(left, right, round(self.width / _TICK_EVERY)):
            x, y = self.at(np.array([value, bottom]))
            shown.append(el("line", x1=x, x2=x, y1=y, y2=y - 5, class_="tick"))
            shown.append(el("text", _plain(value), x=x, y=y + 14, text_anchor="middle"))
        for value in ticks(bottom, top, round(self.height / _TICK_EVERY)):
            x, y = self.at(np.array([right, value]))
            shown.append(el("line", x1=x, x2=x - 5, y1=y, y2=y, class_="tick"))
            turn = f"rotate(-90 {x + 14:.1f} {y:.1f})"
            shown.append(
                el("text", _plain(value), x=x + 14, y=y, text_anchor="middle", transform=turn)
            )
        return shown

    def _scale_bar(self) -> Element:
        length = round_down((self.bounds[2] - self.bounds[0]) / 4)
        y, w = self.height + _EDGE + 8, length * self.scale
        return el(
            "g",
            el("path", d=f"M1,{y - 4:.1f}v4h{w:.1f}v-4", class_="bar-line"),
            el("text", f"{number(length)} {self.unit}", x=w + 8, y=y + 1),
            class_="scale",
        )

    def _north(self) -> Element:
        x = self.width - 20
        return el(
            "g",
            el("circle", cx=x, cy=22, r=15, class_="plate"),
            el("path", d=f"M{x:.1f},10l5,16l-5,-4l-5,4z", class_="north"),
            el("text", "N", x=x, y=35, text_anchor="middle"),
            class_="scale",
        )


def add_footprints(shown: Map, map_data: MapData, cameras: Sequence[MapCamera]) -> None:
    """Outlines of the photos on the ground, where they were taken, and photos that failed."""
    for camera in cameras:
        if camera.footprint is not None:
            outline = el("title", camera.name)
            shown.layers.append(
                el("polygon", outline, points=shown.path(camera.footprint), class_="footprint",
                   stroke=component_color(camera.component))
            )  # fmt: skip
    add_cameras(shown, cameras)
    for name, xy in map_data.failed:
        if not shown.holds(xy):
            continue
        x, y = shown.at(xy)
        cross = f"M{x - 5},{y - 5}l10,10m0,-10l-10,10"
        shown.layers.append(el("path", el("title", f"{name}: failed"), d=cross, class_="failed"))


def add_cameras(shown: Map, cameras: Sequence[MapCamera]) -> None:
    """A dot a camera; a line shows where it looks, unless down."""
    for camera in cameras:
        x, y = shown.at(camera.xy)
        color = component_color(camera.component)
        if camera.heading is not None:
            dx, dy = 14 * camera.heading[0], -14 * camera.heading[1]
            line = f"M{x},{y}l{dx:.1f},{dy:.1f}"
            shown.layers.append(el("path", d=line, stroke=color, class_="heading"))
        dot = el("title", camera.name)
        shown.layers.append(el("circle", dot, cx=x, cy=y, r=3, fill=color, class_="camera"))


def add_gap(shown: Map, start: Float, stop: Float, label: str) -> None:
    """A dashed line between two components, with how long it is."""
    (x1, y1), (x2, y2) = shown.at(start), shown.at(stop)
    line = el("line", x1=x1, y1=y1, x2=x2, y2=y2, class_="gap")
    text = el("text", label, x=(x1 + x2) / 2, y=(y1 + y2) / 2 - 5, text_anchor="middle",
              class_="gaptext")  # fmt: skip
    shown.layers += [line, text]


def add_place(shown: Map, xy: Float, label: str, component: int) -> None:
    """A dot with its name, in the colour of a component."""
    x, y = shown.at(xy)
    shown.layers.append(
        el("circle", cx=x, cy=y, r=5, fill=component_color(component), class_="camera")
    )
    name = el("text", label, x=x, y=y - 10, text_anchor="middle", class_="gaptext")
    shown.layers.append(name)


def add_residuals(shown: Map, cameras: Sequence[MapCamera], longest_px: float = 45.0) -> float:
    """Lines from the recorded to the found position of each photo, drawn longer than they are.

    Returns:
        how many times longer.
    """
    known = [c for c in cameras if c.gps is not None]
    lengths = [float(np.linalg.norm(c.xy - c.gps)) for c in known if c.gps is not None]
    usual = float(np.quantile(lengths, 0.9)) if lengths else 0.0
    exact = longest_px / (usual * shown.scale) if usual else 1.0
    factor = max(round_down(exact), 1.0)
    for camera in known:
        if camera.gps is None:
            continue
        outlier = camera.residual is not None and camera.residual.outlier
        x, y = shown.at(camera.gps)
        ex, ey = shown.at(camera.gps + factor * (camera.xy - camera.gps))
        kind = "residual outlier" if outlier else "residual"
        label = el("title", f"{camera.name}{' (set aside)' if outlier else ''}")
        shown.layers.append(el("line", label, x1=x, y1=y, x2=ex, y2=ey, class_=kind))
        shown.layers.append(el("circle", cx=x, cy=y, r=2.4, class_=kind))
    return factor


def overlap_picture(above: SeenFromAbove) -> str:
    """A data address of the overlap in the colours of `CLASSES`; clear where no surface is."""
    rgba = np.zeros((*above.counts.shape, 4), np.uint8)
    for least, most, color in CLASSES:
        chosen = above.counts >= least
        if most is not None:
            chosen &= above.counts <= most
        rgba[chosen] = [*bytes.fromhex(color[1:]), 255]
    rgba[~np.isfinite(above.heights)] = 0
    return inline(rgba)


def class_legend(above: SeenFromAbove) -> Element:
    """What the colours of the overlap mean, with the share of the surface in each."""
    parts = []
    for least, most, color in CLASSES:
        share = above.share(least, most)
        if share > 0:
            swatch = el("i", style=f"background:{color}")
            parts.append(el("span", swatch, f"{class_name(least, most)}: {_share(share)}"))
    return el("div", parts, class_="legend")


def component_legend(
    shown: Map, map_data: MapData, cameras: Sequence[MapCamera], number: Callable[[int], int]
) -> Element | None:
    """Colours of several components, and the cross of failed photos; how many are outside.

    `number` gives that of a component by its index.
    """
    indices = sorted({camera.component for camera in cameras})
    parts = []
    if len(indices) > 1:
        for index in indices:
            swatch = el("i", style=f"background:{component_color(index)}")
            parts.append(el("span", swatch, f"component {number(index)}"))
    inside = sum(shown.holds(xy) for _, xy in map_data.failed)
    if inside:
        parts.append(el("span", el("b", "×", class_="cross"), "failed photo, at its GPS position"))
    if elsewhere := len(map_data.failed) - inside:
        parts.append(el("span", f"failed photos with GPS outside this map: {elsewhere}"))
    return el("div", parts, class_="legend") if parts else None


def _share(share: float) -> str:
    return "<1 %" if share < 0.005 else f"{100 * share:.0f} %"


def _plain(value: float) -> str:
    return f"{value:.10g}"
