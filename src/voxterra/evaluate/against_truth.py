"""From paths to scores: a run or a file on one side, a truth on the other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np

from voxterra.core.camera import PinholeView
from voxterra.core.progress import Progress, no_progress
from voxterra.core.transforms import Similarity
from voxterra.errors import GeoError, InputError, UsageError
from voxterra.evaluate.align import Align, truth_from_world
from voxterra.evaluate.depth import DepthScore, score_depth, seen_pixels
from voxterra.evaluate.frame import FrameError, evaluate_frame
from voxterra.evaluate.poses import PoseScore, score_poses
from voxterra.evaluate.raster import (
    RasterScore,
    drape,
    median_dsm,
    redraw_dsm,
    resample_dsm,
    score_heights,
    source_of_medians,
)
from voxterra.evaluate.raster_fit import fitted_dsm
from voxterra.evaluate.run_folder import (
    find_depth,
    find_product,
    is_run,
    read_dsm,
    read_run_cameras,
    read_run_frame,
)
from voxterra.evaluate.surface import DEFAULT_THRESHOLDS, SAMPLES, SurfaceScore, score_surface
from voxterra.io.truth.cameras import PosedCameras, match_names, read_truth_cameras
from voxterra.io.truth.depth import read_truth_depth
from voxterra.io.truth.raster import read_truth_raster
from voxterra.io.truth.surface import TruthSurface, read_truth_surface


def evaluate_poses(
    result: Path, truth: Path, align: Literal["none", "cameras"] = "cameras"
) -> PoseScore:
    """Score the cameras of a run, a COLMAP model or `transforms.json`."""
    return score_poses(read_run_cameras(result), read_truth_cameras(truth), align)


def evaluate_run_frame(result: Path, truth: Path) -> FrameError:
    """Compare the georeferenced frame of a run with a georeferenced truth.

    Raises:
        GeoError: the run or the truth is not on Earth.
    """
    cameras, true = read_run_cameras(result), read_truth_cameras(truth)
    if cameras.frame is None or true.frame is None:
        side = result if cameras.frame is None else truth
        raise GeoError(
            "These cameras are not on the map; no frame to compare.",
            where=str(side),
            next_step="Give a georeferenced run and a truth on Earth; voxterra eval poses "
            "compares cameras without a map.",
        )
    pairs = match_names(cameras.names, true.names)
    ours, theirs = np.array(pairs, int).reshape(-1, 2).T
    return evaluate_frame(
        cameras.cam_from_world[ours], cameras.frame, true.cam_from_world[theirs], true.frame
    )


def evaluate_depth(
    result: Path,
    truth: Path,
    align: Literal["none", "cameras", "scale"] = "cameras",
    *,
    cameras: Path | None = None,
    min_views: int = 3,
    progress: Progress = no_progress,
) -> DepthScore:
    """Score the depth maps of a run.

    If the truth has a mesh whose faces record how many photos see them, the score separates
    the pixels on faces that `min_views` photos see.
    """
    from voxterra.io.depth_store import DepthStore

    maps, truths = DepthStore(find_depth(Path(result))), read_truth_depth(truth)
    scale: float | None = 1.0
    if align == "cameras":
        posed = read_run_cameras(result) if is_run(Path(result)) else _cameras_of(maps.views)
        scale = truth_from_world(posed, _true_cameras(truth, cameras), "cameras").scale
    elif align == "scale":
        scale = None
    seen = {}
    surface = _mesh_beside(truth, min_views)
    if surface is not None:
        seen = seen_pixels(truths, _true_cameras(truth, cameras), surface)
    return score_depth(maps, truths, scale, align=align, seen=seen, progress=progress)


def evaluate_surface(
    result: Path,
    truth: Path,
    align: Align = "cameras",
    *,
    cameras: Path | None = None,
    thresholds: tuple[float, ...] = DEFAULT_THRESHOLDS,
    samples: int = SAMPLES,
    min_views: int = 3,
    labels: tuple[int, ...] = (),
    progress: Progress = no_progress,
) -> SurfaceScore:
    """Score the mesh of a run, or a PLY mesh; "surface" starts from "cameras" where it can."""
    from voxterra.io.ply import read_ply

    mesh = read_ply(find_product(result, "scene.ply"))[0]
    surface = read_truth_surface(truth, min_views=min_views, labels=labels)
    start = _alignment(result, truth, align, cameras)
    return score_surface(
        mesh,
        surface,
        start,
        align=align,
        thresholds=thresholds,
        samples=samples,
        progress=progress,
    )


def evaluate_raster(
    result: Path,
    truth: Path,
    align: Align = "cameras",
    *,
    cameras: Path | None = None,
    of: Literal["dsm", "mesh"] = "dsm",
    remove_offset: bool | None = None,
    min_views: int = 3,
    cell_size: float | None = None,
) -> RasterScore:
    """Score the DSM of a run, a DSM file, or the mesh of a run seen from above.

    Args:
        result: output folder of a run, or a GeoTIFF.
        truth: a true DSM or a reference point cloud.
        align: "cameras" moves the surface in 3D by the fit of camera centres; "none" compares on
            the map as delivered; "surface" fits the DSM's shape to the truth's.
        cameras: where the true cameras are, when they are not beside the truth.
        of: which product is scored.
        remove_offset: subtract the median difference; None = for reference point clouds.
        min_views: cells that fewer photos see are not scored.
        cell_size: of the grid a reference point cloud is put on.

    Raises:
        UsageError: these options need a georeferenced run, or do not go together.
    """
    reference = read_truth_raster(truth, min_views=min_views, cell_size=cell_size)
    remove = reference.is_reference if remove_offset is None else remove_offset
    if align == "surface":
        if of != "dsm":
            raise UsageError(
                "--align surface fits the DSM; it does not go with --of mesh.",
                next_step="Give --align cameras, or --of dsm.",
            )
        dsm, crs = read_dsm(find_product(result, "dsm.tif"))
        fitted, _ = fitted_dsm(dsm, crs, reference)
        return score_heights(fitted, reference, align=align, remove_offset=remove)
    if of == "dsm" and align == "none":
        dsm, crs = read_dsm(find_product(result, "dsm.tif"))
        if reference.is_reference:
            heights_m = median_dsm(dsm, crs, reference)
            source = source_of_medians(dsm, crs, reference)
            return score_heights(heights_m, reference, source=source, remove_offset=remove)
        heights, source = resample_dsm(dsm, crs, reference)
        return score_heights(heights, reference, source=source, remove_offset=remove)
    frame, true = read_run_frame(result), _true_cameras(truth, cameras)
    if frame is None or true.frame is None:
        raise UsageError(
            "Moving a surface onto the truth's map needs a georeferenced run and true cameras "
            "that lie on Earth.",
            where=str(result if frame is None else truth),
            next_step="Give the output folder of such a run, or --align none --of dsm.",
        )
    transform = truth_from_world(read_run_cameras(result), true, align)
    if of == "mesh":
        from voxterra.io.ply import read_ply

        mesh = read_ply(find_product(result, "scene.ply"))[0]
        heights, _ = drape(mesh, transform, true.frame, reference.grid)
        return score_heights(heights, reference, align=align, remove_offset=remove)
    dsm, _ = read_dsm(find_product(result, "dsm.tif"))
    heights, source = redraw_dsm(dsm, frame, transform, true.frame, reference.grid)
    return score_heights(heights, reference, align=align, source=source, remove_offset=remove)


def _cameras_of(views: tuple[PinholeView, ...]) -> PosedCameras:
    """Cameras of the views of the largest component."""
    component = Counter(view.component for view in views).most_common(1)[0][0]
    views = tuple(view for view in views if view.component == component)
    return PosedCameras(
        tuple(view.name for view in views),
        np.array([view.cam_from_world for view in views]),
        tuple(view.camera for view in views),
    )


def _alignment(result: Path, truth: Path, align: Align, cameras: Path | None) -> Similarity:
    if not is_run(Path(result)):
        if align == "cameras":
            raise UsageError(
                "--align cameras needs the cameras of the result.",
                where=str(result),
                next_step="Give the output folder of a run instead of a file.",
            )
        return Similarity.identity()
    mode: Literal["none", "cameras"] = "none" if align == "none" else "cameras"
    try:
        true = _true_cameras(truth, cameras)
    except InputError:
        if align == "cameras":
            raise
        return Similarity.identity()
    return truth_from_world(read_run_cameras(result), true, mode)


def _true_cameras(truth: Path, given: Path | None) -> PosedCameras:
    """The true cameras at `given`, else in the truth's folder or the two above it."""
    if given is not None:
        return read_truth_cameras(given)
    truth = Path(truth).resolve()
    for folder in (truth, truth.parent, truth.parent.parent):
        if folder.is_dir():
            try:
                return read_truth_cameras(folder)
            except InputError:
                continue
    raise InputError(
        "There are no true cameras beside this truth.",
        where=str(truth),
        next_step="Name them with --cameras, or give --align none.",
    )


def _mesh_beside(truth: Path, min_views: int) -> TruthSurface | None:
    truth = Path(truth).resolve()
    for folder in (truth, truth.parent):
        for file in (folder / "mesh.ply", folder / "truth" / "mesh.ply"):
            if file.is_file():
                return read_truth_surface(file, min_views=min_views)
    return None
