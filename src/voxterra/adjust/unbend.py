"""Flatten bent models: adjust them again with the recorded positions as weak constraints.

Nadir photos determine the lens badly, and chains of photos their own curvature: the photos fit a
bent model as well as a flat one (James, Robson, Mitigating systematic error in topographic models,
2014). Recorded heights separate the two even if each is metres off, because the bend shows in all
of them. So where they contradict a model, photos and positions are adjusted together, both
weighted by their measured noise, and the result is used if the bend disappears and the photos
still fit. If they do not, the heights may drift, as those of barometers do.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pycolmap
from numpy.typing import NDArray

from voxterra.adjust.colmap_calls import run_cancellable
from voxterra.adjust.config import AdjustConfig
from voxterra.adjust.lenses import (
    MAX_FOCAL_DRIFT,
    adjustment_options,
    cameras_of,
    lens_doubts,
)
from voxterra.adjust.positions import positions_m, usable_heights
from voxterra.core.bend import bend_and_noise_m, bend_m, shape_of_bend
from voxterra.core.photos import Photo
from voxterra.core.progress import Progress
from voxterra.core.transforms import Similarity, fit_similarity

_log = logging.getLogger(__name__)

Float = NDArray[np.float64]

# The adjusted model is used if at most this share of the bend is left, and the photos fit worse by
# at most this many standard deviations.
_LEFT, _OBJECTION = 0.4, 4.0
# Positions further off than this many times the usual distance are not used.
_OUTLIER = 4.0
# No receiver is better than this [m].
_LEAST_SIGMA_M = 0.01
_MAX_ITERATIONS = 100


@dataclass(frozen=True)
class _Known:
    """Images of a model whose position with a height is recorded, and how the model fits them.

    Attributes:
        ids: image ids, without those of outliers.
        positions: (N, 3) recorded, in a local metric frame.
        fit: from the model to that frame.
        bend: [m], see `bend_m`; None where there is none.
        sigma: (3,) noise of the positions about the bent model [m].
        squares, noise_px: sum of the squared reprojection errors [px²] and their noise an axis.
    """

    ids: tuple[int, ...]
    positions: Float
    fit: Similarity
    bend: float | None
    sigma: Float
    squares: float
    noise_px: float


def unbend(
    model: pycolmap.Reconstruction,
    photos: tuple[Photo, ...],
    config: AdjustConfig,
    *,
    free_focal: bool,
    known_focal_px: dict[int, float],
    fixed: frozenset[int] = frozenset(),
    progress: Progress,
) -> tuple[pycolmap.Reconstruction, tuple[str, ...]]:
    """Remove the bend that the recorded heights show; returns the model and warnings.

    Args:
        model: photo i is image i + 1.
        photos: all photos, with their recorded positions.
        config: options; `position_priors` "never" keeps the model as it is.
        free_focal: the model's focal lengths were estimated; else they stay fixed at first.
        known_focal_px: focal lengths in the metadata, by camera id.
        fixed: ids of cameras that keep their parameters.
        progress: called often.
    """
    known = None if config.position_priors == "never" else _known(model, photos)
    if known is None or known.bend is None:
        return model, ()
    free = (True,) if free_focal else (False, True)
    if config.refine_focal_length == "never":
        free = (False,)

    def work(_: pycolmap.CancellationToken) -> tuple[pycolmap.Reconstruction, float] | None:
        for focal in free:
            adjusted = _adjusted(model, known, config, free_focal=focal, fixed=fixed)
            left = None if adjusted is None else _accepted(adjusted, model, known, known_focal_px)
            if adjusted is not None and left is not None:
                return adjusted, left
        return None

    found = run_cancellable(work, lambda: progress(0.5, "taking out a bend"))
    shape = f"{abs(known.bend):.2f} m from its middle to its edge, like a {_shape(known)}"
    if found is None:
        _log.info("The model bends by %s; an adjustment with positions does not fix it.", shape)
        return model, ()  # georef warns about the bend
    adjusted, left = found
    before, after = (m.compute_mean_reprojection_error() for m in (model, adjusted))
    return adjusted, (
        f"the photos alone gave a model that bends against the recorded heights by {shape}: after "
        f"an adjustment with the positions as weak constraints ({known.sigma[2]:.2f} m in height), "
        f"{abs(left):.2f} m are left; reprojection error {before:.2f} px before, {after:.2f} px "
        "after. The overall shape now depends on these heights; oblique photos or RTK positions "
        "would make it reliable",
    )


def _shape(known: _Known) -> str:
    return shape_of_bend(known.bend or 0.0)


def _known(model: pycolmap.Reconstruction, photos: tuple[Photo, ...]) -> _Known | None:
    """Fit the model to the recorded positions; None with too few, or one height for all."""
    positions, usable = positions_m(photos), usable_heights(photos)
    ids = np.array([i for i in sorted(model.reg_image_ids()) if usable[i - 1]], np.int64)
    if len(ids) < 4:
        return None
    source = np.array([model.image(int(i)).projection_center() for i in ids])
    target = positions[ids - 1]
    kept = np.arange(len(ids))
    for _ in range(4):
        try:
            fit = fit_similarity(source[kept], target[kept])
        except (ValueError, np.linalg.LinAlgError):
            return None
        off = np.linalg.norm(fit.apply(source) - target, axis=1)
        kept = np.flatnonzero(off <= _OUTLIER * np.median(off))
    placed, target = fit.apply(source[kept]), target[kept]
    measured = bend_and_noise_m(placed, target)
    if measured is None:
        return None
    flat = float(np.sqrt(((placed - target)[:, :2] ** 2).mean()))
    sigma = np.maximum([flat, flat, measured[2]], _LEAST_SIGMA_M)
    squares, count = _squared_errors(model)
    unknowns = 3 * model.num_points3D() + 6 * model.num_reg_images()
    noise_px = float(np.sqrt(squares / max(count - unknowns, 1)))
    used, bend = tuple(int(i) for i in ids[kept]), bend_m(placed, target)
    return _Known(used, target, fit, bend, sigma, squares, noise_px)


def _squared_errors(model: pycolmap.Reconstruction) -> tuple[float, int]:
    """Sum of the squared reprojection errors [px²], and its number of coordinates."""
    squares, count = 0.0, 0
    for image_id in model.reg_image_ids():
        image = model.image(image_id)
        seen = [p for p in image.points2D if p.has_point3D()]
        if not seen:
            continue
        points = np.array([model.point3D(p.point3D_id).xyz for p in seen])
        in_cam = image.cam_from_world() * points
        found = np.asarray(model.camera(image.camera_id).img_from_cam(in_cam))
        squares += float(np.nansum((found - np.array([p.xy for p in seen])) ** 2))
        count += 2 * len(seen)
    return squares, count


def _adjusted(
    model: pycolmap.Reconstruction,
    known: _Known,
    config: AdjustConfig,
    *,
    free_focal: bool,
    fixed: frozenset[int],
) -> pycolmap.Reconstruction | None:
    """A copy in the frame of the positions, adjusted with them; None when that fails."""
    adjusted = pycolmap.Reconstruction(model)
    rotation = pycolmap.Rotation3d(known.fit.rotation)
    adjusted.transform(pycolmap.Sim3d(known.fit.scale, rotation, known.fit.translation))
    what = pycolmap.BundleAdjustmentConfig()
    for image_id in adjusted.reg_image_ids():
        what.add_image(image_id)
    for camera_id in fixed & set(cameras_of(adjusted)):
        what.set_constant_cam_intrinsics(camera_id)
    priors = []
    for image_id, position in zip(known.ids, known.positions, strict=True):
        prior = pycolmap.PosePrior()
        prior.corr_data_id = adjusted.image(image_id).data_id
        prior.position = position
        # COLMAP assumes a noise of 1 px: positions are scaled accordingly, so the weights are
        # right.
        prior.position_covariance = np.diag((known.sigma / max(known.noise_px, 0.01)) ** 2)
        prior.coordinate_system = pycolmap.PosePriorCoordinateSystem.CARTESIAN
        priors.append(prior)
    options = adjustment_options(config, refine_principal_point=False)
    options.refine_focal_length = free_focal
    options.ceres.solver_options.max_num_iterations = _MAX_ITERATIONS
    weak = pycolmap.PosePriorBundleAdjustmentOptions()
    weak.alignment_ransac.random_seed = max(config.random_seed, 0)
    adjuster = pycolmap.create_pose_prior_ceres_bundle_adjuster(
        options, weak, what, priors, adjusted
    )
    if not adjuster.solve().is_solution_usable():
        return None
    adjusted.update_point_3d_errors()
    return adjusted


def _drift(camera: pycolmap.Camera, stated: float | None) -> float:
    return abs(float(np.log(camera.mean_focal_length() / stated))) if stated else 0.0


def _accepted(
    adjusted: pycolmap.Reconstruction,
    model: pycolmap.Reconstruction,
    known: _Known,
    known_focal_px: dict[int, float],
) -> float | None:
    """The bend that is left [m]; None if the adjusted model is not to be used."""
    for camera_id in cameras_of(adjusted):
        stated = known_focal_px.get(camera_id)
        drift, before = (_drift(m.camera(camera_id), stated) for m in (adjusted, model))
        if lens_doubts(adjusted.camera(camera_id)) or drift > max(MAX_FOCAL_DRIFT, before):
            return None
    squares, _ = _squared_errors(adjusted)
    objection = (squares - known.squares) / known.noise_px**2
    centers = np.array([adjusted.image(i).projection_center() for i in known.ids])
    placed = fit_similarity(centers, known.positions).apply(centers)
    measured = bend_and_noise_m(placed, known.positions)
    if measured is None or known.bend is None:
        return None
    left = measured[0]
    _log.info(
        "A bend of %.2f m, adjusted with positions: %.2f m; the photos fit worse by chi2 %.1f.",
        known.bend, left, objection,
    )  # fmt: skip
    fine = abs(left) <= _LEFT * abs(known.bend) and objection <= _OBJECTION**2
    return left if fine else None
