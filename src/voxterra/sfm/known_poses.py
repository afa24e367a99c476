"""Triangulate sparse points of photos with known cameras: features, matches, triangulation."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
from numpy.typing import NDArray

from voxterra.adjust.colmap_calls import quiet_colmap, run_cancellable
from voxterra.core.camera import Camera, PinholeView
from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.progress import Progress, no_progress, part
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.errors import NoOverlapError, TooFewPhotosError
from voxterra.io.colmap.model import from_pycolmap, write_colmap
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.cameras import CameraGroup
from voxterra.sfm.features.database import open_database
from voxterra.sfm.features.features import extract_features
from voxterra.sfm.features.matching import match_pairs
from voxterra.sfm.features.pairs import exhaustive_pairs, spatial_pairs
from voxterra.sfm.features.staging import StagedPhotos, stage_photos, with_photo_ids

MIN_POINTS = 12
"""Photos that observe fewer points disagree with their cameras; some always match by chance."""
SAME_PLACE = 1e-6
"""Photos nearer to each other than this part of the cameras' median spread are at one place."""
SAME_WAY = 0.3
"""Least cosine between the optical axes of two photos that are matched: 72 degrees."""


def triangulate_known(
    photos: PhotoSet,
    views: tuple[PinholeView, ...],
    config: SfmConfig = SfmConfig(),
    *,
    work_dir: Path,
    progress: Progress = no_progress,
) -> Reconstruction:
    """Sparse points of undistorted photos with known cameras, which stay as they are.

    Args:
        photos: two or more pinhole images.
        views: their cameras, in the same order and at the photos' size.
        config: only sizes, numbers and seeds of features and matches are used.
        work_dir: folder for links to the photos and COLMAP's database; features and matches in it
            are used again.
        progress: called often; what it raises stops the work.

    Returns:
        All photos as one component in the frame of `views`, with the points that they agree on.

    Raises:
        TooFewPhotosError: fewer than two photos.
        NoOverlapError: fewer than half of the photos agree with others.
        FormatError: a photo or mask cannot be read.
    """
    if len(views) < 2:
        raise TooFewPhotosError(
            f"Points need two photos or more; there is {len(views)}.",
            next_step="Add photos that overlap by 60 % or more.",
        )
    work_dir.mkdir(parents=True, exist_ok=True)
    with quiet_colmap():
        staged = stage_photos(photos.photos, work_dir, progress=part(progress, 0.0, 0.02))
        database = open_database(photos.photos, staged, _groups(views), config, work_dir)
        extract_features(database, staged, config, progress=part(progress, 0.02, 0.4))
        pairs = _pairs(views, config)
        match_pairs(database, staged, pairs, config, progress=part(progress, 0.4, 0.85))
        model = _triangulated(
            photos.photos, views, staged, database, config, part(progress, 0.85, 1.0)
        )
    for folder in (staged.image_dir, staged.mask_dir):
        shutil.rmtree(folder, ignore_errors=True)
    seen = [len(model.points.observed_by(i)) for i in range(len(views))]
    agree = sum(count >= MIN_POINTS for count in seen)
    if 2 * agree < len(views):
        raise NoOverlapError(
            f"Only {agree} of {len(views)} photos agree with others according to their cameras "
            f"(in {MIN_POINTS} points or more).",
            where=f"{len(views)} photos with known cameras",
            next_step="Check that the cameras belong to these photos (names, frame, axes), or let "
            "Voxterra find them: voxterra run PHOTOS.",
        )
    progress(1.0, f"{len(model.points):,} points")
    return model


def _groups(views: tuple[PinholeView, ...]) -> tuple[CameraGroup, ...]:
    # Not "known": COLMAP puts the optical centre in the middle, so pairs are verified without it.
    return tuple(
        CameraGroup("PINHOLE", view.width, view.height, float(view.K[0, 0]), False, (index,))
        for index, view in enumerate(views)
    )


def _pairs(views: tuple[PinholeView, ...], config: SfmConfig) -> NDArray[np.int64]:
    """All pairs of a small set, else photos of each place with those of the nearest places; only
    photos with similar viewing directions.
    """
    axes = np.array([view.cam_from_world[2, :3] for view in views])
    if len(views) <= config.max_exhaustive_photos:
        pairs = exhaustive_pairs(len(views))
    else:
        # Faces of a panorama are at one place: its nearest views would be all its own.
        centers = np.array([view.center_in_world for view in views])
        away = np.linalg.norm(centers - np.median(centers, axis=0), axis=1)
        tolerance = SAME_PLACE * float(np.median(away))
        at = np.rint((centers - centers[0]) / max(tolerance, 1e-300))
        places, place = np.unique(at, axis=0, return_inverse=True)
        near = spatial_pairs(places, config.spatial_neighbours)
        of_place = [np.flatnonzero(place.ravel() == index) for index in range(len(places))]
        crossed = [np.stack(np.meshgrid(of_place[a], of_place[b]), -1) for a, b in near]
        pairs = np.concatenate([np.empty((0, 2), np.int64), *(c.reshape(-1, 2) for c in crossed)])
        pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    same_way = (axes[pairs[:, 0]] * axes[pairs[:, 1]]).sum(1) > SAME_WAY
    return pairs[same_way] if same_way.any() else pairs


def _triangulated(
    photos: tuple[Photo, ...],
    views: tuple[PinholeView, ...],
    staged: StagedPhotos,
    database: Path,
    config: SfmConfig,
    progress: Progress,
) -> Reconstruction:
    """Triangulate the matches in `database` with the known cameras."""
    cameras, images = {}, []
    for number, (view, name) in enumerate(zip(views, staged.names), 1):
        K = view.K
        numbers = (float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]))
        cameras[number] = Camera("PINHOLE", view.width, view.height, numbers)
        images.append(Image(name, number, view.cam_from_world))
    known = Reconstruction(cameras, tuple(images), _no_points())
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads, options.random_seed = config.used_threads, config.random_seed
    options.triangulation.ignore_two_view_tracks = len(views) > 3
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        write_colmap(known, Path(folder) / "known")
        model = pycolmap.Reconstruction(Path(folder) / "known")
        out = Path(folder) / "points"
        out.mkdir()

        def work(token: pycolmap.CancellationToken) -> pycolmap.Reconstruction:
            return pycolmap.triangulate_points(
                model, database, staged.image_dir, out, options=options, cancellation_token=token
            )

        def report() -> None:
            progress(0.5, "triangulating points")

        found = with_photo_ids(
            from_pycolmap(run_cancellable(work, report, folder=out)), photos, staged
        )
    # COLMAP stores rotations as quaternions; the views' own numbers are the exact ones.
    exact = {photo.id: view.cam_from_world for photo, view in zip(photos, views)}
    placed = tuple(replace(image, cam_from_world=exact[image.name]) for image in found.images)
    return replace(found, images=placed)


def _no_points() -> SparsePoints:
    return SparsePoints(
        np.empty((0, 3)), np.empty((0, 3), np.uint8), np.empty(0), np.zeros(1, np.int64),
        np.empty(0, np.int32), np.empty((0, 2)),
    )  # fmt: skip
