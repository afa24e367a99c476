"""Options of bundle adjustment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Choice = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class AdjustConfig:
    """Options of an adjustment; `SfmConfig.adjust` makes it.

    Attributes:
        refine_focal_length: whether focal lengths are estimated.
        refine_principal_point: whether optical centres are.
        position_priors: whether GPS positions are used.
        max_prior_sigma_m: stated horizontal accuracy up to which GPS counts as good as RTK [m].
        random_seed: of all random choices; negative for another one each time.
        threads: -1 uses all cores.
    """

    refine_focal_length: Choice = "auto"
    refine_principal_point: Choice = "auto"
    position_priors: Choice = "auto"
    max_prior_sigma_m: float = 0.2
    random_seed: int = 1
    threads: int = -1
