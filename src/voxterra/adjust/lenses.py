"""Lenses: what the photos determine of focal length, distortion and optical centre.

COLMAP keeps the optical centre at the middle of the photo, because weak blocks trade it for
camera tilt. Strong blocks gain much from its estimation (Fraser, Digital camera
self-calibration, 1997), so the covariance of the adjustment decides. So it does for lenses that
were held while the model grew.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import pycolmap
from numpy.typing import NDArray

from voxterra.adjust.colmap_calls import run_cancellable
from voxterra.adjust.config import AdjustConfig
from voxterra.core.progress import Progress, no_progress

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

# Points off by more after the adjustment are outliers; COLMAP's own filter uses 4 px.
MAX_ERROR_PX = 3.0
MIN_TRIANGULATION_DEG = 1.5

# The largest standard deviation of a distortion at 1 px noise: how far it moves the corner of a
# photo, as a share of the corner's distance from the centre.
_MAX_CORNER_SIGMA = 0.01
# The mapper that held the lens kept points seen under angles this small.
_MIN_TRIANGULATION_DEG = 0.7

_MAX_ITERATIONS = 30
# The covariance of more photos than this is that of a part of them.
_MOST_PHOTOS = 1000

# A stated focal length is rounded, or of a neighbouring zoom step: right to this (log) factor.
MAX_FOCAL_DRIFT = np.log(1.15)
# Focal lengths over the longer side from a 140 degree lens to one of 180 mm (in 35 mm terms).
_FOCAL_RANGE = (0.18, 5.0)
# How far a lens that is no fisheye moves the corner of a photo, as a share of its distance from
# the centre.
_MAX_CORNER_SHIFT = 0.4


def has_weak_focal_length(
    model: pycolmap.Reconstruction, config: AdjustConfig, *, progress: Progress = no_progress
) -> bool:
    """Whether the photos determine the focal lengths badly.

    Such are parallel views, all straight down: focal length and depth can grow together. Cameras
    of most photos decide; those of less than `MIN_PHOTOS` photos only where there are no others.
    """
    photos = cameras_of(model)
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
    config: AdjustConfig,
    *,
    refine_focal_length: bool = True,
    fixed: frozenset[int] = frozenset(),
    progress: Progress,
) -> pycolmap.Reconstruction:
    """Adjust the model with free optical centres; returns `model` unchanged where they are weak.

    With `auto`, cameras that have too few photos or are badly determined keep their parameters;
    when these cameras hold most of the photos that can be judged, all do. Cameras with the ids
    `fixed` always keep theirs.
    """
    wanted = config.refine_principal_point
    if wanted == "never" or (wanted == "auto" and not refine_focal_length):
        return model  # photos too weak for a focal length are too weak for an optical centre
    photos = {c: n for c, n in cameras_of(model).items() if c not in fixed}
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


def cameras_of(model: pycolmap.Reconstruction) -> dict[int, int]:
    """Number of registered photos of each camera in use."""
    return dict(Counter(model.image(image_id).camera_id for image_id in model.reg_image_ids()))


def _most(cameras: set[int], photos: dict[int, int]) -> bool:
    """Whether the cameras hold more than half of the photos."""
    return 2 * sum(photos[c] for c in cameras) > sum(photos.values())


def _strong(sigmas: dict[int, _Sigmas | None], judged: dict[int, int]) -> set[int]:
    """Cameras whose optical centre may be estimated; none if it is weak for most photos."""
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
    config: AdjustConfig, *, refine_principal_point: bool
) -> pycolmap.BundleAdjustmentOptions:
    """Options of an adjustment whose covariance is needed."""
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_principal_point = refine_principal_point
    options.print_summary = False
    options.ceres.solver_options.num_threads = config.threads
    options.ceres.solver_options.max_num_iterations = _MAX_ITERATIONS
    return options


def adjust_lenses(
    model: pycolmap.Reconstruction, options: pycolmap.BundleAdjustmentOptions, free: set[int]
) -> pycolmap.CeresBundleAdjuster | None:
    """Adjust `model` in place; only `free` cameras change. None when the adjustment fails."""
    config = _lens_adjustment(model, free)
    adjuster = pycolmap.create_default_ceres_bundle_adjuster(options, config, model)
    return adjuster if adjuster.solve().is_solution_usable() else None


def _lens_adjustment(
    model: pycolmap.Reconstruction, free: set[int]
) -> pycolmap.BundleAdjustmentConfig:
    """All photos of a model, in which only the lenses of `free` cameras change."""
    config = pycolmap.BundleAdjustmentConfig()
    for image_id in model.reg_image_ids():
        config.add_image(image_id)
    for camera_id in set(cameras_of(model)) - free:
        config.set_constant_cam_intrinsics(camera_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    return config


def _sigmas(
    model: pycolmap.Reconstruction, options: pycolmap.BundleAdjustmentOptions, free: set[int]
) -> tuple[dict[int, _Sigmas | None], pycolmap.Reconstruction | None]:
    """Sigmas by free camera, None for undetermined ones; the adjusted model, None if it failed."""
    adjusted = pycolmap.Reconstruction(model)
    adjuster = adjust_lenses(adjusted, options, free)
    covariance = None
    if adjuster is not None:
        covariance = _covariance(adjusted, adjuster, options, free)
    if covariance is not None:
        found, of = covariance
        there = cameras_of(of)
        sigmas = {c: _sigmas_of(of.camera(c), found) if c in there else None for c in sorted(free)}
        return sigmas, adjusted
    if len(free) == 1:
        return dict.fromkeys(free, None), None
    # One undetermined camera spoils the covariance of all, so each alone.
    return {c: _sigmas(model, options, {c})[0][c] for c in sorted(free)}, None


def _covariance(
    model: pycolmap.Reconstruction,
    adjuster: pycolmap.CeresBundleAdjuster,
    options: pycolmap.BundleAdjustmentOptions,
    free: set[int],
) -> tuple[pycolmap.BACovariance, pycolmap.Reconstruction] | None:
    """Covariance of an adjustment, and the model whose cameras it knows; None without.

    Of a large model it is that of a connected part of its photos.

    COLMAP always computes the covariance of all poses too, a square matrix of six rows a photo
    that is not used here: 29 GB for 10,000 photos. A part of the photos determines less than all,
    so lenses are freed later rather than sooner.
    """
    ba_options = pycolmap.BACovarianceOptions()
    if model.num_reg_images() <= _MOST_PHOTOS:
        found = pycolmap.estimate_ba_covariance(ba_options, model, adjuster)
        return None if found is None else (found, model)
    thin = _part_of(model, _connected_photos(model, _MOST_PHOTOS))
    free = free & set(cameras_of(thin))
    again = adjust_lenses(thin, options, free)  # its points have fewer views, and move a little
    found = None if again is None else pycolmap.estimate_ba_covariance(ba_options, thin, again)
    return None if found is None else (found, thin)


def _part_of(model: pycolmap.Reconstruction, photos: set[int]) -> pycolmap.Reconstruction:
    """Some photos of a model, with the points that two or more of them see."""
    part = pycolmap.Reconstruction()
    for camera_id in sorted({model.image(i).camera_id for i in photos}):
        part.add_camera_with_trivial_rig(model.camera(camera_id))
    tracks: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for image_id in sorted(photos):
        image = model.image(image_id)
        seen = [point for point in image.points2D if point.has_point3D()]
        for row, point in enumerate(seen):
            tracks[point.point3D_id].append((image_id, row))
        xy = np.array([point.xy for point in seen]).reshape(-1, 2)
        part.add_image_with_trivial_frame(
            pycolmap.Image(image.name, xy, image.camera_id, image_id), image.cam_from_world()
        )
    for point_id, elements in tracks.items():
        if len(elements) >= 2:
            track = pycolmap.Track([pycolmap.TrackElement(i, row) for i, row in elements])
            part.add_point3D(model.point3D(point_id).xyz, track)
    return part


def _connected_photos(model: pycolmap.Reconstruction, count: int) -> set[int]:
    """Ids of `count` connected photos: starting at the photo with most points, add those that share
    most points with one already in."""
    start = max(model.reg_image_ids(), key=lambda i: (model.image(i).num_points3D, -i))
    waiting, met = [start], {start}
    for image_id in waiting:
        if len(met) >= count:
            break
        for other in _neighbours(model, image_id):
            if other not in met and len(met) < count:
                met.add(other)
                waiting.append(other)
    return met


def _neighbours(model: pycolmap.Reconstruction, image_id: int) -> list[int]:
    """Photos that share points with a photo, those with most of them first."""
    shared: Counter[int] = Counter()
    for point in model.image(image_id).points2D:
        if point.has_point3D():
            elements = model.point3D(point.point3D_id).track.elements
            shared.update({element.image_id for element in elements})
    return [other for other, _ in shared.most_common() if other != image_id]


def _sigmas_of(camera: pycolmap.Camera, covariance: pycolmap.BACovariance) -> _Sigmas | None:
    of_params = covariance.get_other_params_cov(camera.params)
    if of_params is None:
        return None
    # Fixed parameters have no row: if two are missing, the centre was fixed, with sigma 0.
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
    """Reasons against freeing a camera's optical centre; empty if there are none."""
    if sigma is None:
        return ["not determined at all"]
    problems = []
    if sigma.center > MAX_CENTER_SIGMA:
        problems.append(f"known only to {100 * sigma.center:.2f} % of the photo's side")
    if sigma.focal > MAX_FOCAL_SIGMA:
        problems.append(f"the focal length is known only to {100 * sigma.focal:.1f} %")
    if sigma.shift > MAX_CENTER_SHIFT:
        problems.append(f"it is {100 * sigma.shift:.0f} % of the photo's side off")
    return problems


def lens_doubts(camera: pycolmap.Camera) -> list[str]:
    """Signs of an impossible lens: an extreme angle of view, or a wild or folding distortion."""
    side = max(camera.width, camera.height)
    focal = camera.mean_focal_length()
    if not _FOCAL_RANGE[0] < focal / side < _FOCAL_RANGE[1]:
        angle = np.degrees(2 * np.arctan(0.5 * side / focal))
        return [f"an angle of view of {angle:.0f} degrees"]
    if "FISHEYE" in camera.model.name:
        return []
    # Along a diagonal to the corner: how far the lens moves points, and whether in order.
    corner = 0.5 * np.hypot(camera.width, camera.height) / focal
    radius = np.linspace(0, corner, 50)[1:]
    direction = np.array([camera.width, camera.height]) / np.hypot(camera.width, camera.height)
    on_axis = np.column_stack([radius[:, None] * direction, np.ones(len(radius))])
    center = np.array([camera.principal_point_x, camera.principal_point_y])
    moved = ((camera.img_from_cam(on_axis) - center) @ direction) / focal
    if (np.diff(moved) <= 0).any() or np.abs(moved / radius - 1).max() > _MAX_CORNER_SHIFT:
        return ["a distortion that no lens has"]
    return []


def calibrate(
    model: pycolmap.Reconstruction,
    config: AdjustConfig,
    *,
    known_focal_px: dict[int, float],
    fixed: frozenset[int] = frozenset(),
    progress: Progress,
) -> tuple[pycolmap.Reconstruction, bool]:
    """Adjust the model with a free lens; also return whether its focal length was free too.

    Focal length and distortion are freed where both are determined, else the distortion alone, else
    nothing; cameras with the ids `fixed` never.
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
    _log.info("Lens freed: %s.", "nothing" if found is model else what)
    return found, free_focal


def _determined(
    model: pycolmap.Reconstruction,
    adjuster: pycolmap.CeresBundleAdjuster,
    cameras: set[int],
    free_focal: bool,
    known_focal_px: dict[int, float],
) -> bool:
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_principal_point, options.refine_focal_length = False, free_focal
    covariance = _covariance(model, adjuster, options, cameras)
    if covariance is None:
        return False
    known_to, of = covariance
    if cameras - set(cameras_of(of)):
        return False
    for camera_id in sorted(cameras):
        camera = model.camera(camera_id)
        focal, known = camera.mean_focal_length(), known_focal_px.get(camera_id)
        if lens_doubts(camera) or (known and abs(np.log(focal / known)) > MAX_FOCAL_DRIFT):
            return False
        of_params = known_to.get_other_params_cov(of.camera(camera_id).params)
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
        place: NDArray[np.float64] = np.asarray(moved.img_from_cam(corner))[0]
        return place

    steps = 1e-4 * np.eye(len(camera.params))[extras]
    columns = [(at(camera.params + step) - at(camera.params - step)) / 2e-4 for step in steps]
    jacobian = np.array(columns).reshape(-1, 2).T
    spread = jacobian @ covariance @ jacobian.T
    return float(np.sqrt(max(np.linalg.eigvalsh(spread)[-1], 0.0)) / np.hypot(*half))
