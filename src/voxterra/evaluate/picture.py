"""Pictures of errors: where a result is wrong, and where it is missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from voxterra.evaluate.depth import DepthScore, depth_figures
from voxterra.evaluate.raster import RasterScore
from voxterra.evaluate.surface import SurfaceScore
from voxterra.io.files.atomic import atomic_path

Rgb = NDArray[np.uint8]
# Blue for below, red for above, both readable with colour blindness; missing in magenta.
_BELOW_ZERO_ABOVE = (
    (33, 62, 145),
    (120, 170, 215),
    (247, 247, 247),
    (244, 165, 110),
    (165, 15, 30),
)
_GOOD_TO_BAD = ((45, 60, 130), (60, 145, 155), (235, 225, 130), (235, 130, 60), (150, 20, 30))
MISSING = (255, 0, 200)
NOT_SCORED = (205, 205, 205)
_MARGIN, _BAR, _LINE = 16, 22, 18


@dataclass(frozen=True)
class Panel:
    """One map of a picture.

    Attributes:
        values: (H, W) drawn in colour; NaN where there is nothing to colour.
        scored: (H, W) bool: where a value should be; NaN there is drawn as missing.
        title: over the map.
        limit: value of the end of the colour bar.
        signed: colours from -limit to limit, else from 0 to limit.
        unit: of the values.
        notes: lines under the map.
    """

    values: NDArray[np.floating]
    scored: NDArray[np.bool_]
    title: str
    limit: float
    signed: bool
    unit: str
    notes: tuple[str, ...] = ()


def draw_raster(score: RasterScore, path: Path, *, limit_m: float = 0.5) -> None:
    """Height differences in colour, missing cells in magenta, as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    d = score.to_dict()
    notes = (
        f"{100 * d['filled']:.1f} % of {d['scored_cells']} cells filled, align {score.align}",
        f"NMAD {d['nmad_m']:.3f} m, median {d['median_m']:+.3f} m, "
        f"95 % within {d['abs_p95_m']:.2f} m",
    )
    panel = Panel(
        score.difference_m, score.scored, "Height, result minus truth", limit_m, True, "m", notes
    )
    draw_panels((panel,), path)


def draw_depth(score: DepthScore, path: Path, *, limit_percent: float = 2.0) -> None:
    """Relative depth error of every photo, missing pixels in magenta, as PNG.

    Where it is known which pixels enough photos see, the others are drawn as not scored.

    Raises:
        OutputError: the file cannot be written.
    """
    panels = []
    for photo in score.photos:
        figures = depth_figures((photo,), only_seen=photo.seen is not None)
        scored = photo.truth > 0
        if photo.seen is not None:
            scored &= photo.seen
        notes = (
            f"{100 * figures['completeness']:.1f} % known, "
            f"{100 * figures['within_0.5_percent']:.1f} % within 0.5 %",
        )
        error = 100.0 * photo.relative_error()
        panels.append(Panel(error, scored, photo.name, limit_percent, True, "% of depth", notes))
    draw_panels(tuple(panels), path)


def draw_surface(score: SurfaceScore, path: Path, *, limit: float = 0.5, size: int = 300) -> None:
    """Both directions seen from above: truth to result, and result to truth, as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    threshold = score.thresholds[min(2, len(score.thresholds) - 1)]
    low = score.truth_points[:, :2].min(axis=0)
    cell = float((score.truth_points[:, :2].max(axis=0) - low).max()) / size
    sides = (
        ("What is missing: truth to result", score.truth_points, score.to_result, "recall"),
        ("What is wrong: result to truth", score.result_points, score.to_truth, "precision"),
    )
    panels = []
    for title, points, distance, name in sides:
        values = from_above(points, distance, low, cell, size)
        share = float((distance <= threshold).mean())
        notes = (
            f"{name} {share:.3f} at {threshold:g}",
            f"F {score.f_score(threshold):.3f}, align {score.align}",
        )
        panels.append(Panel(values, np.isfinite(values), title, limit, False, "distance", notes))
    draw_panels(tuple(panels), path)


def draw_panels(panels: tuple[Panel, ...], path: Path) -> None:
    """Panels side by side with their colour bars.

    Raises:
        OutputError: the file cannot be written.
    """
    images = [_panel_image(panel) for panel in panels]
    width = sum(image.width for image in images)
    canvas = PilImage.new("RGB", (width, max(image.height for image in images)), "white")
    left = 0
    for image in images:
        canvas.paste(image, (left, 0))
        left += image.width
    with atomic_path(Path(path)) as temporary, open(temporary, "wb") as file:
        canvas.save(file, format="PNG")


def colorize(panel: Panel) -> Rgb:
    """(H, W, 3) colours of a panel's values."""
    low = -panel.limit if panel.signed else 0.0
    place = (panel.values - low) / (panel.limit - low)
    out = np.empty((*panel.values.shape, 3), np.uint8)
    out[:] = NOT_SCORED
    out[panel.scored] = MISSING
    known = panel.scored & np.isfinite(panel.values)
    out[known] = _ramp(place[known], panel.signed)
    return out


def _ramp(place: NDArray[np.floating], signed: bool) -> Rgb:
    anchors = np.array(_BELOW_ZERO_ABOVE if signed else _GOOD_TO_BAD, float)
    at = np.linspace(0.0, 1.0, len(anchors))
    place = np.clip(place, 0.0, 1.0)
    return np.stack([np.interp(place, at, anchors[:, c]) for c in range(3)], axis=-1).astype(
        np.uint8
    )


def _panel_image(panel: Panel) -> PilImage.Image:
    colors = colorize(panel)
    height, width = colors.shape[:2]
    factor = max(1, round(500 / max(height, width)))
    picture = PilImage.fromarray(colors).resize(
        (width * factor, height * factor), PilImage.Resampling.NEAREST
    )
    right = _BAR + 84
    top = _MARGIN + _LINE + 4
    size = (
        max(picture.width, 330) + 2 * _MARGIN + right,
        picture.height + top + _MARGIN + _LINE * (len(panel.notes) + 1),
    )
    image = PilImage.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=14)
    draw.text((_MARGIN, _MARGIN - 4), panel.title, fill="black", font=font)
    image.paste(picture, (_MARGIN, top))
    _color_bar(image, panel, _MARGIN + picture.width + 12, top, picture.height)
    y = top + picture.height + 6
    for i, note in enumerate(panel.notes):
        draw.text((_MARGIN, y + i * _LINE), note, fill="black", font=font)
    y += len(panel.notes) * _LINE
    x = _MARGIN
    for color, text in ((MISSING, "missing"), (NOT_SCORED, "not scored")):
        draw.rectangle((x, y + 3, x + 12, y + 14), fill=color, outline="black")
        draw.text((x + 18, y), text, fill="black", font=font)
        x += 110
    return image


def _color_bar(image: PilImage.Image, panel: Panel, left: int, top: int, height: int) -> None:
    height = min(height, 360)
    ramp = _ramp(np.linspace(1.0, 0.0, height), panel.signed)
    bar = PilImage.fromarray(np.repeat(ramp[:, None], _BAR, axis=1))
    image.paste(bar, (left, top))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=12)
    low = -panel.limit if panel.signed else 0.0
    for k in range(5):
        value = panel.limit - k / 4 * (panel.limit - low)
        y = top + k / 4 * (height - 1)
        draw.line((left + _BAR, y, left + _BAR + 4, y), fill="black")
        sign = "> " if k == 0 else "< " if k == 4 and panel.signed else ""
        text = f"{sign}{value:.3g}" + (f" {panel.unit}" if k == 0 else "")
        draw.text((left + _BAR + 7, y - 7), text, fill="black", font=font)


def from_above(
    points: NDArray[np.float64],
    values: NDArray[np.float64],
    low: NDArray[np.float64],
    cell: float,
    size: int,
) -> NDArray[np.float64]:
    """(size, size) worst value a cell holds, north up; NaN where there is no point."""
    column, row = ((points[:, :2] - low) / cell).astype(np.int64).T
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    flat = np.full(size * size, -np.inf)
    np.maximum.at(flat, ((size - 1 - row) * size + column)[inside], values[inside])
    return np.where(np.isfinite(flat), flat, np.nan).reshape(size, size)
