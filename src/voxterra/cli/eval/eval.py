"""`voxterra eval`: score a result against truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from inspect import signature
from pathlib import Path
from typing import Annotated, Literal

import tyro

from voxterra.cli.eval.benchmarks import dtu, tanks
from voxterra.cli.eval.tables import depth_rows, pose_rows, raster_rows, show, surface_rows
from voxterra.core.wording import nearest
from voxterra.errors import UsageError

HELP = """\
Score poses, depth, surface, raster or frame of a run against truth, or the views of a trained
voxel model against their photos. dtu and tanks score meshes by the protocols of DTU and of Tanks
and Temples.

RUN is the output folder of `voxterra run`, or the file to score (mesh, DSM, cameras). TRUTH is the
folder of a data set, which is searched for truth of that kind, or the file itself.

Examples:
  voxterra eval poses runs/site site/truth/cameras.json
  voxterra eval raster runs/site reference.laz --align none --picture difference.png
  voxterra eval dtu 'out/{scan}' DTU --scans 24 37
  voxterra eval tanks 'out/{scene}' training --scenes Barn Truck
"""

Result = Annotated[
    tyro.conf.Positional[Path],
    tyro.conf.arg(metavar="RUN", help="Output folder of a run, or the file to score."),
]
Truth = Annotated[
    tyro.conf.Positional[Path],
    tyro.conf.arg(metavar="TRUTH", help="Folder of a data set, or the file that holds the truth."),
]
ALIGN = "Before comparing: none takes the result as delivered, cameras fits camera centres"
Json = Annotated[bool, tyro.conf.arg(name="json", help="Print JSON instead of a table.")]
Picture = Annotated[
    Path | None, tyro.conf.arg(help="Write a PNG that shows what is wrong and what is missing.")
]
Cameras = Annotated[
    Path | None,
    tyro.conf.arg(help="True cameras, if they are not beside TRUTH."),
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
    verbs = {f.__name__: f for f in (poses, depth, surface, raster, frame, views, dtu, tanks)}
    if args[0] == "views" and len(args) > 1:
        from voxterra.cli.eval import views as eval_views

        return eval_views.run(args[1:])
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
    if args[0] in ("-h", "--help"):
        return
    verb = verbs.get(args[0])
    if verb is None:
        raise UsageError(
            f"There is nothing to score called '{args[0]}'{nearest(args[0], verbs)}",
            where="voxterra eval",
            next_step=f"Give one of {', '.join(verbs)}.",
        )
    if args[0] == "views" and len(args) == 1:
        raise UsageError(
            "'views' needs a trained model.",
            where="voxterra eval views",
            next_step="For example: voxterra eval views out    (more: voxterra eval views --help)",
        )
    if len(args) == 1:
        raise UsageError(
            f"'{args[0]}' needs a result and the truth.",
            where=f"voxterra eval {args[0]}",
            next_step=f"For example: voxterra eval {args[0]} runs/site site/truth"
            f"    (more: voxterra eval {args[0]} --help)",
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
    align: Annotated[Literal["none", "cameras"], tyro.conf.arg(help=f"{ALIGN}.")] = "cameras",
    as_json: Json = False,
) -> None:
    """Camera centres and rotations of a run, a COLMAP model or transforms.json."""
    from voxterra.evaluate.against_truth import evaluate_poses

    figures = evaluate_poses(result, truth, align).to_dict()
    show(figures, as_json, pose_rows(figures))


def depth(
    result: Result,
    truth: Truth,
    align: Annotated[
        Literal["none", "cameras", "scale"],
        tyro.conf.arg(help=f"{ALIGN}, scale takes the median ratio to the truth as the scale."),
    ] = "cameras",
    cameras: Cameras = None,
    min_views: MinViews = 3,
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    """Depth maps of a run, pixel by pixel."""
    from voxterra.evaluate.against_truth import evaluate_depth

    score = evaluate_depth(result, truth, align, cameras=cameras, min_views=min_views)
    if picture is not None:
        from voxterra.evaluate.picture import draw_depth

        draw_depth(score, picture)
    figures = score.to_dict()
    show(figures, as_json, depth_rows(figures))


def surface(
    result: Result,
    truth: Truth,
    align: Annotated[
        Literal["none", "cameras", "surface"],
        tyro.conf.arg(help=f"{ALIGN}, surface fits the surface itself."),
    ] = "cameras",
    thresholds: Annotated[
        tuple[float, ...], tyro.conf.arg(help="Distances at which to report precision and recall.")
    ] = (0.05, 0.1, 0.2, 0.5),
    samples: Annotated[int, tyro.conf.arg(help="Points drawn from each surface.")] = 200_000,
    cameras: Cameras = None,
    min_views: MinViews = 3,
    labels: Annotated[
        tuple[int, ...],
        tyro.conf.arg(help="Score only true faces with these labels (walls of buildings: 1)."),
    ] = (),
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
        labels=labels,
    )
    if picture is not None:
        from voxterra.evaluate.picture import draw_surface

        draw_surface(score, picture)
    figures = score.to_dict()
    show(figures, as_json, surface_rows(figures))


def raster(
    result: Result,
    truth: Truth,
    align: Annotated[
        Literal["none", "cameras", "surface"],
        tyro.conf.arg(help=f"{ALIGN}, surface fits the surface itself."),
    ] = "cameras",
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
    """DSM of a run or a GeoTIFF against a true DSM or a reference point cloud."""
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
    show(figures, as_json, raster_rows(figures))


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
    show({"what": "frame", **asdict(error)}, as_json, rows)


def views(model: Annotated[Path, tyro.conf.Positional]) -> None:
    """Views that a trained voxel model renders, against their photos (voxterra train --eval)."""
    from voxterra.cli.eval import views as eval_views

    eval_views.run([str(model)])
