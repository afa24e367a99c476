"""What to try when photos do not come together at the usual settings, each step relaxing more.

Weak photos (forward motion, few matches) cannot carry the lens while the model grows: focal length
and distortion run away, and then nothing fits. So later attempts hold the lens at what is known of
it, and let it go only in the finished model, where the covariance tells what is determined.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import pycolmap

from voxterra.sfm.config import SfmConfig

Start = Literal["usual", "forward", "weak"]

# Focal lengths over the longer side that common cameras have: 24, 35, 50 and 70 mm in terms of
# 35 mm film. Tried where metadata says nothing.
COMMON_FOCAL_FACTORS = (0.67, 0.97, 1.4, 1.95)

# More photos than this take so long to map that only the likeliest other ways are tried.
MANY_PHOTOS = 150


@dataclass(frozen=True)
class Attempt:
    """One way to map the photos.

    Attributes:
        free_focal, free_distortion: estimate them while the model grows.
        start: "usual"; "forward" takes starting pairs and points with nearly parallel rays, as
            walking ahead gives them; "weak" also such with few matches.
        focal_factor: focal length over the longer side for cameras whose metadata says nothing,
            None for the usual guess.
        other_seed: take other random numbers than before.
    """

    free_focal: bool = True
    free_distortion: bool = True
    start: Start = "usual"
    focal_factor: float | None = None
    other_seed: bool = False

    @property
    def held(self) -> bool:
        """Whether the lens is let go only in the finished model."""
        return not self.free_focal and not self.free_distortion

    def apply(self, options: pycolmap.IncrementalPipelineOptions) -> None:
        """Set what this attempt changes."""
        options.ba_refine_focal_length = self.free_focal
        options.mapper.abs_pose_refine_focal_length = self.free_focal
        options.ba_refine_extra_params = self.free_distortion
        options.mapper.abs_pose_refine_extra_params = self.free_distortion
        if self.other_seed and options.random_seed >= 0:
            options.random_seed += 1
        if self.start != "usual":
            options.mapper.init_min_tri_angle = 4.0
            options.mapper.init_max_forward_motion = 0.999
            # Things ahead of a walker are seen under small angles, in many photos.
            options.triangulation.min_angle = 0.7
            options.mapper.filter_min_tri_angle = 0.7
        if self.start == "weak":
            options.mapper.init_min_num_inliers = 30
            options.mapper.init_min_tri_angle = 2.0
            options.mapper.init_max_forward_motion = 1.0
            options.mapper.abs_pose_min_num_inliers = 15
            options.init_num_trials = 1000


def first_attempt(config: SfmConfig) -> Attempt:
    """What suits most photos."""
    return Attempt(free_focal=config.refine_focal_length != "never")


def further_attempts(config: SfmConfig, *, focal_known: bool) -> tuple[Attempt, ...]:
    """What to try next, in this order.

    Args:
        config: says whether focal lengths may be held or estimated.
        focal_known: whether metadata states the focal length of most photos.
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
