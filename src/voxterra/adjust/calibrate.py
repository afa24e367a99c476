"""Letting go of a lens that was held while the model grew, as far as the photos determine it."""

from __future__ import annotations

import logging

import numpy as np
import pycolmap
from numpy.typing import NDArray

from voxterra.adjust.colmap_calls import run_cancellable
from voxterra.adjust.lenses import (
    MAX_ERROR_PX,
    MAX_FOCAL_SIGMA,
    adjust_lenses,
    adjustment_options,
)
from voxterra.core.progress import Progress
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.mapping.plausibility import MAX_FOCAL_DRIFT, cameras_of, lens_doubts

_log = logging.getLogger(__name__)

# The largest standard deviation of a distortion at 1 px noise: how far it moves the corner of a
# photo, as a share of the corner's distance from the centre.
_MAX_CORNER_SIGMA = 0.01
# The mapper that held the lens kept points seen under angles this small.
_MIN_TRIANGULATION_DEG = 0.7


def calibrate(
    model: pycolmap.Reconstruction,
    config: SfmConfig,
    *,
    known_focal_px: dict[int, float],
    fixed: frozenset[int] = frozenset(),
    progress: Progress,
) -> tuple[pycolmap.Reconstruction, bool]:
    """The model adjusted with a free lens, and whether its focal length was free too.

    Focal length and distortion are let go where both are determined, else the distortion alone,
    else nothing; cameras with the ids `fixed` never.
    """
    free = set(cameras_of(model)) - fixed
    if not free:
        return model, False

    def work(_: pycolmap.CancellationToken) -> tuple[pycolmap.Reconstruction, bool]:
        for free_focal in (True, False):
            if free_focal and config.refine_focal_length == "never":
                continue
            options = adjustment_options(config, refine_principal_point=False)
            options.refine_focal_length = free_focal
            adjusted = pycolmap.Reconstruction(model)
            adjuster = adjust_lenses(adjusted, options, free)
            if adjuster is not None and _determined(
                adjusted, adjuster, free, free_focal, known_focal_px
            ):
                adjusted.update_point_3d_errors()
                observations = pycolmap.ObservationManager(adjusted)
                observations.filter_all_points3D(MAX_ERROR_PX, _MIN_TRIANGULATION_DEG)
                return adjusted, free_focal
        return model, False

    found, free_focal = run_cancellable(work, lambda: progress(0.5, "calibrating the lens"))
    what = "focal length and distortion" if free_focal else "distortion only"
    _log.info("Lens let go: %s.", "nothing" if found is model else what)
    return found, free_focal


def _determined(
    model: pycolmap.Reconstruction,
    adjuster: pycolmap.CeresBundleAdjuster,
    cameras: set[int],
    free_focal: bool,
    known_focal_px: dict[int, float],
) -> bool:
    covariance = pycolmap.estimate_ba_covariance(pycolmap.BACovarianceOptions(), model, adjuster)
    if covariance is None:
        return False
    for camera_id in sorted(cameras):
        camera = model.camera(camera_id)
        focal, known = camera.mean_focal_length(), known_focal_px.get(camera_id)
        if lens_doubts(camera) or (known and abs(np.log(focal / known)) > MAX_FOCAL_DRIFT):
            return False
        of_params = covariance.get_other_params_cov(camera.params)
        if of_params is None:
            return False
        focals, extras = list(camera.focal_length_idxs()), list(camera.extra_params_idxs())
        free = sorted((focals if free_focal else []) + extras)  # the optical centre is held
        sigmas = dict(zip(free, np.sqrt(np.abs(np.diag(of_params))), strict=True))
        if free_focal and max(sigmas[i] for i in focals) > MAX_FOCAL_SIGMA * focal:
            return False
        rows = [free.index(i) for i in extras]
        if _corner_sigma(camera, extras, of_params[np.ix_(rows, rows)]) > _MAX_CORNER_SIGMA:
            return False
    return True


def _corner_sigma(
    camera: pycolmap.Camera, extras: list[int], covariance: NDArray[np.float64]
) -> float:
    """How far the distortion's uncertainty moves a corner, as a share of its distance."""
    half = 0.5 * np.array([camera.width, camera.height])
    corner = np.array([[*(half / camera.mean_focal_length()), 1.0]])

    def at(params: NDArray[np.float64]) -> NDArray[np.float64]:
        moved = pycolmap.Camera(
            model=camera.model, width=camera.width, height=camera.height, params=params
        )
        return np.asarray(moved.img_from_cam(corner))[0]

    steps = 1e-4 * np.eye(len(camera.params))[extras]
    columns = [(at(camera.params + step) - at(camera.params - step)) / 2e-4 for step in steps]
    jacobian = np.array(columns).reshape(-1, 2).T
    spread = jacobian @ covariance @ jacobian.T
    return float(np.sqrt(max(np.linalg.eigvalsh(spread)[-1], 0.0)) / np.hypot(*half))
