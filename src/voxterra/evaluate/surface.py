"""A reconstructed surface against a true one.

Points are drawn evenly from both surfaces, and each is measured to the closest point of the other
surface itself, not to its samples. Precision, recall and F-score follow Knapitsch et al., "Tanks
and Temples", 2017.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.mesh import TriMesh
from voxterra.core.progress import Progress, no_progress
from voxterra.core.transforms import Similarity
from voxterra.errors import InputError
from voxterra.io.truth.surface import TruthSurface
from voxterra.kernels.mesh.closest import TriangleTree, build_triangle_tree, closest_on_mesh

Float = NDArray[np.float64]
DEFAULT_THRESHOLDS = (0.05, 0.1, 0.2, 0.5)
SAMPLES = 200_000


@dataclass(frozen=True)
class SurfaceScore:
    """Distances between a result and the truth, in truth units.

    Attributes:
        align: how the result was aligned with the truth.
        thresholds: distances at which precision and recall are reported.
        to_truth: (n,) distances from scored points of the result to the truth.
        to_result: (m,) distances from scored points of the truth to the result.
        result_points, truth_points: (n, 3) and (m, 3) those points, in the truth's world.
        left_out: share of the result's points nearest to parts that are not scored.
        truth_from_world: the alignment used.
    """

    align: str
    thresholds: tuple[float, ...]
    to_truth: Float
    to_result: Float
    result_points: Float
    truth_points: Float
    left_out: float
    truth_from_world: Similarity

    def precision(self, threshold: float) -> float:
        """Share of the result within `threshold` of the truth."""
        return float((self.to_truth <= threshold).mean())

    def recall(self, threshold: float) -> float:
        """Share of the truth within `threshold` of the result."""
        return float((self.to_result <= threshold).mean())

    def f_score(self, threshold: float) -> float:
        """Harmonic mean of precision and recall."""
        p, r = self.precision(threshold), self.recall(threshold)
        return 2.0 * p * r / (p + r) if p + r > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready figures."""
        return {
            "what": "surface",
            "align": self.align,
            "thresholds": [
                {
                    "distance": t,
                    "precision": self.precision(t),
                    "recall": self.recall(t),
                    "f_score": self.f_score(t),
                }
                for t in self.thresholds
            ],
            "accuracy_mean": float(self.to_truth.mean()),
            "accuracy_median": float(np.median(self.to_truth)),
            "completeness_mean": float(self.to_result.mean()),
            "completeness_median": float(np.median(self.to_result)),
            "chamfer": float((self.to_truth.mean() + self.to_result.mean()) / 2.0),
            "result_points": len(self.to_truth),
            "truth_points": len(self.to_result),
            "left_out": self.left_out,
            "scale_truth_from_world": self.truth_from_world.scale,
        }


def score_surface(
    mesh: TriMesh,
    truth: TruthSurface,
    truth_from_world: Similarity | None = None,
    *,
    align: str = "none",
    thresholds: tuple[float, ...] = DEFAULT_THRESHOLDS,
    samples: int = SAMPLES,
    seed: int = 0,
    progress: Progress = no_progress,
) -> SurfaceScore:
    """Precision, recall and distances of a mesh in its world against a true surface.

    Args:
        mesh: the result.
        truth: the truth and which of its faces count.
        truth_from_world: applied to the result first; None = both share one frame.
        align: name of that alignment; "surface" refines it here by `refine_on_surface`.
        thresholds: [truth units].
        samples: number of points drawn from each surface.
        seed: of the drawing.

    Raises:
        InputError: the result has no faces, or none near the scored parts.
    """
    if not len(mesh.faces):
        raise InputError(
            "The reconstructed mesh has no faces.",
            next_step="Check scene.ply; voxterra mesh RUN makes the mesh again.",
        )
    transform = truth_from_world or Similarity.identity()
    vertices = np.asarray(mesh.vertices, np.float64)
    in_world, _ = sample_surface(vertices, mesh.faces, samples, seed)
    progress(0.1, "search tree of the truth")
    truth_tree = build_triangle_tree(truth.mesh.vertices, truth.mesh.faces)
    if align == "surface":
        transform = refine_on_surface(in_world[::10], truth, truth_tree, transform)
    points = transform.apply(in_world)
    progress(0.3, "result to truth")
    distance, face, _ = closest_on_mesh(truth_tree, points)
    scored = truth.scored[face]
    if 0.0 < scored.mean() < 0.5:  # mostly context: draw more, so that enough points count
        more = int(samples * min(1.0 / scored.mean(), 10.0))
        points = transform.apply(sample_surface(vertices, mesh.faces, more, seed)[0])
        distance, face, _ = closest_on_mesh(truth_tree, points)
        scored = truth.scored[face]
    if not scored.any():
        raise InputError(
            "No part of the reconstructed mesh is near the true surface.",
            next_step="Check the alignment: try --align cameras.",
        )
    faces = truth.mesh.faces[truth.scored]
    truth_points, _ = sample_surface(truth.mesh.vertices, faces, samples, seed + 1)
    progress(0.6, "truth to result")
    tree = build_triangle_tree(transform.apply(vertices), mesh.faces)
    to_result = closest_on_mesh(tree, truth_points)[0]
    progress(1.0)
    return SurfaceScore(
        align,
        thresholds,
        distance[scored],
        to_result,
        points[scored],
        truth_points,
        float(1.0 - scored.mean()),
        transform,
    )


def sample_surface(
    vertices: NDArray[np.floating], faces: NDArray[np.int32], count: int, seed: int = 0
) -> tuple[Float, NDArray[np.int64]]:
    """`count` points spread evenly over a mesh's area, (count, 3), and the face of each."""
    corners = np.asarray(vertices, np.float64)[faces]
    edges = corners[:, 1:] - corners[:, :1]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    cumulative = np.cumsum(area)
    if cumulative[-1] <= 0:
        raise InputError(
            "All faces of a mesh have zero area.",
            next_step="Give a mesh with faces of some area; voxterra mesh RUN makes a run's again.",
        )
    rng = np.random.default_rng(seed)
    # One point in each of `count` equal parts of the area: evener than independent draws.
    place = (np.arange(count) + rng.random(count)) / count * cumulative[-1]
    face = np.minimum(np.searchsorted(cumulative, place, side="right"), len(faces) - 1)
    u, v = rng.random((2, count))
    flip = u + v > 1.0
    u, v = np.where(flip, 1.0 - u, u), np.where(flip, 1.0 - v, v)
    points = corners[face, 0] + u[:, None] * edges[face, 0] + v[:, None] * edges[face, 1]
    return points, face


def refine_on_surface(
    points: Float,
    truth: TruthSurface,
    tree: TriangleTree,
    start: Similarity,
    *,
    iterations: int = 30,
) -> Similarity:
    """Similarity that moves points of the result onto the true surface, from a near start.

    Iterated closest points with point-to-plane steps (Chen and Medioni 1992) over rotation,
    translation and scale; pairs beyond three times the median distance are left out.
    """
    corners = np.asarray(truth.mesh.vertices, np.float64)[truth.mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    transform = start
    for _ in range(iterations):
        moved = transform.apply(points)
        distance, face, closest = closest_on_mesh(tree, moved)
        use = truth.scored[face]
        use &= distance <= 3.0 * np.median(distance[use]) + 1e-12 if use.any() else False
        if use.sum() < 10:
            break
        step = _plane_step(moved[use], closest[use], normals[face[use]])
        transform = step.compose(transform)
        if abs(step.scale - 1.0) < 1e-8 and np.abs(step.matrix()[:3] - np.eye(4)[:3]).max() < 1e-7:
            break
    return transform


def _plane_step(moved: Float, closest: Float, normal: Float) -> Similarity:
    """Small similarity about the points' centre that moves them towards their planes."""
    center = moved.mean(axis=0)
    arm = moved - center
    A = np.column_stack([np.cross(arm, normal), normal, (arm * normal).sum(axis=1)])
    b = ((closest - moved) * normal).sum(axis=1)
    size = max(float(np.abs(arm).max()), 1e-12)
    weights = np.array([size] * 3 + [1.0] * 3 + [size])
    x = np.linalg.lstsq(A / weights, b, rcond=1e-9)[0] / weights
    angle = float(np.linalg.norm(x[:3]))
    rotation = _rotation(x[:3] / angle if angle > 0 else np.array([0.0, 0.0, 1.0]), angle)
    scale = 1.0 + float(x[6])
    about_center = Similarity(scale, rotation, np.zeros(3))
    return replace(about_center, translation=center + x[3:6] - about_center.apply(center))


def _rotation(axis: Float, angle: float) -> Float:
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    rotation: Float = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    return rotation
