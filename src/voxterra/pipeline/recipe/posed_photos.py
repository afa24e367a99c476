"""Depth maps for a training whose source has cameras but no depth: points and stereo, then priors.

What the training would look at is what stereo looks at: the same undistorted images of the same
size, without those held out.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.progress import Progress, no_progress, part
from voxterra.core.reconstruction import Reconstruction
from voxterra.depth.config import DepthConfig
from voxterra.errors import MissingPartError
from voxterra.io.depth_store import write_image
from voxterra.sfm.config import SfmConfig
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.scene.photo_files import scene_points
from voxterra.surface.voxels.scene.scene import Scene, ScenePoints, SceneView, checked_prior


def needs_stereo(scene: Scene, config: VoxelConfig) -> bool:
    """Whether depth maps are requested and none of the views to train on has one."""
    return config.stereo and all(view.prior is None for view in scene.training)


def with_stereo(
    scene: Scene,
    config: VoxelConfig,
    work_dir: Path,
    *,
    progress: Progress = no_progress,
) -> Scene:
    """The scene with depth maps of its training views as priors, and with sparse points.

    Args:
        scene: with known cameras.
        config: what counts is `stereo_size`, and `device` where to compute.
        work_dir: folder for the results; an interrupted call is resumed there.
        progress: called often; what it raises stops the work.

    Raises:
        TooFewPhotosError: fewer than two views to train on.
        NoOverlapError: no two photos agree where their cameras say they should.
        ReconstructionError: no photo has another one to be matched against.
        MissingPartError: what finds points or depth is not installed.
    """
    try:
        from voxterra.depth.estimate import estimate_depth
        from voxterra.sfm.known_poses import triangulate_known
    except ModuleNotFoundError as error:  # a machine that only trains may do without
        raise MissingPartError(
            f"Stereo needs {error.name}, which is not installed.",
            where="--stereo",
            next_step=f"pip install {error.name}, or prepare the depth maps elsewhere, or train "
            "without (--stereo false).",
        ) from error

    at = [i for i, view in enumerate(scene.views) if not view.held_out]
    names = [f"{number:05d}" for number in range(len(at))]
    views = tuple(replace(scene.views[i].view, name=n, component=0) for i, n in zip(at, names))
    photos = _photos([scene.views[i] for i in at], names, work_dir / "photos")
    component = triangulate_known(
        photos, views, SfmConfig(), work_dir=work_dir / "sfm", progress=part(progress, 0.0, 0.2)
    )
    store = estimate_depth(
        (component,),
        photos,
        DepthConfig(max_size=config.stereo_size, device=config.device),
        out_dir=work_dir / "depth",
        progress=part(progress, 0.2, 1.0),
    )
    row_of = {view.name: row for row, view in enumerate(store.views)}
    out = list(scene.views)
    for i, name in zip(at, names):
        if name in row_of:
            out[i] = replace(out[i], prior=checked_prior(store.load(row_of[name])))
    points = scene.points
    if points is None or not len(points.point):  # none, or such that no view is known to have seen
        points = _points(component, dict(zip(names, at)), len(out)) or points
    return replace(scene, views=tuple(out), points=points)


def _photos(views: list[SceneView], names: list[str], folder: Path) -> PhotoSet:
    """Write the images as files, if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = []
    for view, name in zip(views, names):
        path, mask_path = folder / f"{name}.png", None
        digest = hashlib.sha256(view.rgb.tobytes())
        _write_once(view.rgb, path, digest.hexdigest())
        if (counts := view.counts) is not None:
            mask_path = folder / f"{name}_mask.png"
            mask = np.where(counts, 255, 0).astype(np.uint8)
            digest.update(mask.tobytes())
            _write_once(mask, mask_path, hashlib.sha256(mask.tobytes()).hexdigest())
        photos.append(
            Photo(
                name, path, view.view.width, view.view.height, digest.hexdigest(),
                camera_key=name, mask_path=mask_path,
            )
        )  # fmt: skip
    return PhotoSet(folder, tuple(photos))


def _write_once(pixels: NDArray[np.uint8], path: Path, digest: str) -> None:
    """Write an image unless it is unchanged: a database of features identifies it by its time."""
    record = path.with_suffix(".sha256")
    if path.is_file() and record.is_file() and record.read_text() == digest:
        return
    write_image(pixels, path)
    record.write_text(digest)


def _points(component: Reconstruction, at: dict[str, int], count: int) -> ScenePoints | None:
    """The component's points by view of the scene; `at` maps names to views."""
    found = scene_points(component.points, len(component.images))
    if found is None:
        return None
    row_of = {at[image.name]: row for row, image in enumerate(component.images)}
    seen = [
        found.seen_by(row_of[i]) if i in row_of else np.empty(0, np.int64) for i in range(count)
    ]
    return found.of_views(seen)
