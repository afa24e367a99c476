"""Settings to map with: the usual ones first, then attempts that relax more and more.

Weak photos (forward motion, few matches) do not determine the lens while the model grows: focal
length and distortion drift away, and then no further photo fits. Later attempts therefore fix the
lens at its known values, and free it only in the finished model, where the covariance shows what
the photos determine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import pycolmap

from voxterra.sfm.config import SfmConfig

Start = Literal["usual", "forward", "weak"]

# Focal lengths over the longer side of common cameras: 24, 35, 50 and 70 mm equivalent. Tried where
# the metadata has none.
COMMON_FOCAL_FACTORS = (0.67, 0.97, 1.4, 1.95)

# Mapping more photos than this takes so long that only the likeliest further attempts are made.
MANY_PHOTOS = 150


@dataclass(frozen=True)
class Attempt:
    """Settings of one mapping.

    Attributes:
        free_focal, free_distortion: estimate them while the model grows.
        start: "usual"; "forward" accepts starting pairs and points with nearly parallel rays, as
            from walking ahead; "weak" also accepts few matches.
        focal_factor: focal length over the longer side for cameras without one in the metadata;
            None for the usual guess.
        other_seed: use other random numbers than before.
    """

    free_focal: bool = True
    free_distortion: bool = True
    start: Start = "usual"
    focal_factor: float | None = None
    other_seed: bool = False

    @property
    def held(self) -> bool:
        """Whether the lens is estimated only in the finished model."""
        return not self.free_focal and not self.free_distortion

    def apply(self, options: pycolmap.IncrementalPipelineOptions) -> None:
        """Write this attempt's settings into COLMAP's options."""
        options.ba_refine_focal_length = self.free_focal
        options.mapper.abs_pose_refine_focal_length = self.free_focal
        options.ba_refine_extra_params = self.free_distortion
        options.mapper.abs_pose_refine_extra_params = self.free_distortion
        if self.other_seed and options.random_seed >= 0:
            options.random_seed += 1
        if self.start != "usual":
            options.mapper.init_min_tri_angle = 4.0
            options.mapper.init_max_forward_motion = 0.999
            # Walking ahead sees things under small angles, in many photos.
            options.triangulation.min_angle = 0.7
            options.mapper.filter_min_tri_angle = 0.7
        if self.start == "weak":
            options.mapper.init_min_num_inliers = 30
            options.mapper.init_min_tri_angle = 2.0
            options.mapper.init_max_forward_motion = 1.0
            options.mapper.abs_pose_min_num_inliers = 15
            options.init_num_trials = 1000


def first_attempt(config: SfmConfig) -> Attempt:
    """Settings that suit most photos."""
    return Attempt(free_focal=config.refine_focal_length != "never")


def further_attempts(config: SfmConfig, *, focal_known: bool) -> tuple[Attempt, ...]:
    """Attempts to make next, in this order.

    Args:
        config: whether focal lengths may be fixed or estimated.
        focal_known: whether the metadata has the focal length of most photos.
    """
    held = Attempt(free_focal=False, free_distortion=False, start="forward")
    free = Attempt(free_focal=True, free_distortion=False, start="forward")
    weak_held = replace(held, start="weak", other_seed=True)
    weak = Attempt(free_focal=config.refine_focal_length != "never", start="weak")
    if config.refine_focal_length == "never":
        return held, weak_held, weak
    if config.refine_focal_length == "always":
        return free, replace(free, start="weak", other_seed=True), weak
    if focal_known:
        return held, weak_held, free, weak
    guesses = tuple(replace(held, focal_factor=factor) for factor in COMMON_FOCAL_FACTORS)
    return free, *guesses, weak_held, weak
