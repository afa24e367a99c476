"""The last adjustment of a model: optical centres where the photos determine them.

COLMAP keeps the optical centre at the middle of the photo, because weak blocks trade it for
camera tilt. Strong blocks gain much from its estimation (Fraser, Digital camera
self-calibration, 1997), so the covariance of the adjustment decides.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pycolmap

from voxterra.core.progress import Progress
from voxterra.sfm.background import run_cancellable
from voxterra.sfm.config import SfmConfig

_log = logging.getLogger(__name__)

# Fewer photos in a model are never enough for `auto`.
MIN_PHOTOS = 8

# Largest standard deviations at an observation noise of 1 px, as a share of the longer side (of
# the optical centre) and of the focal length. Convergent blocks come to 0.001 and 0.002, a
# nadir flight to 0.003 and 0.02, where the estimate was also 20 % wrong.
MAX_CENTER_SIGMA = 0.002
MAX_FOCAL_SIGMA = 0.01

# A lens further off-centre than this is a failed estimate, as a share of the longer side.
MAX_CENTER_SHIFT = 0.05

# Points off by more after the adjustment are outliers; COLMAP's own filter stands at 4 px.
MAX_ERROR_PX = 3.0
MIN_TRIANGULATION_DEG = 1.5

_MAX_ITERATIONS = 30


def has_weak_focal_length(model: pycolmap.Reconstruction, config: SfmConfig) -> bool:
    """Whether metadata states the focal lengths and the photos determine them badly.

    Such are parallel views, all straight down: focal length and depth can grow together.
    """
    used = {model.image(image_id).camera_id for image_id in model.reg_image_ids()}
    if not all(model.camera(camera_id).has_prior_focal_length for camera_id in used):
        return False
    adjusted = pycolmap.Reconstruction(model)
    options = _options(config, refine_principal_point=False)
    options.ceres.solver_options.max_num_iterations = 3  # the mapper has just converged
    adjuster = pycolmap.create_default_ceres_bundle_adjuster(options, _all_of(adjusted), adjusted)
    if not adjuster.solve().is_solution_usable():
        return True
    sigmas = _sigmas(adjusted, adjuster)
    return sigmas is None or max(sigma.focal for sigma in sigmas) > MAX_FOCAL_SIGMA


def refine(
    model: pycolmap.Reconstruction,
    config: SfmConfig,
    *,
    refine_focal_length: bool = True,
    progress: Progress,
) -> pycolmap.Reconstruction:
    """The model after an adjustment with free optical centres, or `model` when they are weak."""
    wanted = config.refine_principal_point
    if wanted == "never" or (wanted == "auto" and model.num_reg_images() < MIN_PHOTOS):
        return model
    if wanted == "auto" and not refine_focal_length:
        return model  # what cannot carry a focal length cannot carry an optical centre
    refined = pycolmap.Reconstruction(model)
    options = _options(config, refine_principal_point=True)
    options.refine_focal_length = refine_focal_length
    reason: list[str] = []

    def work(_: pycolmap.CancellationToken) -> None:
        adjuster = pycolmap.create_default_ceres_bundle_adjuster(options, _all_of(refined), refined)
        if not adjuster.solve().is_solution_usable():
            reason.append("the adjustment failed")
        elif wanted == "auto":
            reason.extend(_weaknesses(refined, adjuster))

    run_cancellable(work, lambda: progress(0.5, "adjusting optical centres"))
    if reason:
        _log.info("Optical centres stay in the middle: %s.", "; ".join(reason))
        return model
    refined.update_point_3d_errors()
    observations = pycolmap.ObservationManager(refined)
    observations.filter_all_points3D(MAX_ERROR_PX, MIN_TRIANGULATION_DEG)
    return refined


@dataclass(frozen=True)
class _Sigmas:
    """Standard deviations of a camera at 1 px noise, as shares of focal length and longer side."""

    focal: float
    center: float
    shift: float


def _all_of(model: pycolmap.Reconstruction) -> pycolmap.BundleAdjustmentConfig:
    config = pycolmap.BundleAdjustmentConfig()
    for image_id in model.reg_image_ids():
        config.add_image(image_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    return config


def _options(
    config: SfmConfig, *, refine_principal_point: bool
) -> pycolmap.BundleAdjustmentOptions:
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_principal_point = refine_principal_point
    options.print_summary = False
    options.ceres.solver_options.num_threads = config.used_threads
    options.ceres.solver_options.max_num_iterations = _MAX_ITERATIONS
    return options


def _sigmas(
    model: pycolmap.Reconstruction, adjuster: pycolmap.CeresBundleAdjuster
) -> list[_Sigmas] | None:
    """One a camera in use; None when the photos leave some parameter undetermined."""
    covariance = pycolmap.estimate_ba_covariance(pycolmap.BACovarianceOptions(), model, adjuster)
    if covariance is None:
        return None
    out = []
    for camera_id in sorted({model.image(i).camera_id for i in model.reg_image_ids()}):
        camera = model.camera(camera_id)
        of_params = covariance.get_other_params_cov(camera.params)
        if of_params is None:
            return None
        # Parameters that were held have no row: without its two, the centre's is nought.
        sigma = np.zeros(len(camera.params))
        centers, focals = list(camera.principal_point_idxs()), list(camera.focal_length_idxs())
        free = list(range(len(sigma)))
        if len(of_params) < len(sigma):
            free = [i for i in free if i not in centers]
        sigma[free] = np.sqrt(np.abs(np.diag(of_params)))
        side = max(camera.width, camera.height)
        shift = np.abs(camera.params[centers] - [camera.width / 2, camera.height / 2]).max()
        focal = (sigma[focals] / camera.params[focals]).max()
        out.append(_Sigmas(float(focal), float(sigma[centers].max() / side), float(shift / side)))
    return out


def _weaknesses(
    model: pycolmap.Reconstruction, adjuster: pycolmap.CeresBundleAdjuster
) -> list[str]:
    """What speaks against freeing the optical centres; empty when nothing does."""
    sigmas = _sigmas(model, adjuster)
    if sigmas is None:
        return ["some parameters are not determined at all"]
    problems = []
    for sigma in sigmas:
        if sigma.center > MAX_CENTER_SIGMA:
            problems.append(f"known to {100 * sigma.center:.2f} % of the photo's side only")
        if sigma.focal > MAX_FOCAL_SIGMA:
            problems.append(f"the focal length is known to {100 * sigma.focal:.1f} % only")
        if sigma.shift > MAX_CENTER_SHIFT:
            problems.append(f"they came out {100 * sigma.shift:.0f} % of the photo's side off")
    return problems
