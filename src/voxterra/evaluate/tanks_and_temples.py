"""The protocol of Tanks and Temples: precision, recall and F1 at the threshold of a scene.

Knapitsch, Park, Zhou and Koltun, "Tanks and Temples: Benchmarking Large-Scale Scene
Reconstruction", ACM Transactions on Graphics 2017: the result is aligned with the scanner's points
by its cameras, refined on the points themselves, cropped to the volume of the scene, and thinned
to one point a cell of half the threshold; so is the truth. Precision is the share of the result
within the threshold of the truth, recall the share of the truth within it of the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.progress import Progress, no_progress, part
from voxterra.core.transforms import Similarity, fit_similarity
from voxterra.errors import InputError
from voxterra.evaluate.geometry import Geometry, cell_means, distances, require_points, spread
from voxterra.io.truth.cameras import PosedCameras, match_names
from voxterra.io.truth.tanks_and_temples import CropVolume, TanksTruth

Float = NDArray[np.float64]
# Thresholds of the training scenes, in the paper's metres.
THRESHOLDS = {
    "Barn": 0.01,
    "Caterpillar": 0.005,
    "Church": 0.025,
    "Courthouse": 0.025,
    "Ignatius": 0.003,
    "Meetingroom": 0.01,
    "Truck": 0.005,
}
# Cells and reach of each stage of the refinement, in thresholds.
_STAGES = ((1.0, 80.0), (0.5, 20.0), (0.5, 2.0))
_STEPS = 20
# Times the median distance: farther points are wrong or missing, and would shrink the result.
_TRIMMED = 3.0
_REFINED_WITH = 1_000_000
# Of a cell: samples of a mesh so dense that no cell it passes well through stays empty.
_SPACING = 0.4


@dataclass(frozen=True)
class TanksScore:
    """Distances of one scene, in the truth's unit; inf beyond ten thresholds.

    Attributes:
        threshold: at which the share is taken.
        to_truth: (n,) from the result's points to the truth's.
        to_result: (m,) from the truth's points to the result's.
        result_points, truth_points: (n, 3) and (m, 3) those points.
        truth_from_world: the alignment used.
    """

    threshold: float
    to_truth: Float
    to_result: Float
    result_points: Float
    truth_points: Float
    truth_from_world: Similarity

    @property
    def precision(self) -> float:
        """Share of the result within the threshold of the truth."""
        return float((self.to_truth < self.threshold).mean()) if len(self.to_truth) else 0.0

    @property
    def recall(self) -> float:
        """Share of the truth within the threshold of the result."""
        return float((self.to_result < self.threshold).mean())

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2.0 * self.precision * self.recall / total if total > 0 else 0.0

    def to_dict(self) -> dict[str, float | int | None]:
        """JSON-ready figures."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "threshold": self.threshold,
            "result_points": len(self.to_truth),
            "truth_points": len(self.to_result),
            "scale_truth_from_world": self.truth_from_world.scale,
        }


def published_from_world(cameras: PosedCameras, published: PosedCameras | None) -> Similarity:
    """Similarity from a result's world to that of the published cameras, by camera centres.

    Photos are known by their names. Least squares (Umeyama 1991), repeated without the photos
    that are more than three times the median off.

    Raises:
        InputError: there are no published cameras, or fewer than 3 common photos.
    """
    if published is None:
        raise InputError(
            "The published cameras are not there to align with: no NAME_COLMAP_SfM.log.",
            next_step="Put the file beside the scene's other ground truth, or leave --cameras "
            "away where the result is in the published cameras' world.",
        )
    pairs = match_names(cameras.names, published.names)
    if len(pairs) < 3:
        raise InputError(
            f"Only {len(pairs)} photos of the result are among the published cameras; an "
            "alignment needs 3.",
            next_step="Keep the benchmark's names of photos, 000001.jpg and so on.",
        )
    ours, theirs = np.array(pairs).T
    source, target = cameras.centers[ours], published.centers[theirs]
    fit = fit_similarity(source, target)
    for _ in range(10):
        error = np.linalg.norm(fit.apply(source) - target, axis=1)
        good = error <= 3.0 * np.median(error) + 1e-12
        if good.sum() < 3:
            break
        fit = fit_similarity(source[good], target[good])
    return fit


def score_tanks(
    geometry: Geometry,
    truth: TanksTruth,
    threshold: float,
    published_from_world: Similarity | None = None,
    *,
    refine: bool = True,
    progress: Progress = no_progress,
) -> TanksScore:
    """Score a result.

    Args:
        geometry: mesh or cloud in its own world.
        truth: of the scene.
        threshold: the scene's, in the truth's unit.
        published_from_world: from that world to the published cameras'; None = the same.
        refine: fit the result to the truth's points, from coarse to fine; the alignment that was
            given stays where that does not make F1 better.

    Raises:
        InputError: nothing of the result, or of the truth, is inside the crop volume.
    """
    transform = truth.truth_from_published
    if published_from_world is not None:
        transform = transform.compose(published_from_world)
    size = threshold / 2.0
    progress(0.0, "points inside the crop volume")
    target = _cropped(Geometry(truth.points, None), truth.volume, size)
    require_points(
        target,
        "No point of the truth is inside the crop volume.",
        None,
        "Check that NAME.ply and NAME.json are of the same scene.",
    )
    progress(0.05, "distances before the alignment" if refine else "distances")
    score = _score(geometry, truth.volume, target, threshold, transform)
    if refine:
        refined = refine_on_points(
            geometry, truth, threshold, transform, progress=part(progress, 0.2, 0.8)
        )
        progress(0.8, "distances")
        again = _score(geometry, truth.volume, target, threshold, refined)
        score = again if again.f1 > score.f1 else score
    require_points(
        score.result_points,
        "No part of the result is inside the scene's crop volume.",
        None,
        "Check the alignment: a result with cameras of its own needs --cameras.",
    )
    progress(1.0)
    return score


def _score(
    geometry: Geometry, volume: CropVolume, target: Float, threshold: float, transform: Similarity
) -> TanksScore:
    """The score under one alignment; without points where nothing is inside the volume."""
    source = _cropped(geometry.moved(transform), volume, threshold / 2.0)
    to_truth = distances(source, target, 10.0 * threshold)
    to_result = distances(target, source, 10.0 * threshold)
    return TanksScore(threshold, to_truth, to_result, source, target, transform)


def refine_on_points(
    geometry: Geometry,
    truth: TanksTruth,
    threshold: float,
    start: Similarity,
    *,
    progress: Progress = no_progress,
) -> Similarity:
    """Refine the alignment in three stages, inside the crop volume.

    Each stage thins both sides to one point a cell and pairs each of the result's points with
    the nearest of the truth's (iterated closest points, with scale: Besl and McKay 1992), with
    ever smaller cells and reach.
    """
    transform = start
    for i, (cell, reach) in enumerate(_STAGES):
        progress(i / len(_STAGES), f"alignment, stage {i + 1}")
        size = cell * threshold
        target = _cropped(Geometry(truth.points, None), truth.volume, size)
        source = _cropped(geometry.moved(transform), truth.volume, size)
        if len(source) < 3:
            break
        stride = -(-len(source) // _REFINED_WITH)
        transform = _closest_points(source[::stride], target, reach * threshold).compose(transform)
    return transform


def _closest_points(source: Float, target: Float, reach: float) -> Similarity:
    """Similarity that moves points (n, 3) onto the nearest of the points (m, 3)."""
    from scipy.spatial import cKDTree

    tree, fit, before = cKDTree(target), Similarity.identity(), reach
    for _ in range(_STEPS):
        distance, index = tree.query(fit.apply(source), distance_upper_bound=reach, workers=-1)
        near = distance <= min(reach, _TRIMMED * float(np.median(distance)) + 1e-12)
        if near.sum() < 3:
            break
        error = float(np.sqrt((distance[near] ** 2).mean()))
        if abs(before - error) <= 1e-6 * before:
            break
        before = error
        fit = fit_similarity(source[near], target[index[near]])
    return fit


def _cropped(geometry: Geometry, volume: CropVolume, size: float) -> Float:
    return cell_means(spread(geometry.near(*volume.box()), _SPACING * size), size, volume.contains)
