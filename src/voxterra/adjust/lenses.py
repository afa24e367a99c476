"""The last adjustment of a model: optical centres where the photos determine them.

COLMAP keeps the optical centre at the middle of the photo, because weak blocks trade it for
camera tilt. Strong blocks gain much from its estimation (Fraser, Digital camera
self-calibration, 1997), so the covariance of the adjustment decides.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pycolmap

from voxterra.adjust.colmap_calls import run_cancellable
from voxterra.core.progress import Progress, no_progress
from voxterra.sfm.config import SfmConfig

_log = logging.getLogger(__name__)

# Fewer photos of a camera are never enough for `auto`.
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


def has_weak_focal_length(
    model: pycolmap.Reconstruction, config: SfmConfig, *, progress: Progress = no_progress
) -> bool:
    """Whether the photos determine the focal lengths badly.

    Such are parallel views, all straight down: focal length and depth can grow together. Cameras
    of most photos decide; those of less than `MIN_PHOTOS` photos only where there are no others.
    """
    photos = _photos_of(model)
    judged = {c: n for c, n in photos.items() if n >= MIN_PHOTOS} or photos
    options = adjustment_options(config, refine_principal_point=False)
    options.ceres.solver_options.max_num_iterations = 3  # the mapper has just converged

    def work(_: pycolmap.CancellationToken) -> dict[int, _Sigmas | None]:
        return _sigmas(model, options, set(judged))[0]

    sigmas = run_cancellable(work, lambda: progress(0.5, "checking focal lengths"))
    weak = {c for c, sigma in sigmas.items() if sigma is None or sigma.focal > MAX_FOCAL_SIGMA}
    return _most(weak, judged)


def refine(
    model: pycolmap.Reconstruction,
    config: SfmConfig,
    *,
    refine_focal_length: bool = True,
    fixed: frozenset[int] = frozenset(),
    progress: Progress,
) -> pycolmap.Reconstruction:
    """The model after an adjustment with free optical centres, or `model` when they are weak.

    With `auto`, cameras that have too few photos or are badly determined keep their parameters;
    when these cameras hold most of the photos that can be judged, all do. Cameras with the ids
    `fixed` always keep theirs.
    """
    wanted = config.refine_principal_point
    if wanted == "never" or (wanted == "auto" and not refine_focal_length):
        return model  # what cannot carry a focal length cannot carry an optical centre
    photos = {c: n for c, n in _photos_of(model).items() if c not in fixed}
    judged = {c: n for c, n in photos.items() if n >= MIN_PHOTOS}
    if wanted == "auto" and not judged:
        return model
    options = adjustment_options(config, refine_principal_point=True)
    options.refine_focal_length = refine_focal_length

    def work(_: pycolmap.CancellationToken) -> pycolmap.Reconstruction | None:
        free = set(photos)
        if wanted == "auto":
            sigmas, adjusted = _sigmas(model, options, set(judged))
            free = _strong(sigmas, judged)
            if adjusted is not None and free == set(judged):
                return adjusted
        refined = pycolmap.Reconstruction(model)
        return refined if free and adjust_lenses(refined, options, free) is not None else None

    refined = run_cancellable(work, lambda: progress(0.5, "adjusting optical centres"))
    if refined is None:
        _log.info("Optical centres stay in the middle.")
        return model
    refined.update_point_3d_errors()
    observations = pycolmap.ObservationManager(refined)
    observations.filter_all_points3D(MAX_ERROR_PX, MIN_TRIANGULATION_DEG)
    return refined


def _photos_of(model: pycolmap.Reconstruction) -> dict[int, int]:
    """Number of registered photos of each camera in use."""
    return dict(Counter(model.image(image_id).camera_id for image_id in model.reg_image_ids()))


def _most(cameras: set[int], photos: dict[int, int]) -> bool:
    """Whether the cameras hold more than half of the photos."""
    return 2 * sum(photos[c] for c in cameras) > sum(photos.values())


def _strong(sigmas: dict[int, _Sigmas | None], judged: dict[int, int]) -> set[int]:
    """Cameras whose optical centre may be estimated; none when most photos speak against it."""
    problems = {c: _problems(sigma) for c, sigma in sigmas.items()}
    weak = {c for c, found in problems.items() if found}
    for camera_id in sorted(weak):
        _log.info(
            "Optical centre of camera %d (%d photos): %s.",
            camera_id, judged[camera_id], "; ".join(problems[camera_id]),
        )  # fmt: skip
    return set() if _most(weak, judged) else set(judged) - weak


@dataclass(frozen=True)
class _Sigmas:
    """Standard deviations of a camera at 1 px noise, as shares of focal length and longer side."""

    focal: float
    center: float
    shift: float


def adjustment_options(
    config: SfmConfig, *, refine_principal_point: bool
) -> pycolmap.BundleAdjustmentOptions:
    """Options of an adjustment after which the covariance is asked for."""
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_principal_point = refine_principal_point
    options.print_summary = False
    options.ceres.solver_options.num_threads = config.used_threads
    options.ceres.solver_options.max_num_iterations = _MAX_ITERATIONS
    return options


def adjust_lenses(
    model: pycolmap.Reconstruction, options: pycolmap.BundleAdjustmentOptions, free: set[int]
) -> pycolmap.CeresBundleAdjuster | None:
    """Adjust `model` in place; only `free` cameras change. None when the adjustment fails."""
    config = pycolmap.BundleAdjustmentConfig()
    for image_id in model.reg_image_ids():
        config.add_image(image_id)
    for camera_id in set(_photos_of(model)) - free:
        config.set_constant_cam_intrinsics(camera_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    adjuster = pycolmap.create_default_ceres_bundle_adjuster(options, config, model)
    return adjuster if adjuster.solve().is_solution_usable() else None


def _sigmas(
    model: pycolmap.Reconstruction, options: pycolmap.BundleAdjustmentOptions, free: set[int]
) -> tuple[dict[int, _Sigmas | None], pycolmap.Reconstruction | None]:
    """One a free camera, None for what is not determined at all; the adjusted copy if it is."""
    adjusted = pycolmap.Reconstruction(model)
    adjuster = adjust_lenses(adjusted, options, free)
    covariance = None
    if adjuster is not None:
        covariance = pycolmap.estimate_ba_covariance(
            pycolmap.BACovarianceOptions(), adjusted, adjuster
        )
    if covariance is not None:
        return {c: _sigmas_of(adjusted.camera(c), covariance) for c in sorted(free)}, adjusted
    if len(free) == 1:
        return dict.fromkeys(free, None), None
    # One undetermined camera spoils the covariance of all, so each alone.
    return {c: _sigmas(model, options, {c})[0][c] for c in sorted(free)}, None


def _sigmas_of(camera: pycolmap.Camera, covariance: pycolmap.BACovariance) -> _Sigmas | None:
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
    return _Sigmas(float(focal), float(sigma[centers].max() / side), float(shift / side))


def _problems(sigma: _Sigmas | None) -> list[str]:
    """What speaks against freeing a camera's optical centre; empty when nothing does."""
    if sigma is None:
        return ["not determined at all"]
    problems = []
    if sigma.center > MAX_CENTER_SIGMA:
        problems.append(f"known to {100 * sigma.center:.2f} % of the photo's side only")
    if sigma.focal > MAX_FOCAL_SIGMA:
        problems.append(f"the focal length is known to {100 * sigma.focal:.1f} % only")
    if sigma.shift > MAX_CENTER_SHIFT:
        problems.append(f"it came out {100 * sigma.shift:.0f} % of the photo's side off")
    return problems
