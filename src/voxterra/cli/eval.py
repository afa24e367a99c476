"""`voxterra eval`: score a result against truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from voxterra.errors import UsageError
from voxterra.pipeline.names import nearest

HELP = "Score poses, depth, surface, raster or frame of a run against truth."

Result = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
Truth = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="TRUTH")]
Json = Annotated[bool, tyro.conf.arg(name="json", help="Print JSON instead of a table.")]
Picture = Annotated[
    Path | None, tyro.conf.arg(help="Write a PNG that shows what is wrong and what is missing.")
]
Cameras = Annotated[
    Path | None,
    tyro.conf.arg(help="True cameras, when they do not lie beside TRUTH."),
]
MinViews = Annotated[
    int, tyro.conf.arg(help="Leave out what fewer photos see, where the truth knows.")
]


def run(args: list[str]) -> int:
    """Run `voxterra eval ARGS`; returns the exit code.

    Raises:
        UsageError: unknown verb or option.
        VoxterraError: input that cannot be scored.
    """
    verbs = {f.__name__: f for f in (poses, depth, surface, raster, frame)}
    _check(args, verbs)
    tyro.extras.subcommand_cli_from_dict(
        verbs,
        prog="voxterra eval",
        description=HELP,
        args=args,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    return 0


def _check(args: list[str], verbs: dict[str, Callable[..., None]]) -> None:
    """Name the nearest known verb or option where one is unknown."""
    if not args or args[0] in ("-h", "--help"):
        return
    verb = verbs.get(args[0])
    if verb is None:
        raise UsageError(
            f"There is nothing to score called '{args[0]}'{nearest(args[0], verbs)}",
            where="voxterra eval",
            next_step=f"Give one of {', '.join(verbs)}.",
        )
    names = signature(verb).parameters
    known = ["--help", *(f"--{n.removeprefix('as_').replace('_', '-')}" for n in names)]
    for arg in args[1:]:
        flag = arg.split("=")[0].replace("_", "-")
        if arg.startswith("--") and flag not in known:
            raise UsageError(
                f"There is no option '{arg.split('=')[0]}'{nearest(flag, known)}",
                where=f"voxterra eval {args[0]}",
                next_step=f"voxterra eval {args[0]} --help lists the options.",
            )


def poses(
    result: Result,
    truth: Truth,
    align: Literal["none", "cameras"] = "cameras",
    as_json: Json = False,
) -> None:
    """Camera centres and rotations of a run, a COLMAP model or transforms.json."""
    from voxterra.evaluate.against_truth import evaluate_poses

    figures = evaluate_poses(result, truth, align).to_dict()
    _show(figures, as_json, _pose_rows(figures))


def depth(
    result: Result,
    truth: Truth,
    align: Literal["none", "cameras", "scale"] = "cameras",
    cameras: Cameras = None,
    min_views: MinViews = 3,
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    """Depth maps of a run; --align scale takes the median ratio to the truth as their scale."""
    from voxterra.evaluate.against_truth import evaluate_depth

    score = evaluate_depth(result, truth, align, cameras=cameras, min_views=min_views)
    if picture is not None:
        from voxterra.evaluate.picture import draw_depth

        draw_depth(score, picture)
    figures = score.to_dict()
    _show(figures, as_json, _depth_rows(figures))


def surface(
    result: Result,
    truth: Truth,
    align: Literal["none", "cameras", "surface"] = "cameras",
    thresholds: Annotated[
        tuple[float, ...], tyro.conf.arg(help="Distances at which precision and recall are told.")
    ] = (0.05, 0.1, 0.2, 0.5),
    samples: Annotated[int, tyro.conf.arg(help="Points drawn from each surface.")] = 200_000,
    cameras: Cameras = None,
    min_views: MinViews = 3,
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    """Mesh of a run (products/scene.ply) or a PLY file against a true mesh."""
    from voxterra.evaluate.against_truth import evaluate_surface

    score = evaluate_surface(
        result,
        truth,
        align,
        cameras=cameras,
        thresholds=thresholds,
        samples=samples,
        min_views=min_views,
    )
    if picture is not None:
        from voxterra.evaluate.picture import draw_surface

        draw_surface(score, picture)
    figures = score.to_dict()
    _show(figures, as_json, _surface_rows(figures))


def raster(
    result: Result,
    truth: Truth,
    align: Literal["none", "cameras", "surface"] = "cameras",
    of: Annotated[Literal["dsm", "mesh"], tyro.conf.arg(help="Product to score.")] = "dsm",
    remove_offset: Annotated[
        bool, tyro.conf.arg(help="Take off the median difference; point clouds always do.")
    ] = False,
    cell_size: Annotated[
        float | None, tyro.conf.arg(help="Of the grid that a reference point cloud is put on [m].")
    ] = None,
    cameras: Cameras = None,
    min_views: MinViews = 3,
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    """DSM of a run or a GeoTIFF against a true DSM or a reference point cloud.

    --align none compares on the map as delivered, cameras moves the surface by the fit of camera
    centres, surface by the fit of the surface itself.
    """
    from voxterra.evaluate.against_truth import evaluate_raster

    score = evaluate_raster(
        result,
        truth,
        align,
        cameras=cameras,
        of=of,
        remove_offset=True if remove_offset else None,
        min_views=min_views,
        cell_size=cell_size,
    )
    if picture is not None:
        from voxterra.evaluate.picture import draw_raster

        draw_raster(score, picture)
    figures = score.to_dict()
    _show(figures, as_json, _raster_rows(figures))


def frame(result: Result, truth: Truth, as_json: Json = False) -> None:
    """The frame of a georeferenced run as delivered: its tilt, heading, scale and offset."""
    from voxterra.evaluate.against_truth import evaluate_run_frame

    error = evaluate_run_frame(result, truth)
    east, north, up = error.offset_m
    rows = [
        ("tilt", f"{error.tilt_deg:.3f} deg"),
        ("heading", f"{error.heading_deg:+.3f} deg"),
        ("scale", f"{error.scale_ratio:.5f} of the true one"),
        ("offset east, north, up", f"{east:+.2f}, {north:+.2f}, {up:+.2f} m"),
        ("shape, RMS of camera centres", f"{error.shape_rmse_m:.4f} m"),
    ]
    _show({"what": "frame", **asdict(error)}, as_json, rows)


def _pose_rows(f: dict[str, Any]) -> list[tuple[str, str]]:
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


def _depth_rows(f: dict[str, Any]) -> list[tuple[str, str]]:
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


def _surface_rows(f: dict[str, Any]) -> list[tuple[str, str]]:
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


def _raster_rows(f: dict[str, Any]) -> list[tuple[str, str]]:
    measured = f" ({100 * f['measured']:.1f} % measured)" if "measured" in f else ""
    return [
        ("cells scored", f"{f['scored_cells']} of {f['cell_size']:g}"),
        ("filled", f"{100 * f['filled']:.1f} %{measured}"),
        ("offset removed", f"{f['removed_offset_m']:+.3f} m"),
        ("median difference", f"{f['median_m']:+.3f} m"),
        ("NMAD", f"{f['nmad_m']:.3f} m"),
        ("median absolute difference", f"{f['median_abs_m']:.3f} m"),
        ("RMSE", f"{f['rmse_m']:.3f} m"),
        (
            "68 / 90 / 95 % within",
            f"{f['abs_p68_m']:.3f} / {f['abs_p90_m']:.3f} / {f['abs_p95_m']:.3f} m",
        ),
    ]


def _show(figures: dict[str, Any], as_json: bool, rows: Sequence[tuple[str, str]]) -> None:
    if as_json:
        print(json.dumps(figures, indent=1, allow_nan=False))
        return
    from rich.console import Console
    from rich.table import Table

    align = f", align {figures['align']}" if "align" in figures else ""
    table = Table(title=f"{figures['what']}{align}", show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column()
    for name, value in rows:
        table.add_row(name, value)
    Console().print(table)
