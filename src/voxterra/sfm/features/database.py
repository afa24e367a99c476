"""COLMAP's database of a photo set: cameras, images, features, matches, position priors.

Image ids are photo indices plus one. The database's name holds a fingerprint of everything that
features and matches depend on, so a database that is there already can be continued.

Never open it with Python's sqlite3 while COLMAP works on it: two SQLite libraries in one process
undo each other's locks on a file and crash.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
from numpy.typing import NDArray

from voxterra.core.photos import Photo
from voxterra.io.files.disk import require_space
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.cameras import CameraGroup
from voxterra.sfm.features.staging import StagedPhotos

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairCounts:
    """Result of matching.

    Attributes:
        pairs: (N, 2) int64 photo indices of pairs that match, first < second.
        inliers: (N,) int64 number of matches that agree with one relative pose, all > 0.
    """

    pairs: NDArray[np.int64]
    inliers: NDArray[np.int64]


def open_database(
    photos: tuple[Photo, ...],
    staged: StagedPhotos,
    groups: tuple[CameraGroup, ...],
    config: SfmConfig,
    work_dir: Path,
) -> Path:
    """Path of the database of these photos; creates it if missing, and deletes outdated ones."""
    path = work_dir / f"database-{_fingerprint(photos, groups, config)}.db"
    for other in work_dir.glob("database-*.db*"):
        if not other.name.startswith(path.name):
            other.unlink()
    if drop_damaged(path):
        _log.warning("The database of features is damaged; starting over.")
    if not path.exists():
        partial = work_dir / "partial.db"
        for leftover in work_dir.glob("partial.db*"):
            leftover.unlink()
        _create(partial, staged, groups)
        partial.replace(path)
    return path


@contextmanager
def writing(path: Path) -> Iterator[pycolmap.Database]:
    """Open the database in a transaction, after a check of free space: on a full disk COLMAP would
    end the whole process.
    """
    require_space(path.parent)
    with closing(pycolmap.Database.open(path)) as database, pycolmap.DatabaseTransaction(database):
        yield database


@contextmanager
def derived(database: Path, target: Path) -> Iterator[pycolmap.Database]:
    """Copy a database and open the copy for changes; it appears at `target` only when complete."""
    partial = target.with_name(f"{database.name}.partial.db")
    for leftover in partial.parent.glob(f"{partial.name}*"):  # with SQLite's journals
        leftover.unlink()
    shutil.copyfile(database, partial)
    with writing(partial) as opened:
        yield opened
    os.replace(partial, target)


def drop_damaged(path: Path) -> bool:
    """Delete a damaged database and all derived ones; whether it was damaged."""
    damaged = path.exists() and is_damaged(path)
    if damaged:
        for part in path.parent.glob(f"{path.name}*"):
            part.unlink()
    return damaged


def is_damaged(path: Path) -> bool:
    """Whether SQLite cannot read the database, as after a power cut or on a failing disk.

    COLMAP does not sync to disk. A killed process alone damages nothing.
    """
    import sqlite3  # see above: it must be closed again before COLMAP opens the database

    try:
        with closing(sqlite3.connect(path)) as database:
            found = database.execute("PRAGMA quick_check(1)").fetchall()
            database.execute("SELECT 1 FROM cameras LIMIT 1")  # an empty file is a database, too
            return bool(found != [("ok",)])
    except sqlite3.OperationalError as error:
        return "no such table" in str(error)  # others: no space, no rights; no damage
    except sqlite3.DatabaseError:
        return True


def _fingerprint(
    photos: tuple[Photo, ...], groups: tuple[CameraGroup, ...], config: SfmConfig
) -> str:
    content = [
        pycolmap.__version__,
        [(photo.sha256 or str(photo.path), _size(photo.mask_path)) for photo in photos],
        [tuple(vars(group).values()) for group in groups],
        [config.max_image_size, config.max_features, config.random_seed],
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _size(path: Path | None) -> tuple[int, int] | None:
    return None if path is None else (path.stat().st_size, path.stat().st_mtime_ns)


def _create(path: Path, staged: StagedPhotos, groups: tuple[CameraGroup, ...]) -> None:
    with writing(path) as database:
        camera_of_image = {}
        for camera_id, group in enumerate(groups, 1):
            camera = _camera(camera_id, group, group.focal_px)
            database.write_camera(camera, use_camera_id=True)
            rig = pycolmap.Rig(rig_id=camera_id)
            rig.add_ref_sensor(camera.sensor_id)
            database.write_rig(rig, use_rig_id=True)
            camera_of_image.update({index + 1: camera_id for index in group.members})
        for image_id, name in enumerate(staged.names, 1):
            camera_id = camera_of_image[image_id]
            image = pycolmap.Image(name=name, camera_id=camera_id, image_id=image_id)
            database.write_image(image, use_image_id=True)
            frame = pycolmap.Frame(frame_id=image_id, rig_id=camera_id)
            frame.add_data_id(image.data_id)
            database.write_frame(frame, use_frame_id=True)


def write_focal_lengths(
    path: Path, groups: tuple[CameraGroup, ...], focal_factor: float | None
) -> None:
    """Set every camera's focal length: from metadata, else `focal_factor` times the longer side.

    `focal_factor` None means the usual guess.
    """
    with writing(path) as database:
        for camera_id, group in enumerate(groups, 1):
            focal_px = group.focal_px
            if focal_factor is not None and not group.focal_known:
                focal_px = focal_factor * max(group.width, group.height)
            database.update_camera(_camera(camera_id, group, focal_px))


def _camera(camera_id: int, group: CameraGroup, focal_px: float) -> pycolmap.Camera:
    camera = pycolmap.Camera.create_from_model_name(
        camera_id, group.model, focal_px, group.width, group.height
    )
    camera.has_prior_focal_length = group.focal_known
    if group.params is not None:
        camera.params = group.params
    return camera


def write_position_priors(
    path: Path, positions: NDArray[np.float64], sigmas_m: NDArray[np.float64]
) -> None:
    """Replace the position priors.

    Args:
        path: database.
        positions: (N, 3) in a local metric frame [m]; rows with NaN get no prior.
        sigmas_m: (N, 3) standard deviations [m].
    """
    with writing(path) as database:
        database.clear_pose_priors()
        images = {image.image_id: image for image in database.read_all_images()}
        for index in np.flatnonzero(np.isfinite(positions).all(axis=1)):
            prior = pycolmap.PosePrior()
            prior.corr_data_id = images[int(index) + 1].data_id
            prior.position = positions[index]
            prior.position_covariance = np.diag(sigmas_m[index] ** 2)
            prior.coordinate_system = pycolmap.PosePriorCoordinateSystem.CARTESIAN
            database.write_pose_prior(prior)


class FeatureCount:
    """Count photos with features in a database, cheaply enough to poll.

    COLMAP takes photos roughly in order, so each call checks only the first photos that had none
    before; one query a photo, for ten thousand photos several times a second, takes a whole core.
    """

    _ASKED = 256

    def __init__(self, database: pycolmap.Database, photo_count: int):
        self._database = database
        self._missing = list(range(1, photo_count + 1))
        self._done = 0

    def now(self) -> int:
        """Number of photos seen with features so far."""
        while self._missing:
            asked = self._missing[: self._ASKED]
            left = [i for i in asked if not self._database.exists_keypoints(i)]
            self._done += len(asked) - len(left)
            self._missing[: self._ASKED] = left
            if left:
                break
        return self._done


def tried_pairs(path: Path) -> int:
    """Number of pairs that were matched, with or without success."""
    with closing(pycolmap.Database.open(path)) as database:
        return int(database.num_matched_image_pairs())


def feature_counts(path: Path, photo_count: int) -> NDArray[np.int64]:
    """(photo_count,) number of features in each photo."""
    with closing(pycolmap.Database.open(path)) as database:
        return np.array(
            [database.num_keypoints_for_image(i + 1) for i in range(photo_count)], np.int64
        )


def pair_counts(path: Path) -> PairCounts:
    """Pairs that match, with their number of verified matches."""
    with closing(pycolmap.Database.open(path)) as database:
        return _counted(*database.read_two_view_geometry_num_inliers())


def raw_pair_counts(path: Path) -> PairCounts:
    """Pairs with matching features and their number, before verification."""
    with closing(pycolmap.Database.open(path)) as database:
        return _counted(*database.read_num_matches())


def _counted(pair_ids: Sequence[int], counts: Sequence[int]) -> PairCounts:
    pairs = [sorted(pycolmap.pair_id_to_image_pair(pair_id)) for pair_id in pair_ids]
    return PairCounts(np.array(pairs, np.int64).reshape(-1, 2) - 1, np.array(counts, np.int64))
