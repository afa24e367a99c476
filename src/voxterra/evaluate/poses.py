"""Camera centres and rotations against truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxterra.core.transforms import Similarity, camera_center
from voxterra.errors import InputError
from voxterra.evaluate.align import truth_from_world
from voxterra.io.truth.cameras import PosedCameras, match_names


@dataclass(frozen=True)
class PoseScore:
    """Errors of camera poses, in units of the truth.

    Attributes:
        align: "none" or "cameras".
        total: photos of the truth; registered: those of them that the result has.
        names: (n,) photos compared, as the result names them.
        center_errors: (n,) distances of camera centres [truth units].
        rotation_errors_deg: (n,) angles between camera axes [deg].
        truth_from_world: the alignment used.
    """

    align: str
    total: int
    registered: int
    names: tuple[str, ...]
    center_errors: NDArray[np.float64]
    rotation_errors_deg: NDArray[np.float64]
    truth_from_world: Similarity

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready figures."""
        centers, rotations = self.center_errors, self.rotation_errors_deg
        return {
            "what": "poses",
            "align": self.align,
            "registered": self.registered,
            "total": self.total,
            "center_mean": float(centers.mean()),
            "center_median": float(np.median(centers)),
            "center_rms": float(np.sqrt((centers**2).mean())),
            "center_max": float(centers.max()),
            "worst_photo": self.names[int(centers.argmax())],
            "rotation_mean_deg": float(rotations.mean()),
            "rotation_median_deg": float(np.median(rotations)),
            "rotation_max_deg": float(rotations.max()),
            "scale_truth_from_world": self.truth_from_world.scale,
            "photos": [
                {"name": n, "center": float(c), "rotation_deg": float(r)}
                for n, c, r in zip(self.names, centers, rotations, strict=True)
            ],
        }


def score_poses(
    cameras: PosedCameras, truth: PosedCameras, align: Literal["none", "cameras"] = "cameras"
) -> PoseScore:
    """Centre and rotation errors of a result's cameras, compared photo by photo.

    Raises:
        InputError: no photo in common, or fewer than 3 to align by.
    """
    pairs = match_names(cameras.names, truth.names)
    if not pairs:
        raise InputError(
            "Result and truth have no photo in common.",
            where=f"{cameras.names[:1]} and {truth.names[:1]}",
            next_step="Check that both come from the same photos.",
        )
    ours, theirs = np.array(pairs).T
    transform = truth_from_world(cameras, truth, align)
    aligned = np.array(
        [transform.apply_to_cam_from_source(cameras.cam_from_world[i]) for i in ours]
    )
    true = truth.cam_from_world[theirs]
    centers = np.linalg.norm(camera_center(aligned) - camera_center(true), axis=1)
    return PoseScore(
        align,
        len(truth),
        len(pairs),
        tuple(cameras.names[i] for i in ours),
        centers,
        rotation_angle_deg(aligned[:, :, :3], true[:, :, :3]),
        transform,
    )


def rotation_angle_deg(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) angles between rotations (N, 3, 3) [deg], exact for small angles too."""
    chord = np.linalg.norm(a - b, axis=(1, 2)) / (2.0 * np.sqrt(2.0))
    angle: NDArray[np.float64] = np.degrees(2.0 * np.arcsin(np.clip(chord, 0.0, 1.0)))
    return angle
