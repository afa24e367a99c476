"""Map the photos in one way and judge the models: a candidate result."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap

from voxterra.adjust.lenses import calibrate
from voxterra.adjust.positions import USUAL_SIGMA_M, positions_m
from voxterra.core.photos import Photo
from voxterra.core.progress import Progress, part
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.cameras import CameraGroup, calibrated_ids, known_focals
from voxterra.sfm.features.database import write_focal_lengths
from voxterra.sfm.features.staging import StagedPhotos
from voxterra.sfm.mapping.attempts import Attempt
from voxterra.sfm.mapping.mappers import map_photos
from voxterra.sfm.mapping.plausibility import Plausibility, judge

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """Models of one attempt, largest first, and how plausible they are."""

    attempt: Attempt
    models: tuple[pycolmap.Reconstruction, ...]
    focal_refined: bool
    plausibility: Plausibility


@dataclass(frozen=True)
class MappingTask:
    """Inputs that all attempts share."""

    database: Path
    photos: tuple[Photo, ...]
    staged: StagedPhotos
    groups: tuple[CameraGroup, ...]
    config: SfmConfig
    use_position_priors: bool

    @property
    def known_focal_px(self) -> dict[int, float]:
        return known_focals(self.groups)

    @property
    def calibrated(self) -> frozenset[int]:
        return calibrated_ids(self.groups)

    @property
    def focal_known(self) -> bool:
        """Whether the metadata has the focal length of most photos."""
        known = sum(len(group.members) for group in self.groups if group.focal_known)
        return 2 * known > len(self.photos)


def map_attempt(task: MappingTask, attempt: Attempt, progress: Progress) -> Candidate:
    """Map the photos with the settings of `attempt` and judge the models."""
    write_focal_lengths(task.database, task.groups, attempt.focal_factor)
    models = map_photos(
        task.database,
        task.staged.image_dir,
        len(task.photos),
        task.config,
        use_position_priors=task.use_position_priors,
        attempt=attempt,
        calibrated=task.calibrated,
        priors=tuple((photo.id, photo.gps) for photo in task.photos),
        progress=part(progress, 0.0, 0.9),
    )
    focal_refined = attempt.free_focal
    # Position priors hold the model in place; an adjustment without them would move it.
    if attempt.held and not task.use_position_priors:
        share = part(progress, 0.9, 1.0)
        known = task.known_focal_px
        found = [
            calibrate(
                model,
                task.config.adjust,
                known_focal_px=known,
                fixed=task.calibrated,
                progress=share,
            )
            for model in models
        ]
        models = [model for model, _ in found]
        focal_refined = all(free for _, free in found)
    plausibility = judge(
        models,
        task.database,
        known_focal_px=task.known_focal_px,
        positions_m=positions_m(task.photos),
        gps_sigma_m=gps_sigma_m(task.photos),
    )
    _log.info(
        "%s: %d of %d connected photos registered, %.2f px, %d observations, doubts: %s.",
        attempt, plausibility.registered, plausibility.connected, plausibility.error_px,
        plausibility.observations, ", ".join(sorted(plausibility.doubts)) or "none",
    )  # fmt: skip
    return Candidate(attempt, tuple(models), focal_refined, plausibility)


def gps_sigma_m(photos: Sequence[Photo]) -> float:
    """Median horizontal standard deviation of the photos' GPS [m], at least a usual receiver's."""
    stated = [p.gps.sigma_horizontal_m or USUAL_SIGMA_M for p in photos if p.gps is not None]
    return max(float(np.median(stated)), USUAL_SIGMA_M) if stated else USUAL_SIGMA_M
