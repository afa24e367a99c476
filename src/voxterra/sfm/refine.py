"""The last adjustment of a model: optical centres where the photos determine them.

COLMAP keeps the optical centre at the middle of the photo, because weak blocks trade it for
camera tilt. Strong blocks gain much from its estimation (Fraser, Digital camera
self-calibration, 1997), so the covariance of the adjustment decides.
"""

from __future__ import annotations

import logging

import numpy as np
import pycolmap

from voxterra.core.progress import Progress
from voxterra.sfm.background import run_cancellable
from voxterra.sfm.config import SfmConfig

_log = logging.getLogger(__name__)

# Fewer photos in a model are never enough for `auto`.
MIN_PHOTOS = 8

# Largest standard deviations at an observation noise of 1 px, as a share of the longer side (of
# the optical centre) and of the focal length. Convergent blocks come to 0.001 and 0.002, a flat
# single flight to 0.003 and 0.03, where the estimate was also 20 % wrong.
MAX_CENTER_SIGMA = 0.002
MAX_FOCAL_SIGMA = 0.01

# A lens further off-centre than this is a failed estimate, as a share of the longer side.
MAX_CENTER_SHIFT = 0.05

# Points off by more after the adjustment are outliers; COLMAP's own filter stands at 4 px.
MAX_ERROR_PX = 3.0
MIN_TRIANGULATION_DEG = 1.5

_MAX_ITERATIONS = 30


def refine(
    model: pycolmap.Reconstruction, config: SfmConfig, *, progress: Progress
) -> pycolmap.Reconstruction:
    """The model after an adjustment with free optical centres, or `model` when they are weak.

    A camera's centre is freed when all its group's estimates are well determined; else the model
    stays as the mapper left it.
    """
    wanted = config.refine_principal_point
    if wanted == "never" or (wanted == "auto" and model.num_reg_images() < MIN_PHOTOS):
        return model
    refined = pycolmap.Reconstruction(model)
    config_ba = pycolmap.BundleAdjustmentConfig()
    for image_id in refined.reg_image_ids():
        config_ba.add_image(image_id)
    config_ba.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    options = _options(config)
    reason: list[str] = []

    def work(_: pycolmap.CancellationToken) -> None:
        adjuster = pycolmap.create_default_ceres_bundle_adjuster(options, config_ba, refined)
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


def _options(config: SfmConfig) -> pycolmap.BundleAdjustmentOptions:
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_principal_point = True
    options.print_summary = False
    options.ceres.solver_options.num_threads = config.used_threads
    options.ceres.solver_options.max_num_iterations = _MAX_ITERATIONS
    return options


def _weaknesses(
    model: pycolmap.Reconstruction, adjuster: pycolmap.CeresBundleAdjuster
) -> list[str]:
    """What speaks against freeing the optical centres; empty when nothing does."""
    covariance = pycolmap.estimate_ba_covariance(pycolmap.BACovarianceOptions(), model, adjuster)
    if covariance is None:
        return ["some parameters are not determined at all"]
    problems = []
    used = {model.image(image_id).camera_id for image_id in model.reg_image_ids()}
    for camera_id in sorted(used):
        camera = model.camera(camera_id)
        of_params = covariance.get_other_params_cov(camera.params)
        if of_params is None:
            return ["the lens parameters have no covariance"]
        sigma = np.sqrt(np.abs(np.diag(of_params)))
        side = max(camera.width, camera.height)
        center = list(camera.principal_point_idxs())
        focal = list(camera.focal_length_idxs())
        shift = np.abs(camera.params[center] - [camera.width / 2, camera.height / 2])
        if sigma[center].max() > MAX_CENTER_SIGMA * side:
            problems.append(f"known to {sigma[center].max():.1f} px only")
        if (sigma[focal] / camera.params[focal]).max() > MAX_FOCAL_SIGMA:
            problems.append("the focal length is weak")
        if shift.max() > MAX_CENTER_SHIFT * side:
            problems.append(f"they came out {shift.max():.0f} px off")
    return problems
