"""The protocol of DTU: accuracy, completeness and their mean of a scan.

Jensen, Dahl, Vogiatzis, Tola and Aanæs, "Large Scale Multi-view Stereopsis Evaluation", CVPR
2014, and Aanæs et al., "Large-Scale Data for Multiple-View Stereopsis", IJCV 2016: points of the
result are thinned to a least gap, so that dense parts weigh no more than others. Accuracy is the
distance from those in the observed volume to the scanner's points; completeness is the distance
from the scanner's points above the ground plane to those of the result. Distances beyond a limit
are outliers and count in neither mean. Meshes are sampled more densely than that gap first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.progress import Progress, no_progress
from voxterra.evaluate.geometry import Geometry, distances, require_points, spread
from voxterra.io.truth.dtu import DtuTruth
from voxterra.kernels.mesh.thin import thin_points

Float = NDArray[np.float64]
GAP_MM = 0.2
LIMIT_MM = 20.0
MARGIN_MM = 60.0
# Of the gap: candidates so dense that thinning them leaves no hole.
_SPACING = 0.5


@dataclass(frozen=True)
class DtuScore:
    """Distances of one scan, in mm; inf beyond the limit.

    Attributes:
        to_truth: (n,) from observed points of the result to the scanner's.
        to_result: (m,) from the scanner's points above the plane to the result's.
        result_points, truth_points: (n, 3) and (m, 3) those points.
        limit_mm: distances from here on are outliers.
    """

    to_truth: Float
    to_result: Float
    result_points: Float
    truth_points: Float
    limit_mm: float = LIMIT_MM

    def to_dict(self) -> dict[str, float | int | None]:
        """JSON-ready figures; None where all distances are outliers."""
        accuracy, accuracy_median, wrong = _figures(self.to_truth, self.limit_mm)
        completeness, completeness_median, missing = _figures(self.to_result, self.limit_mm)
        return {
            "accuracy_mm": accuracy,
            "completeness_mm": completeness,
            "overall_mm": None
            if accuracy is None or completeness is None
            else (accuracy + completeness) / 2.0,
            "accuracy_median_mm": accuracy_median,
            "completeness_median_mm": completeness_median,
            "result_outliers": wrong,
            "truth_outliers": missing,
            "result_points": len(self.to_truth),
            "truth_points": len(self.to_result),
        }


def score_dtu(
    geometry: Geometry,
    truth: DtuTruth,
    *,
    gap_mm: float = GAP_MM,
    limit_mm: float = LIMIT_MM,
    progress: Progress = no_progress,
) -> DtuScore:
    """Score a result in the world of the data set's calibration (mm), culled already.

    Args:
        geometry: mesh or cloud.
        truth: of the scan.
        gap_mm: least gap of the result's points.
        limit_mm: distances from here on are outliers.

    Raises:
        InputError: no part of the result is in the observed volume, or no truth above the plane.
    """
    progress(0.0, "points of the result")
    low, high = truth.low - MARGIN_MM, truth.high + MARGIN_MM
    near = geometry.near(low, high)
    blocks = [
        points[truth.is_near_box(points, MARGIN_MM)] for points in spread(near, _SPACING * gap_mm)
    ]
    points = np.concatenate([np.empty((0, 3)), *blocks])
    progress(0.2, f"thinning {len(points)} points")
    points = points[thin_points(points, gap_mm)]
    observed = points[truth.is_observed(points)]
    require_points(
        observed,
        "No part of the result is in the volume that the scan observed.",
        None,
        "Give it in the data set's own world (mm): --normalised moves a mesh from the unit "
        "sphere of cameras_sphere.npz there. Or loosen the culling: --cull none.",
    )
    above = truth.points[truth.is_above_plane(truth.points)]
    require_points(
        above,
        "No point of the truth is above its plane.",
        None,
        "Check that the plane and the points are of the same scan.",
    )
    progress(0.4, "result to truth")
    to_truth = distances(observed, truth.points, limit_mm)
    progress(0.7, "truth to result")
    to_result = distances(above, points, limit_mm)
    progress(1.0)
    return DtuScore(to_truth, to_result, observed, above, limit_mm)


def _figures(found: Float, limit: float) -> tuple[float | None, float | None, float]:
    """Mean, median, and the share of outliers."""
    good = found[found < limit]
    outliers = 1.0 - len(good) / len(found)
    if not len(good):
        return None, None, outliers
    return float(good.mean()), float(np.median(good)), outliers
