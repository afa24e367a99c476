"""Pictures of the scores of benchmarks: what is missing, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxterra.evaluate.dtu import DtuScore
from voxterra.evaluate.picture import Panel, draw_panels, from_above
from voxterra.evaluate.tanks_and_temples import TanksScore

Float = NDArray[np.float64]


def draw_dtu(score: DtuScore, path: Path, *, limit_mm: float = 2.0, size: int = 300) -> None:
    """Both directions, seen along the axis in which the scan is thinnest, as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    figures = score.to_dict()
    notes = [
        f"{name} {_told(figures[f'{name}_mm'], 'mm')}, outliers {100 * float(share or 0):.2f} %"
        for name, share in (
            ("completeness", figures["truth_outliers"]),
            ("accuracy", figures["result_outliers"]),
        )
    ]
    _draw(score, (notes[0], notes[1]), path, limit_mm, "mm", size)


def draw_tanks(score: TanksScore, path: Path, *, size: int = 300) -> None:
    """Both directions, seen along the axis in which the scene is thinnest, up to 5 thresholds.

    Raises:
        OutputError: the file cannot be written.
    """
    at = f"at {score.threshold:g}, F1 {score.f1:.4f}"
    notes = (f"recall {score.recall:.4f} {at}", f"precision {score.precision:.4f} {at}")
    _draw(score, notes, path, 5.0 * score.threshold, "", size)


def _draw(
    score: DtuScore | TanksScore,
    notes: tuple[str, str],
    path: Path,
    limit: float,
    unit: str,
    size: int,
) -> None:
    low, high = score.truth_points.min(axis=0), score.truth_points.max(axis=0)
    thinnest = int(np.argmin(high - low))
    across = [axis for axis in range(3) if axis != thinnest]
    margin = 0.05 * (high - low).max()  # for what is wrong around the truth
    low, high = low - margin, high + margin
    # No more cells than points can fill.
    count = min(len(score.truth_points), len(score.result_points))
    size = max(min(size, int(np.sqrt(count) / 2.0)), 1)
    cell = max(float((high - low)[across].max()) / size, 1e-12)
    sides = (
        ("What is missing: truth to result", score.truth_points, score.to_result),
        ("What is wrong: result to truth", score.result_points, score.to_truth),
    )
    panels = []
    for (title, points, found), note in zip(sides, notes):
        # Beyond the reach of the search is wrong too, not unknown.
        far = np.minimum(found, 10.0 * limit)
        values = from_above(points[:, across], far, low[across], cell, size)
        lines = (note, f"seen along {'xyz'[thinnest]}")
        panels.append(Panel(values, np.isfinite(values), title, limit, False, unit, lines))
    draw_panels(tuple(panels), path)


def _told(value: float | int | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.3f} {unit}"
