"""Scores as tables for people: each row a name and its figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def pose_rows(f: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of `PoseScore.to_dict()`."""
    return [
        ("registered", f"{f['registered']} of {f['total']}"),
        (
            "camera centres, mean / median / max",
            f"{f['center_mean']:.4f} / {f['center_median']:.4f} / {f['center_max']:.4f}",
        ),
        ("worst photo", f["worst_photo"]),
        (
            "rotations, mean / median / max",
            f"{f['rotation_mean_deg']:.3f} / {f['rotation_median_deg']:.3f} / "
            f"{f['rotation_max_deg']:.3f} deg",
        ),
        ("scale of the alignment", f"{f['scale_truth_from_world']:.6g}"),
    ]


def depth_rows(f: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of `DepthScore.to_dict()`: all photos together, then the first twelve."""
    rows = [("scale", f"{f['scale']:.6g}")]
    groups = [("all pixels", f["pooled"])]
    if "pooled_seen" in f:
        groups.append(("pixels seen by enough photos", f["pooled_seen"]))
    groups += [(photo["name"], photo) for photo in f["photos"]][:12]
    for name, g in groups:
        within = ", ".join(
            f"{100 * v:.1f} % in {k.split('_')[1]} %" for k, v in g.items() if k[:7] == "within_"
        )
        median = g["median_relative_error"]
        middle = "" if median is None else f"; median {100 * median:.3f} %, NMAD {g['nmad']:.4f}"
        rows.append((name, f"{100 * g['completeness']:.1f} % known; {within}{middle}"))
    if len(f["photos"]) > 12:
        rows.append(("...", f"{len(f['photos']) - 12} more photos, see --json"))
    return rows


def surface_rows(f: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of `SurfaceScore.to_dict()`."""
    rows = [
        (
            f"at {t['distance']:g}",
            f"precision {t['precision']:.4f}, recall {t['recall']:.4f}, F {t['f_score']:.4f}",
        )
        for t in f["thresholds"]
    ]
    return [
        *rows,
        (
            "result to truth, median / mean",
            f"{f['accuracy_median']:.4f} / {f['accuracy_mean']:.4f}",
        ),
        (
            "truth to result, median / mean",
            f"{f['completeness_median']:.4f} / {f['completeness_mean']:.4f}",
        ),
        ("Chamfer", f"{f['chamfer']:.4f}"),
        ("result outside what is scored", f"{100 * f['left_out']:.1f} %"),
    ]


def raster_rows(f: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of `RasterScore.to_dict()`."""
    measured = f" ({100 * f['measured']:.1f} % measured)" if "measured" in f else ""
    return [
        ("cells scored", f"{f['scored_cells']} of {f['cell_size']:g}"),
        ("cells with a height", f"{100 * f['filled']:.1f} %{measured}"),
        ("offset removed", f"{f['removed_offset_m']:+.3f} m"),
        ("median difference", f"{f['median_m']:+.3f} m"),
        ("NMAD", f"{f['nmad_m']:.3f} m"),
        ("median absolute difference", f"{f['median_abs_m']:.3f} m"),
        ("RMSE", f"{f['rmse_m']:.3f} m"),
        (
            "68 / 90 / 95 % within",
            f"{f['abs_p68_m']:.3f} / {f['abs_p90_m']:.3f} / {f['abs_p95_m']:.3f} m",
        ),
        *(
            (
                f"cells by source: {name}",
                f"{100 * s['share']:.1f} %, median {s['median_m']:+.3f} m, "
                f"NMAD {s['nmad_m']:.3f} m, RMSE {s['rmse_m']:.3f} m",
            )
            for name, s in f.get("by_source", {}).items()
            if s["share"]
        ),
    ]


def show(figures: dict[str, Any], as_json: bool, rows: Sequence[tuple[str, str]]) -> None:
    """Print figures as JSON, or their rows as a table."""
    if as_json:
        print(json.dumps(figures, indent=1, allow_nan=False))
        return
    from rich.table import Table

    from voxterra.cli.display import PipedConsole

    align = f", align {figures['align']}" if "align" in figures else ""
    table = Table(title=f"{figures['what']}{align}", show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column()
    for name, value in rows:
        table.add_row(name, value)
    PipedConsole().print(table)
