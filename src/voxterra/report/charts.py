"""Charts as SVG: histogram, columns, bars. Few kinds, so a plotting library would be the larger
thing; text stays text, and every column shows its name and value under the pointer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import ArrayLike

from voxterra.report.markup import el

WIDTH, HEIGHT = 500.0, 200.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 68.0, 10.0, 12.0, 40.0
_GAPLESS = 120  # columns from which on they touch


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from `low` to `high`: multiples of 1, 2 or 5 times 10^n."""
    if not high > low:
        return [low]
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def round_down(value: float) -> float:
    """The largest of 1, 2 or 5 times 10^n up to `value` (above 0)."""
    power = 10.0 ** math.floor(math.log10(value) + 1e-9)
    return float(f"{max(f for f in (1, 2, 5) if f * power <= value * (1 + 1e-9)) * power:.10g}")


def number(value: float) -> str:
    """Three digits or all digits before the point, without an exponent for sizes that occur."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "?"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}".rstrip("0").rstrip(".")


def histogram(values: ArrayLike, *, x_title: str, y_title: str, bins: int = 40) -> Element:
    """How often values occur, up to their 99th percentile; the median is marked.

    Args:
        values: (N,) not negative, N > 0.
        x_title: what they are, with the unit.
        y_title: what is counted.
        bins: of the range.
    """
    all_values = np.asarray(values, np.float64)
    high = float(np.quantile(all_values, 0.99)) or 1.0
    counts, edges = np.histogram(all_values[all_values <= high], bins=bins, range=(0.0, high))
    chart = _Axes(0.0, high, float(counts.max()) or 1.0)
    bars = [
        chart.column(a, b, float(n), f"{number(a)} to {number(b)}: {n:,}")
        for n, a, b in zip(counts, edges, edges[1:])
    ]
    median = float(np.median(all_values))
    x = chart.x(median)
    mark = [
        el("line", x1=x, x2=x, y1=_TOP, y2=HEIGHT - _BOTTOM, class_="mark"),
        el("text", f"median {number(median)}", x=x + 5, y=_TOP + 10, class_="marktext"),
    ]
    return chart.svg(bars, mark, x_title=x_title, y_title=y_title, x_ticks=ticks(0, high))


def columns(
    names: Sequence[str],
    values: Sequence[float | None],
    *,
    y_title: str,
    x_title: str = "photos, in the order of their names",
    top: float | None = None,
) -> Element:
    """A column a name; None leaves its place empty. The line is the median.

    Args:
        names: what the columns stand for, shown under the pointer.
        values: one a name, not negative.
        y_title: what they are, with the unit.
        x_title: what the names are.
        top: of the axis; None = the largest value.
    """
    known = [v for v in values if v is not None]
    chart = _Axes(0.0, float(len(names)), top or max(known, default=1.0) or 1.0)
    gap = 0.12 if len(names) < _GAPLESS else 0.0
    bars = [
        chart.column(i + gap, i + 1 - gap, value, f"{name}: {number(value)}")
        for i, (name, value) in enumerate(zip(names, values))
        if value is not None
    ]
    mark = []
    if known:
        y = chart.y(float(np.median(known)))
        mark = [el("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="mark")]
    return chart.svg(bars, mark, x_title=x_title, y_title=y_title, x_ticks=[])


def bars(names: Sequence[str], values: Sequence[float], labels: Sequence[str]) -> Element:
    """A horizontal bar a name, with a label at its end."""
    row, left, right = 24.0, 76.0, 130.0
    largest = max(values, default=1.0) or 1.0
    parts = []
    for i, (name, value, label) in enumerate(zip(names, values, labels)):
        y, length = i * row, max((WIDTH - left - right) * value / largest, 1.0)
        parts += [
            el("text", name, x=left - 8, y=y + 17, text_anchor="end"),
            el("rect", x=left, y=y + 5, width=length, height=row - 10, class_="bar"),
            el("text", label, x=left + length + 8, y=y + 17),
        ]
    height = row * max(len(names), 1)
    return el("svg", parts, viewBox=f"0 0 {WIDTH:g} {height:g}", class_="chart bars", role="img")


class _Axes:
    """Two linear axes from (`low`, 0) to (`high`, `top`)."""

    def __init__(self, low: float, high: float, top: float):
        self.low, self.high, self.top = low, high, top

    def x(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low or 1.0)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - min(value / self.top, 1.0) * (HEIGHT - _TOP - _BOTTOM)

    def column(self, start: float, stop: float, value: float, title: str) -> Element:
        x, y = self.x(start), self.y(value)
        width, height = max(self.x(stop) - x - 0.5, 0.4), HEIGHT - _BOTTOM - y
        shown = el("title", title)
        return el("rect", shown, x=x, y=y, width=width, height=height, class_="bar")

    def svg(
        self,
        bars: list[Element],
        marks: list[Element],
        *,
        x_title: str,
        y_title: str,
        x_ticks: list[float],
    ) -> Element:
        base = HEIGHT - _BOTTOM
        axis = []
        for value in ticks(0.0, self.top, 4):
            y = self.y(value)
            axis.append(el("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
            axis.append(el("text", number(value), x=_LEFT - 6, y=y + 4, text_anchor="end"))
        for value in x_ticks:
            axis.append(
                el("text", number(value), x=self.x(value), y=base + 15, text_anchor="middle")
            )
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        return el(
            "svg",
            axis,
            bars,
            el("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=base, y2=base, class_="axis"),
            marks,
            el("text", x_title, x=middle, y=HEIGHT - 6, text_anchor="middle", class_="title"),
            el("text", y_title, x=-(_TOP + base) / 2, y=12, text_anchor="middle",
               transform="rotate(-90)", class_="title"),
            viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", class_="chart", role="img",
        )  # fmt: skip
