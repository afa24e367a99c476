"""Options of structure from motion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voxterra.adjust.config import AdjustConfig, Choice

Matcher = Literal["auto", "exhaustive", "spatial", "sequential"]
Mapper = Literal["incremental", "global"]
CameraModel = Literal[
    "auto",
    "SIMPLE_PINHOLE",
    "PINHOLE",
    "SIMPLE_RADIAL",
    "RADIAL",
    "OPENCV",
    "FULL_OPENCV",
    "SIMPLE_RADIAL_FISHEYE",
    "RADIAL_FISHEYE",
    "OPENCV_FISHEYE",
]


@dataclass(frozen=True)
class SfmConfig:
    """Options of `voxterra.sfm.reconstruct.reconstruct`; the defaults suit most photo sets."""

    max_image_size: int = 1600
    """Longer side at which features are found; larger photos are scaled down [px]."""

    max_features: int = 8192
    """Most feature locations kept in a photo, the largest in scale first."""

    matcher: Matcher = "auto"
    """How pairs to match are chosen; auto: all pairs of a small set, else by GPS, else by time."""

    max_exhaustive_photos: int = 60
    """Largest set of which auto matches all pairs."""

    spatial_neighbours: int = 20
    """Photos nearest by GPS that a photo is matched with."""

    sequential_overlap: int = 8
    """Next photos by capture time that a photo is matched with (and some further ahead)."""

    mapper: Mapper = "incremental"
    """incremental: photo by photo, robust; global: all at once, faster on large sets."""

    camera_model: CameraModel = "auto"
    """COLMAP's name of the lens model; auto: RADIAL, or SIMPLE_RADIAL for a few photos."""

    cameras: Path | None = None
    """Calibrated cameras, kept as they are: cameras.bin or cameras.txt of an earlier model."""

    refine_focal_length: Choice = "auto"
    """Whether focal lengths are estimated; auto: unless only the metadata determines them."""

    refine_principal_point: Choice = "auto"
    """Whether the optical centre is estimated too; auto: where the photos determine it."""

    position_priors: Choice = "auto"
    """Whether GPS takes part in the adjustment; auto: where most of it is as good as RTK."""

    max_prior_sigma_m: float = 0.2
    """Stated horizontal accuracy up to which GPS counts as good as RTK [m]."""

    rematch: Choice = "auto"
    """Whether photos left out are matched again; auto: with at most as much work as all before."""

    split_lookalikes: Choice = "auto"
    """Whether to split models that merge look-alike places; auto: unless GPS says they are one."""

    random_seed: int = 1
    """Seed of all random choices; -1 takes another one each time."""

    threads: int = -1
    """Number of threads; -1 uses all cores."""

    deterministic: bool = False
    """Use one thread, which makes results repeat exactly and takes longer."""

    @property
    def used_threads(self) -> int:
        """Number of threads, 1 if `deterministic`; -1 = all cores."""
        return 1 if self.deterministic else self.threads

    @property
    def adjust(self) -> AdjustConfig:
        """Those of these options that bundle adjustment uses."""
        return AdjustConfig(
            self.refine_focal_length,
            self.refine_principal_point,
            self.position_priors,
            self.max_prior_sigma_m,
            self.random_seed,
            self.used_threads,
        )
