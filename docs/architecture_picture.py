"""The picture of rooms and of the arrows between them, for `make_architecture.py`.

Lengths are in units of a hundredth of an inch, from the top left corner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path as Line
from matplotlib.textpath import TextPath

WIDTH, MARGIN, PAD, GAP = 1480.0, 28.0, 11.0, 24.0
BARS = 44.0  # the longest bar
LINE = 17.0  # height of a line of text
TITLE, TEXT, SMALL = 12.0, 9.0, 8.0  # sizes of type, in points
Pair = tuple[str, str]
INK, QUIET, WRONG, BAR = "#26323f", "#5d6b7a", "#d0021b", "#00000030"
GROUND = ("#eceef1", "#6a7683")
TINTS = (
    ("#dbe8f6", "#3d74b3"),
    ("#e5e1f4", "#7561b5"),
    ("#fdefd3", "#b8821c"),
    ("#e2f0dc", "#4c8f3c"),
    ("#d8eeee", "#2a8a8a"),
    ("#f3e0ec", "#a34d86"),
    ("#f1ead9", "#8a7442"),
)
"""Of each row: its boxes, and the arrows that leave them."""
GROUND_SHARE = 0.7
"""A room that more than this share of the others import is ground: its arrows are told in words."""


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width of a text, in units."""
    font = FontProperties(weight="bold" if bold else "normal")
    return float(TextPath((0, 0), text, size=size, prop=font).get_extents().width) * 1.04 * 100 / 72


def spread(wanted: Sequence[float], low: float, high: float, gap: float) -> list[float]:
    """Positions in order, `gap` apart if there is room, as near to `wanted` as can be."""
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    blocks: list[tuple[float, int]] = []  # sum and number of those that move together
    for i, want in enumerate(wanted):
        total, number = want - i * gap, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / number:
            total, number = total + blocks[-1][0], number + blocks[-1][1]
            blocks.pop()
        blocks.append((total, number))
    last = high - (len(wanted) - 1) * gap
    flat = [total / number for total, number in blocks for _ in range(number)]
    return [min(max(x, low), last) + i * gap for i, x in enumerate(flat)]


@dataclass
class Room:
    """A folder or a file of the package that is drawn, and where its box lies."""

    name: str
    is_folder: bool
    files: int
    lines: int
    inside: list[tuple[str, int]]
    """What it holds, and the lines of each."""
    columns: int = 1
    row: int = 0
    left: float = 0
    top: float = 0
    width: float = 0
    height: float = 0

    @property
    def title(self) -> str:
        return f"{self.name}/" if self.is_folder else self.name

    @property
    def size(self) -> list[str]:
        """Lines under the title."""
        files = [f"{self.files} module{'s' * (self.files > 1)}"] if self.is_folder else []
        return [*files, f"{self.lines:,} lines"]

    @property
    def middle(self) -> float:
        return self.left + self.width / 2

    @property
    def bottom(self) -> float:
        return self.top + self.height


@dataclass
class Arrow:
    """Who imports whom, and its way across the picture."""

    start: Room
    end: Room
    at_once: int
    later: int
    gaps: list[tuple[int, float, float]] = field(default_factory=list)
    """Rows that it crosses, and the free interval in which it does."""
    xs: list[float] = field(default_factory=list)
    """Where it leaves, crosses rows, and arrives."""

    @property
    def down(self) -> bool:
        """Others run up or sideways: no contract allows it, and without one it is a circle."""
        return self.start.row < self.end.row

    @property
    def label(self) -> str:
        return _label(self.at_once, self.later)


def _label(at_once: int, later: int) -> str:
    return f"{at_once or ''}+{later}" if later else str(at_once)


def size_boxes(rows: Sequence[Sequence[Room]], into: Sequence[Arrow], ground: set[str]) -> None:
    """Give each box a width and a height, and each row's boxes their places from left to right."""
    for row in rows:
        for room in row:
            most = 12 if len(row) > 3 else 5
            room.columns = -(-len(room.inside) // most)
            step = column_width(room) + 2 * PAD
            labels = [_label_width(arrow) for arrow in into if arrow.end is room]
            room.width = 2 * PAD + max(
                text_width(room.title, TITLE, bold=True),
                *(text_width(line, SMALL) for line in room.size),
                room.columns * step - 2 * PAD,
                max(labels, default=0) * (len(labels) - 1) + 2 * PAD,
            )
            if room.name in ground:
                room.width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
            if room.inside:
                room.columns = min(int(room.width // step), len(room.inside))
            shown = -(-len(room.inside) // max(room.columns, 1))
            room.height = _head(room) + (shown * LINE + 8 if shown else 0)
        free = WIDTH - 2 * MARGIN - sum(room.width for room in row)
        gap = max(free / (len(row) + 1), min(free / max(len(row) - 1, 1), GAP))
        left = (WIDTH - sum(room.width for room in row) - gap * (len(row) - 1)) / 2
        for room in row:
            room.left = left
            left += room.width + gap


def _head(room: Room) -> float:
    return 34 + LINE * len(room.size)


def column_width(room: Room) -> float:
    """Width of a column of a box's list: name, bar, lines."""
    return _names_width(room) + BARS + 40


def _names_width(room: Room) -> float:
    return max((text_width(name, TEXT) for name, _ in room.inside), default=0) + 10


def _label_width(arrow: Arrow) -> float:
    return text_width(arrow.label, SMALL) + 14


def route(rows: Sequence[Sequence[Room]], found: Sequence[Arrow]) -> None:
    """Find ways for the arrows: down through the gaps between boxes, apart from each other."""
    for arrow in found:
        x0, x1 = arrow.start.middle, arrow.end.middle
        first, last = arrow.start.row, arrow.end.row
        arrow.xs, arrow.gaps = [x0], []
        for i in range(first + 1, last):
            straight = x0 + (x1 - x0) * (i - first) / (last - first)
            low, high = min(
                _free(rows[i]), key=lambda gap: max(gap[0] - straight, straight - gap[1])
            )
            arrow.gaps.append((i, low, high))
            arrow.xs.append(min(max(straight, low), high))
        arrow.xs.append(x1)
    for gap in {gap for arrow in found for gap in arrow.gaps}:
        here = [(arrow, arrow.gaps.index(gap) + 1) for arrow in found if gap in arrow.gaps]
        here.sort(key=lambda way: (way[0].xs[way[1]], way[0].xs[0] + way[0].xs[-1]))
        for (arrow, i), x in zip(here, spread([a.xs[i] for a, i in here], gap[1], gap[2], 13)):
            arrow.xs[i] = x
    for room in (room for row in rows for room in row):
        for end, beside in ((0, 1), (-1, -2)):
            mine = [arrow for arrow in found if (arrow.end if end else arrow.start) is room]
            _set_ports(mine, room, end, beside)


def _set_ports(mine: list[Arrow], room: Room, end: int, beside: int) -> None:
    """Where arrows leave a box, or arrive: in the order in which they come."""
    mine.sort(key=lambda arrow: arrow.xs[beside])
    step = max((_label_width(arrow) for arrow in mine), default=0) if end else 9
    low, high = room.left + 2 * PAD, room.left + room.width - 2 * PAD
    wanted = [min(max(0.5 * (arrow.xs[beside] + room.middle), low), high) for arrow in mine]
    for arrow, x in zip(mine, spread(wanted, low, high, step)):
        arrow.xs[end] = x


def _free(row: Sequence[Room]) -> Iterator[tuple[float, float]]:
    """Intervals that a row leaves free, without the neighbourhood of its boxes."""
    ends = [0.0, *(x for room in row for x in (room.left, room.left + room.width)), WIDTH]
    for low, high in zip(ends[::2], ends[1::2]):
        away = min(16, (high - low) / 4)
        yield low + away, high - away


def draw(
    title: str,
    facts: Sequence[str],
    rows: Sequence[Sequence[Room]],
    counts: Mapping[Pair, tuple[int, int]],
    out: Path,
) -> None:
    """Draw rows of rooms and the arrows between them."""
    rooms = {room.name: room for row in rows for room in row}
    users = {name: sum(end == name for _, end in counts) for name in rooms}
    low_rows = [row for row in rows if len(row) == 1 or row is rows[-1]]
    ground = {
        room.name
        for row in low_rows
        for room in row
        if users[room.name] > GROUND_SHARE * (len(rooms) - 1)
    }
    shown = [Arrow(rooms[a], rooms[b], *n) for (a, b), n in counts.items() if b not in ground]
    down = [arrow for arrow in shown if arrow.down]
    size_boxes(rows, down, ground)
    route(rows, down)
    y = 74.0 + LINE * len(facts)
    for i, row in enumerate(rows):
        for room in row:
            room.top = y
        crossing = sum(arrow.start.row <= i < arrow.end.row for arrow in down)
        y += max(room.height for room in row) + (min(56 + 3 * crossing, 150) if crossing else 16)

    figure = plt.figure(figsize=(WIDTH / 100, (y + 12) / 100), facecolor="white")
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, WIDTH), ylim=(y + 12, 0))
    axis.axis("off")
    axis.text(MARGIN, 44, title, size=20, weight="bold", color=INK)
    for i, fact in enumerate(facts):
        axis.text(MARGIN, 68 + LINE * i, fact, size=10, color=QUIET)
    _draw_legend(axis, wrong=len(down) < len(shown))
    most = max(lines for room in rooms.values() for _, lines in [*room.inside, ("", 1)])
    for room in rooms.values():
        wrong = [arrow for arrow in shown if arrow.end is room and not arrow.down]
        low, high = room.left + PAD, room.left + room.width - PAD
        ends = spread([room.middle + PAD] * len(wrong), low, high, 26)
        for arrow, x in zip(wrong, ends):  # each apart from one that comes back
            arrow.xs = [arrow.start.middle - PAD, x]
    for arrow in shown:
        _draw_arrow(axis, arrow, rows)
    for room in rooms.values():
        colors = GROUND if room.name in ground else TINTS[room.row % len(TINTS)]
        _draw_room(axis, room, colors, most)
        if room.name in ground:
            _draw_users(axis, room, counts)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)
    plt.close(figure)


def _draw_room(axis: plt.Axes, room: Room, colors: tuple[str, str], most: int) -> None:
    axis.add_patch(
        FancyBboxPatch(
            (room.left, room.top),
            room.width,
            room.height,
            boxstyle="round,pad=0,rounding_size=7",
            facecolor=colors[0],
            edgecolor=colors[1],
            linewidth=1.2,
            zorder=3,
        )
    )
    left = room.left + PAD
    axis.text(left, room.top + 23, room.title, size=TITLE, weight="bold", color=INK, zorder=4)
    for i, line in enumerate(room.size):
        axis.text(left, room.top + 41 + LINE * i, line, size=SMALL, color=QUIET, zorder=4)
    shown = -(-len(room.inside) // max(room.columns, 1))
    width = column_width(room)
    for i, (name, lines) in enumerate(room.inside):
        x = left + (width + 2 * PAD) * (i // shown)
        y = room.top + _head(room) + LINE * (i % shown) + 12
        style = "italic" if " " in name else "normal"  # not a name in the code
        axis.text(x, y, name, size=TEXT, color=INK, style=style, zorder=4)
        axis.text(x + width, y, f"{lines:,}", size=SMALL, color=QUIET, ha="right", zorder=4)
        bar = max(BARS * lines / most, 1)
        start = (x + _names_width(room), y - 8)
        axis.add_patch(Rectangle(start, bar, 8, color=BAR, linewidth=0, zorder=4))


def _draw_users(axis: plt.Axes, room: Room, counts: Mapping[Pair, tuple[int, int]]) -> None:
    """Who imports a room of the ground, in words."""
    users = [f"{start} {_label(*n)}" for (start, end), n in counts.items() if end == room.name]
    lines = [f"imported by {len(users)} rooms:"]
    left = room.left + 3 * PAD + max(text_width(room.title, TITLE, bold=True), 100)
    for user in [f"{user}," for user in users[:-1]] + users[-1:]:
        longer = f"{lines[-1]} {user}"
        fits = text_width(longer, TEXT) < room.left + room.width - PAD - left
        lines = [*lines[:-1], longer] if fits else [*lines, user]
    for i, line in enumerate(lines):
        axis.text(left, room.top + 23 + LINE * i, line, size=TEXT, color=INK, zorder=4)


def _draw_arrow(axis: plt.Axes, arrow: Arrow, rows: Sequence[Sequence[Room]]) -> None:
    start, end = arrow.start, arrow.end
    floor = [row[0].top + max(room.height for room in row) for row in rows]
    if arrow.down:
        points = [(arrow.xs[0], start.bottom), (arrow.xs[0], floor[start.row] + 4)]
        for (row, _, _), x in zip(arrow.gaps, arrow.xs[1:-1]):
            points += [(x, rows[row][0].top - 6), (x, floor[row] + 6)]
        points.append((arrow.xs[-1], end.top - 1))
    elif start.row == end.row:
        points = [(arrow.xs[0], start.bottom), (arrow.xs[1], end.bottom)]
    else:
        points = [(arrow.xs[0], start.top), (arrow.xs[1], end.bottom)]
    vertices, codes = [points[0]], [Line.MOVETO]
    for (x0, y0), (x1, y1) in pairwise(points):
        half = floor[start.row] + 60 if start.row == end.row else (y0 + y1) / 2
        vertices += [(x0, half), (x1, half), (x1, y1)]
        codes += [Line.CURVE4] * 3
    color = TINTS[start.row % len(TINTS)][1] if arrow.down else WRONG
    axis.add_patch(
        FancyArrowPatch(
            path=Line(vertices, codes),
            arrowstyle="-|>,head_length=5,head_width=2.6",
            color=color,
            alpha=1 if arrow.at_once else 0.4,
            linewidth=min(0.9 + 0.04 * (arrow.at_once + arrow.later), 3.0),
            zorder=2 if arrow.at_once else 1,
            shrinkA=0,
            shrinkB=0,
        )
    )
    axis.text(
        points[-1][0],
        end.top - 17 if arrow.down else end.bottom + 18,
        arrow.label,
        size=SMALL,
        color=INK if arrow.at_once else QUIET,
        ha="center",
        va="center",
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"},
        zorder=5,
    )


def _draw_legend(axis: plt.Axes, wrong: bool) -> None:
    color = TINTS[0][1]
    items = [
        (color, 0.4, "+3: inside functions, or for types only"),
        (color, 1.0, "5: imports as modules load"),
        *([(WRONG, 1.0, "against the layers")] if wrong else []),
    ]
    x = WIDTH - MARGIN
    for color, alpha, text in items:
        x -= text_width(text, 10)
        axis.text(x, 43, text, size=10, color=QUIET)
        axis.plot([x - 42, x - 8], [39, 39], color=color, linewidth=2, alpha=alpha)
        x -= 42 + GAP
