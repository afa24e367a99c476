"""`voxterra eval dtu` and `voxterra eval tanks`: the protocols of two benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from voxterra.cli.display import showing
from voxterra.cli.eval.scan_paths import check_names, check_positive, filled, named, stat_folder
from voxterra.cli.eval.tables import show
from voxterra.core.progress import Progress, part
from voxterra.errors import UsageError

if TYPE_CHECKING:
    from voxterra.evaluate.dtu import DtuScore
    from voxterra.evaluate.geometry import Geometry
    from voxterra.evaluate.tanks_and_temples import TanksScore

SCAN, SCENE = "{scan}", "{scene}"
# After the help of options that are needed, or whose absence the help explains.
NEEDED, NOTHING = "(required)", ""

Stat = Annotated[
    Path | None,
    tyro.conf.arg(
        help="Folder of the table; without it, test_stat beside the result.",
        help_behavior_hint=NOTHING,
    ),
]
Json = Annotated[bool, tyro.conf.arg(name="json", help="Print JSON instead of a table.")]


def dtu(
    result: Annotated[
        tyro.conf.Positional[Path],
        tyro.conf.arg(
            metavar="RESULT",
            help="Model's folder, or a PLY mesh or cloud, in the data set's world (mm); {scan} "
            "stands for the scan.",
        ),
    ],
    truth: Annotated[
        tyro.conf.Positional[Path],
        tyro.conf.arg(metavar="TRUTH", help="Folder with Points/stl and ObsMask."),
    ],
    scans: Annotated[
        tuple[int, ...], tyro.conf.arg(help="Numbers of the scans.", help_behavior_hint=NEEDED)
    ] = (),
    scene: Annotated[
        Path | None,
        tyro.conf.arg(
            help="Folder with cameras_sphere.npz and mask/, to cull with; {scan} stands for the "
            "scan. Default: the data the model in RESULT was trained on.",
            help_behavior_hint=NOTHING,
        ),
    ] = None,
    cull: Annotated[
        Literal["masks", "seen", "none"],
        tyro.conf.arg(
            help="masks removes what is outside a mask; seen also removes what no camera sees."
        ),
    ] = "masks",
    dilation_px: Annotated[float, tyro.conf.arg(help="Pixels by which masks are grown.")] = 24.0,
    normalised: Annotated[
        bool, tyro.conf.arg(help="The mesh is in the unit sphere of cameras_sphere.npz.")
    ] = False,
    gap_mm: Annotated[float, tyro.conf.arg(help="Least gap of the result's points.")] = 0.2,
    limit_mm: Annotated[float, tyro.conf.arg(help="Distances from here on are outliers.")] = 20.0,
    stat: Stat = None,
    picture: Annotated[
        Path | None,
        tyro.conf.arg(
            help="Write a PNG of the errors; {scan} stands for the scan.",
            help_behavior_hint=NOTHING,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Accuracy, completeness and Chamfer distance on DTU, a row for each scan."""
    from voxterra.evaluate.dtu import score_dtu
    from voxterra.evaluate.stat_table import add_rows
    from voxterra.io.truth.dtu import read_dtu_truth

    check_positive(gap_mm=gap_mm, limit_mm=limit_mm)
    names = tuple(map(str, scans))
    check_names(names, "--scans 24", (result, scene, picture), SCAN)
    settings = {"gap_mm": gap_mm, "limit_mm": limit_mm, "cull": cull}
    if cull != "none":
        settings["dilation_px"] = dilation_px
    for name in names:
        path = filled(result, SCAN, name)
        with showing(f"scan {name}", silent=as_json) as report, named(path, name):
            report(0.0, "reading the truth")
            of = read_dtu_truth(filled(truth, SCAN, name), int(name))
            folder = None if scene is None else filled(scene, SCAN, name)
            culled = _culled(path, folder, cull, dilation_px, normalised, part(report, 0.1, 0.4))
            score: DtuScore = score_dtu(
                culled, of, gap_mm=gap_mm, limit_mm=limit_mm, progress=part(report, 0.4, 1.0)
            )
        # Scan by scan, so that earlier scores remain if a later scan fails.
        rows = {name: score.to_dict()}
        table = add_rows(stat or stat_folder(result, SCAN), "dtu", settings, rows)
        if picture is not None:
            from voxterra.evaluate.picture_points import draw_dtu

            draw_dtu(score, filled(picture, SCAN, name))
    show({"what": "dtu", **table}, as_json, list(_dtu_rows(table)))


def tanks(
    result: Annotated[
        tyro.conf.Positional[Path],
        tyro.conf.arg(
            metavar="RESULT",
            help="Folder of a run or a model, or a PLY mesh or cloud; {scene} stands for "
            "the scene.",
        ),
    ],
    truth: Annotated[
        tyro.conf.Positional[Path],
        tyro.conf.arg(
            metavar="TRUTH", help="Folder of the training scenes' truth: Barn/Barn.ply and so on."
        ),
    ],
    scenes: Annotated[
        tuple[str, ...], tyro.conf.arg(help="Names of the scenes.", help_behavior_hint=NEEDED)
    ] = (),
    cameras: Annotated[
        Path | None,
        tyro.conf.arg(
            help="Cameras of the result (run, COLMAP model, transforms.json or .log), where its "
            "world is not that of the published ones; {scene} stands for the scene.",
            help_behavior_hint=NOTHING,
        ),
    ] = None,
    refine: Annotated[
        Literal["points", "none"],
        tyro.conf.arg(help="Fit the result to the truth's points after the cameras."),
    ] = "points",
    threshold: Annotated[
        float | None,
        tyro.conf.arg(
            help="Without it, the benchmark's for the scene.", help_behavior_hint=NOTHING
        ),
    ] = None,
    stat: Stat = None,
    picture: Annotated[
        Path | None,
        tyro.conf.arg(
            help="Write a PNG of the errors; {scene} stands for the scene.",
            help_behavior_hint=NOTHING,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Precision, recall and F1 on Tanks and Temples, a row for each scene."""
    from voxterra.evaluate.geometry import read_geometry
    from voxterra.evaluate.run_folder import is_run, read_run_cameras
    from voxterra.evaluate.stat_table import add_rows
    from voxterra.evaluate.tanks_and_temples import published_from_world, score_tanks
    from voxterra.io.truth.tanks_and_temples import read_tanks_truth, read_trajectory

    check_names(scenes, "--scenes Barn", (result, cameras, picture), SCENE)
    thresholds = {name: _threshold(name, threshold) for name in scenes}
    settings = {"refine": refine, "threshold": "of the scene" if threshold is None else threshold}
    for name in scenes:
        path = filled(result, SCENE, name)
        with showing(name, silent=as_json) as report, named(path, name):
            report(0.0, "reading the truth")
            of = read_tanks_truth(filled(truth, SCENE, name), name)
            posed = path if cameras is None else filled(cameras, SCENE, name)
            move = None
            if cameras is not None or is_run(path):
                read = read_trajectory if posed.suffix == ".log" else read_run_cameras
                move = published_from_world(read(posed), of.published)
            refined = refine == "points"
            score: TanksScore = score_tanks(
                read_geometry(path),
                of,
                thresholds[name],
                move,
                refine=refined,
                progress=part(report, 0.1, 1.0),
            )
        rows = {name: score.to_dict()}
        table = add_rows(stat or stat_folder(result, SCENE), "tanks", settings, rows)
        if picture is not None:
            from voxterra.evaluate.picture_points import draw_tanks

            draw_tanks(score, filled(picture, SCENE, name))
    show({"what": "tanks and temples", **table}, as_json, list(_tanks_rows(table)))


def _culled(
    path: Path,
    scene: Path | None,
    cull: str,
    dilation_px: float,
    normalised: bool,
    progress: Progress,
) -> Geometry:
    """The result in the world, without the parts that are not scored."""
    from voxterra.evaluate.cull import inside_masks, read_masked_cameras, seen
    from voxterra.evaluate.geometry import read_geometry

    geometry = read_geometry(path)
    if cull == "none" and not normalised:
        return geometry
    folder = _trained_on(path) if scene is None else scene
    if folder is None:
        raise UsageError(
            "No folder with the cameras and masks of the scan given.",
            where="--scene",
            next_step="Give the folder with cameras_sphere.npz and mask/, or --cull none.",
        )
    cameras = read_masked_cameras(folder)
    if normalised:
        if cameras.world_from_sphere is None:
            raise UsageError(
                "These cameras do not record where the unit sphere is.",
                where=str(folder),
                next_step="Give a cameras_sphere.npz with scale_mat_0, or leave --normalised out.",
            )
        geometry = geometry.moved(cameras.world_from_sphere)
    if cull == "seen":  # before the masks take away what hides other parts
        geometry = seen(geometry, cameras, progress=part(progress, 0.0, 0.5))
        progress = part(progress, 0.5, 1.0)
    if cull == "none":
        return geometry
    return inside_masks(geometry, cameras, dilation_px, progress=progress)


def _trained_on(path: Path) -> Path | None:
    """Folder of the photos of a trained model."""
    from voxterra.surface.voxels.model.folder import CONFIG, read_training

    return read_training(path).source_path if (path / CONFIG).is_file() else None


def _threshold(scene: str, given: float | None) -> float:
    from voxterra.core.wording import nearest
    from voxterra.evaluate.tanks_and_temples import THRESHOLDS

    if given is not None:
        check_positive(threshold=given)
        return given
    if scene not in THRESHOLDS:
        raise UsageError(
            f"The benchmark has no threshold for the scene '{scene}'{nearest(scene, THRESHOLDS)}",
            where="--scenes",
            next_step=f"Give one of {', '.join(THRESHOLDS)}, or a --threshold.",
        )
    return THRESHOLDS[scene]


def _dtu_rows(table: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, row in _with_mean(table):
        shown = ", ".join(
            f"{key.removesuffix('_mm')} {'-' if row[key] is None else format(row[key], '.4f')}"
            for key in ("accuracy_mm", "completeness_mm", "overall_mm")
        )
        wrong, missing = 100 * row["result_outliers"], 100 * row["truth_outliers"]
        yield name, f"{shown} mm; outliers {wrong:.2f} / {missing:.2f} %"


def _tanks_rows(table: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, row in _with_mean(table):
        yield (
            name,
            f"precision {row['precision']:.4f}, recall {row['recall']:.4f}, F1 {row['f1']:.4f}",
        )


def _with_mean(table: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [*table["scans"].items(), ("mean", table["mean"])]
