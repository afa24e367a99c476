"""Options of the georeference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class GeorefConfig:
    """How the model gets its place and scale on Earth; `MapConfig` has the CRS of the products.

    Attributes:
        use_gps: False gives a local frame even when the photos have positions.
        use_attitude: use recorded yaw, pitch and roll for the model's up and north.
        gps_sigma_horizontal_m: standard deviation by axis of positions without a stated one [m].
        gps_sigma_vertical_m: the same for heights [m].
        attitude_sigma_deg: standard deviation of attitudes without a stated one [deg].
        scale_bar: table of known distances marked in photos (CSV with the columns bar, length_m,
            photo, x1, y1, x2, y2; each in two photos or more), which give the scale.
        outlier_sigmas: a position further off than this many standard deviations is set aside.
    """

    use_gps: bool = True
    use_attitude: bool = True
    gps_sigma_horizontal_m: float = 2.5
    gps_sigma_vertical_m: float = 5.0
    attitude_sigma_deg: float = 2.5
    scale_bar: Path | None = None
    outlier_sigmas: float = 4.0
